"""The usual tokenizers and the usual model."""

import numpy as np
import pytest

from keras_encdec import recipe
from keras_encdec.recipe import build, make_tokenizer
from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    WordTokenizer,
)

WORDS = "one two three four five six seven eight nine ten".split()
SOURCES = WORDS * 4
LETTERS = CharacterTokenizer.from_texts(SOURCES)
SMALL = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}


@pytest.mark.slow
def test_builds_the_model_that_was_asked_for():
    options = {**SMALL, "num_decoder_layers": 2, "dropout": 0.25}
    text_to_text = build(LETTERS, ByteTokenizer(), max_length=5, **options)
    model = text_to_text.model
    assert text_to_text.max_length == 5
    assert (len(model.encoder_blocks), len(model.decoder_blocks)) == (1, 2)
    assert model.encoder_blocks[0].dropout == 0.25
    assert len(text_to_text(["one", "two"])) == 2


def test_a_seed_gives_the_weights():
    first, again, other = (
        build(LETTERS, LETTERS, seed=seed, **SMALL).model.get_weights()
        for seed in (1, 1, 2)
    )
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


@pytest.mark.once
def test_one_tokenizer_makes_one_table():
    model = build(LETTERS, LETTERS, **SMALL).model
    assert model.source_embedding.table is model.target_embedding.table


@pytest.mark.once
def test_two_tokenizers_make_two_tables_even_if_equal():
    model = build(LETTERS, CharacterTokenizer(LETTERS.vocabulary), **SMALL).model
    assert model.source_embedding.table is not model.target_embedding.table


@pytest.mark.once
def test_blank_texts_have_no_subwords():
    with pytest.raises(ValueError, match="received 2, all of them blank"):
        make_tokenizer("sentencepiece", ["", "  "])


@pytest.mark.once
def test_words_may_be_continued():
    tokenizer = make_tokenizer("word", ["pul@@ ley"], continuation="@@")
    assert tokenizer.decode(tokenizer.encode(["pul@@ ley"])).numpy() == [b"pulley"]
    with pytest.raises(ValueError, match="Only words"):
        make_tokenizer("character", ["pul@@ ley"], continuation="@@")


@pytest.mark.once
@pytest.mark.parametrize(
    "kind, expected, size",
    [
        ("byte", ByteTokenizer, 260),
        ("character", CharacterTokenizer, 4 + 14),
        ("word", WordTokenizer, 4 + 10),
    ],
)
def test_makes_each_kind_of_tokenizer(kind, expected, size):
    tokenizer = make_tokenizer(kind, SOURCES)
    assert type(tokenizer) is expected
    assert tokenizer.vocabulary_size == size
    decoded = tokenizer.decode(tokenizer.encode(WORDS)).numpy()
    assert [text.decode() for text in decoded] == WORDS


@pytest.mark.once
@pytest.mark.parametrize("kind", ["character", "word"])
def test_a_vocabulary_is_as_small_as_asked(kind):
    assert make_tokenizer(kind, SOURCES, 8).vocabulary_size == 8


@pytest.mark.once
def test_sentence_pieces_are_as_many_as_asked_or_fewer():
    texts = [f"{a} and {b}" for a in WORDS for b in WORDS]
    tokenizer = make_tokenizer("sentencepiece", texts, 30)
    assert type(tokenizer) is SentencePieceTokenizer
    assert tokenizer.vocabulary_size == 30
    few = make_tokenizer("sentencepiece", ["one", "two"], 8000)
    assert 4 < few.vocabulary_size < 30
    assert few.decode(few.encode(["two"])).numpy().tolist() == [b"two"]


@pytest.mark.once
def test_sentence_pieces_cover_every_character():
    texts = ["a" * 50] * 1000 + ["ж"]
    tokenizer = make_tokenizer("sentencepiece", texts, 100)
    assert tokenizer.unknown_id not in tokenizer.encode(["ж"]).to_list()[0]


@pytest.mark.once
def test_an_unknown_kind_is_an_error_that_names_the_kinds():
    with pytest.raises(ValueError, match="sentencepiece.*'letters'"):
        make_tokenizer("letters", SOURCES)


@pytest.mark.once
@pytest.mark.parametrize("kind", recipe.TOKENIZERS)
def test_texts_without_tokens_are_an_error(kind):
    if kind == "byte":
        assert make_tokenizer(kind, []).vocabulary_size == 260
    else:
        with pytest.raises((ValueError, RuntimeError)):
            make_tokenizer(kind, [])


@pytest.mark.once
def test_says_when_a_vocabulary_is_not_as_asked(capsys):
    def told(*arguments):
        tokenizer = make_tokenizer(*arguments)
        return tokenizer.vocabulary_size, capsys.readouterr().out

    whole = 4 + len(LETTERS.vocabulary)
    assert told("character", SOURCES, whole) == (whole, "")
    size, message = told("character", SOURCES, whole - 3)
    assert size == whole - 3
    assert message.startswith(f"Of {whole - 4} different characters the 3 rarest are")
    _, message = told("word", ["a@@ b", "a@@ c"], 6, "@@")
    assert "Of 3 different words the 1 rarest" in message
    size, message = told("sentencepiece", SOURCES, 1000)
    assert f"found {size} ids in 40 texts, fewer than the 1,000 asked" in message
    assert told("sentencepiece", SOURCES, size) == (size, "")
