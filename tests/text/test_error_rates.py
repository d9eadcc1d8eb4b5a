"""Error rates against a plain recursion and counts made by hand."""

import functools
import random

import numpy as np
import pytest

from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    WordTokenizer,
    character_error_rate,
    sequence_error_rate,
    token_error_rate,
)

pytestmark = pytest.mark.once


@functools.cache
def edits(left, right):
    if not left or not right:
        return len(left) + len(right)
    return min(
        edits(left[1:], right) + 1,
        edits(left, right[1:]) + 1,
        edits(left[1:], right[1:]) + (left[0] != right[0]),
    )


def random_texts(generator, count):
    return [
        " ".join(generator.choices("abcd", k=generator.randrange(7)))
        for _ in range(count)
    ]


def test_token_error_rate_is_that_of_the_recursion():
    generator = random.Random(0)
    hypotheses, references = random_texts(generator, 200), random_texts(generator, 200)
    pairs = [
        (tuple(left.split()), tuple(right.split()))
        for left, right in zip(hypotheses, references, strict=True)
    ]
    total = sum(edits(*pair) for pair in pairs)
    length = sum(len(right) for _, right in pairs)
    assert token_error_rate(hypotheses, references) == total / length
    for left, right in pairs:
        if right:
            assert token_error_rate([left], [right]) == edits(left, right) / len(right)


def test_token_error_rate_takes_the_nearest_of_several_references():
    generator = random.Random(1)
    hypotheses = random_texts(generator, 100)
    references = [random_texts(generator, generator.randint(1, 4)) for _ in range(100)]
    total = length = 0
    for hypothesis, several in zip(hypotheses, references, strict=True):
        options = [tuple(reference.split()) for reference in several]
        distance, minus_length = min(
            (edits(tuple(hypothesis.split()), option), -len(option))
            for option in options
        )
        total, length = total + distance, length - minus_length
    assert token_error_rate(hypotheses, references) == total / length
    backwards = [several[::-1] for several in references]
    assert token_error_rate(hypotheses, backwards) == total / length


@pytest.mark.parametrize(
    ("hypotheses", "references", "tokens", "sequences"),
    [
        (["a b c"], ["a x c d"], 0.5, 1.0),
        (["a  b\t"], ["a b"], 0.0, 0.0),
        ([""], ["a b"], 1.0, 1.0),
        (["a b c d", ""], ["a", ""], 3.0, 0.5),
        (["A B"], [["A C", "A B"]], 0.0, 0.0),
        ([["a", "b"]], [["a", "b"]], 0.0, 0.0),
        ([["a", "b"]], [[["a"], ["a", "b"]]], 0.0, 0.0),
        ([("new york", "x")], [("new york", "y")], 0.5, 1.0),
        ([[5, 6, 2]], [[5, 7, 2]], 1 / 3, 1.0),
        ([[], [1]], [[1], []], 2.0, 1.0),
        (np.array([[5, 6], [7, 8]]), np.array([[5, 6], [7, 9]]), 0.25, 0.5),
        ([np.array([5, 6])], [[np.array([5]), np.array([5, 6])]], 0.0, 0.0),
    ],
)
def test_rates_by_hand(hypotheses, references, tokens, sequences):
    assert token_error_rate(hypotheses, references) == pytest.approx(tokens)
    assert sequence_error_rate(hypotheses, references) == sequences


@pytest.mark.parametrize("rate", [token_error_rate, sequence_error_rate])
def test_rates_refuse(rate):
    with pytest.raises(ValueError, match="received 2 hypotheses and 1 references"):
        rate(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="at least one row"):
        rate([], [])
    with pytest.raises(TypeError, match="`hypotheses` must be a list.*'abc'"):
        rate("abc", ["a", "b", "c"])
    with pytest.raises(TypeError, match="`references` must be a list.*'abc'"):
        rate(["a", "b", "c"], "abc")
    with pytest.raises(ValueError, match="row 1 has none"):
        rate(["a", "b"], ["a", []])


def test_token_error_rate_refuses_empty_references():
    with pytest.raises(ValueError, match="2 references, all empty"):
        token_error_rate(["a", ""], ["", ""])


def test_character_error_rate_is_that_of_the_recursion():
    generator = random.Random(2)
    hypotheses, references = random_texts(generator, 100), random_texts(generator, 100)
    total = sum(map(edits, hypotheses, references))
    rate = total / sum(map(len, references))
    assert character_error_rate(hypotheses, references) == rate
    assert character_error_rate(["é b"], [["xyz", "éb"]]) == 0.5
    assert character_error_rate(["", "a"], ["", "b"]) == 1
    with pytest.raises(ValueError, match="A character error rate needs reference char"):
        character_error_rate(["a"], [""])
    with pytest.raises(TypeError, match="single string"):
        character_error_rate("a", ["a"])


TEXTS = ["a cat sat", "the cats that sat", "a hat"]


@pytest.mark.parametrize(
    "tokenizer, rate",
    [
        # What a vocabulary lacks is not all the same.
        (WordTokenizer(["a"]), 1 / 3),
        (CharacterTokenizer(["a"]), 2 / 8),
        (ByteTokenizer(), 2 / 9),
    ],
)
def test_tokens_are_those_of_a_tokenizer(tokenizer, rate):
    for references in (["a cé sat"], [["a cé sat", "b"]]):
        received = token_error_rate(["a cxy sat"], references, tokenizer=tokenizer)
        assert received == rate


def test_tokens_of_pieces_and_of_ids():
    pieces = SentencePieceTokenizer.train(TEXTS, 20, hard_vocab_limit=False)
    left, right = pieces.split(["a cat THAT", "the cat sat"])
    assert len(left) == len(pieces.encode(["a cat THAT"])[0]) - 1
    expected = edits(tuple(left), tuple(right)) / len(right)
    texts = ["a cat THAT"], ["the cat sat"]
    assert token_error_rate(*texts, tokenizer=pieces) == expected

    class Ids(Tokenizer):
        vocabulary_size = 9
        _to_ids = WordTokenizer(["a", "b"])._to_ids

    assert token_error_rate(["a b b"], ["a b"], tokenizer=Ids()) == 0.5
