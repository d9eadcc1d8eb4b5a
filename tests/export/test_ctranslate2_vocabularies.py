"""The tokens that CTranslate2 is given for each id."""

import types

import pytest

from keras_encdec import EncoderDecoder, TextToText
from keras_encdec.export.ctranslate2_vocabularies import (
    register_vocabularies,
    tokens_of,
)
from keras_encdec.recipe import TOKENIZERS, make_tokenizer
from keras_encdec.text import Tokenizer, WordTokenizer

pytestmark = pytest.mark.once

TEXTS = ["one two", "three two"] * 20


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_tokens_have_the_ids_that_texts_get(kind):
    tokenizer = make_tokenizer(kind, TEXTS, 300)
    tokens = tokens_of(tokenizer)
    assert not tokens.keys() & {*tokenizer.special_ids}
    assert max(tokens) < tokenizer.vocabulary_size
    for text in TEXTS[:2]:
        (ids,) = tokenizer.encode([text]).to_list()
        spelled = "".join(tokens[i] for i in ids if i in tokens)
        if kind == "byte":
            spelled = bytes.fromhex(
                spelled.replace("<0x", "").replace(">", "")
            ).decode()
        joined = spelled.replace("▁", " ").replace("Ġ", " ").strip()
        assert joined == (text.replace(" ", "") if kind == "word" else text)


def test_a_tokenizer_of_another_kind_has_none():
    assert tokens_of(Tokenizer()) is None


def test_special_tokens_get_names_that_no_token_has():
    source, target = WordTokenizer(["a", "<s>"]), WordTokenizer(["<unused_7>", "b"])
    size = target.vocabulary_size + 2
    model = EncoderDecoder(
        source.vocabulary_size, 16, 32, 2, 1, target_vocabulary_size=size
    )
    registered = {}
    specification = types.SimpleNamespace(
        register_source_vocabulary=lambda x: registered.update(source=x),
        register_target_vocabulary=lambda x: registered.update(target=x),
        config=types.SimpleNamespace(),
    )
    register_vocabularies(specification, TextToText(source, target, model))
    for side, tokenizer, number in (("source", source, 6), ("target", target, 8)):
        names = registered[side]
        assert len(names) == len({*names}) == number
        for word, i in zip(tokenizer.vocabulary, tokenizer.regular_ids(2), strict=True):
            assert names[i] == word
    start = registered["target"][target.start_id]
    assert start == specification.config.decoder_start_token == "<<s>>"
    assert specification.config.unk_token == "<unk>"
