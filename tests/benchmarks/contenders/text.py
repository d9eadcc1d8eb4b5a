"""Ids as texts, for those contenders that take texts."""

import numpy as np
from sizes import END, FIRST_WORD

from contenders.ours import make_model, make_sampler
from keras_encdec import TextToText, WordTokenizer


def make_text_to_text(size, weights, beams, length):
    words = [word(i) for i in range(FIRST_WORD, size.vocabulary_size)]
    tokenizer = WordTokenizer(words)
    model = make_model(size, weights)
    sampler = make_sampler(beams)
    return TextToText(tokenizer, tokenizer, model, sampler, max_length=length)


def word(token):
    return f"w{token}"


def words_of(source):
    """The words of each source; the end id follows by itself."""
    assert np.all(source[:, -1] == END)
    return [[word(token) for token in row[:-1]] for row in source.tolist()]


def ids_of(rows):
    return np.array([[int(token[1:]) for token in row] for row in rows], "int32")
