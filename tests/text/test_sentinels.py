"""Words that are ids of their own, and spaces before signs."""

import pytest
import tensorflow as tf

from keras_encdec.text import ByteTokenizer
from keras_encdec.text.sentinels import Sentinel, Sentinels, without_gaps

pytestmark = pytest.mark.once


def test_what_stands_between_sentinels_is_a_text():
    seen = []

    def to_ids(texts):
        seen.extend(texts.numpy().tolist())
        return ByteTokenizer(suffix_ids=()).encode(texts)

    words = {"<a>": 300, "<a>b": 301, "(.": 302}
    sentinels = Sentinels({Sentinel(word): number for word, number in words.items()})
    texts = tf.constant(["x<a>y(.", "", "<a>b<a>", "<a"])
    rows = sentinels.encode(texts, to_ids).to_list()
    assert rows == [[124, 300, 125, 302], [], [301, 300], [64, 101]]
    assert {text for text in seen if text} == {b"x", b"y", b"<a"}


def test_words_alone_and_white_space_are_those_of_tokenizers():
    import tokenizers

    words = [
        Sentinel("w", single_word=True),
        Sentinel("<l>", lstrip=True),
        Sentinel("<r>", rstrip=True),
        Sentinel("ab", single_word=True, lstrip=True, rstrip=True),
    ]
    # One id of all that is no word.
    theirs = tokenizers.Tokenizer(tokenizers.models.WordLevel({"": 9}, ""))
    theirs.add_tokens(
        [tokenizers.AddedToken(**{**x._asdict(), "normalized": False}) for x in words]
    )
    beside = [chr(i) for i in range(0x30000) if not 0xD800 <= i < 0xE000]
    texts = [f"w{x}w{x}<l>{x}w<r>{x}ab" for x in beside]
    texts += ["abw ab", "<l>ab w<r>  <l>  ab", "aw w  <r>w", "<r>\u2003ab", "", "wab"]
    sentinels = Sentinels({x: theirs.token_to_id(x.content) for x in words})

    def to_ids(texts):
        there = tf.cast(tf.strings.length(texts) > 0, tf.int64)
        return tf.RaggedTensor.from_tensor(tf.fill([tf.size(texts), 1], 9), there)

    rows = sentinels.encode(tf.constant(texts), to_ids).to_list()
    assert rows == [each.ids for each in theirs.encode_batch(texts)]


def test_without_sentinels_a_text_is_whole():
    texts = tf.constant(["a", "<b>"])
    assert Sentinels({}).encode(texts, lambda texts: texts) is texts


def test_gaps_are_closed_as_transformers_does():
    from transformers import ByT5Tokenizer

    texts = ["it 's , we 've . I 'm ! do n't ? a ' b 're x .y", " .", ""]
    theirs = ByT5Tokenizer()
    closed = [text.decode() for text in without_gaps(tf.constant(texts)).numpy()]
    assert closed == [theirs.clean_up_tokenization(text) for text in texts]
