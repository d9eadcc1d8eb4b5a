"""What a vocabulary lacks, by every kind of tokenizer."""

import unicodedata

import pytest
import tensorflow as tf

from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    UnknownTokens,
    WordTokenizer,
    unknown_tokens,
)

pytestmark = pytest.mark.once

TEXTS = ["a cat sat on the mat", "the cats that sat", "a hat at the café"]


def test_words():
    tokenizer = WordTokenizer.from_texts(TEXTS, prefix_ids=(90, 91))
    found = unknown_tokens(tokenizer, ["A cat", "the cat", b"A Hat", ""])
    assert (found.count, found.total, found.share) == (3, 6, 0.5)
    assert found.examples == ("A", "Hat")
    assert found.many
    assert found.message("source") == (
        "50.0% of the source tokens are unknown (3 of 6), such as 'A', 'Hat'. The "
        "vocabulary has them in lower case: write the texts so."
    )


def test_characters():
    tokenizer = CharacterTokenizer.from_texts(TEXTS, padding_id=9, unknown_id=0)
    found = unknown_tokens(tokenizer, ["日本 日", "a cat"])
    assert (found.count, found.total) == (3, 9)
    assert found.examples == ("日", "本")
    assert "a model whose vocabulary has them" in found.message("target")


def test_another_form_of_unicode():
    words = WordTokenizer.from_texts(TEXTS)
    for form, text in (("NFC", "café"), ("NFKC", "ｃat")):
        text = unicodedata.normalize("NFD", text)
        assert f"the Unicode form {form}:" in unknown_tokens(words, [text]).remedy


def test_pieces():
    tokenizer = SentencePieceTokenizer.train(TEXTS, 24, hard_vocab_limit=False)
    found = unknown_tokens(tokenizer, ["THE cat", "the €cat", "THE mat"])
    assert found.count == 3
    assert found.examples == ("THE", "€")
    assert "in lower case" in found.remedy


def test_of_bytes_nothing_is_unknown():
    fallback = SentencePieceTokenizer.train(TEXTS, 278, byte_fallback=True)
    for tokenizer in (fallback, ByteTokenizer(unknown_id=99)):
        found = unknown_tokens(tokenizer, ["THE €", "", "日本"])
        assert found.count == 0 and found.total > 4
        assert not found.many and not found.examples
        assert found.message("source").startswith("0.0% of the source tokens")


class OnlyA(Tokenizer):
    """A tokenizer of a user's own, that knows one letter."""

    vocabulary_size = 5

    def _to_ids(self, texts):
        points = tf.strings.unicode_decode(texts, "UTF-8")
        return tf.where(points == ord("a"), 4, self.unknown_id)


def test_a_tokenizer_that_tells_no_pieces():
    found = unknown_tokens(OnlyA(), ["aa", "a1"])
    assert (found.count, found.total, found.examples) == (1, 4, ("a1",))


def test_few_are_no_reason_to_warn():
    assert not UnknownTokens(3, 100).many
    assert UnknownTokens(4, 100).many
    assert UnknownTokens(0, 0).share == 0
    assert unknown_tokens(WordTokenizer(["a"]), []).total == 0


def test_many_texts_and_examples():
    words = WordTokenizer(["a"])
    texts = ["a b c"] * 5000 + [f"w{i}" for i in range(200)]
    found = unknown_tokens(words, texts, num_examples=2)
    assert (found.count, found.total) == (10_200, 15_200)
    assert found.examples == ("b", "c")
    with pytest.raises(TypeError, match="batch of strings"):
        unknown_tokens(words, "a b")
