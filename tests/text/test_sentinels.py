"""Words that are ids of their own, and spaces before signs."""

import pytest
import tensorflow as tf

from keras_encdec.text import ByteTokenizer
from keras_encdec.text.sentinels import Sentinels, without_gaps

pytestmark = pytest.mark.once


def test_what_stands_between_sentinels_is_a_text():
    seen = []

    def to_ids(texts):
        seen.extend(texts.numpy().tolist())
        return ByteTokenizer(suffix_ids=()).encode(texts)

    sentinels = Sentinels({"<a>": 300, "<a>b": 301, "(.": 302})
    texts = tf.constant(["x<a>y(.", "", "<a>b<a>", "<a"])
    rows = sentinels.encode(texts, to_ids).to_list()
    assert rows == [[124, 300, 125, 302], [], [301, 300], [64, 101]]
    assert {text for text in seen if text} == {b"x", b"y", b"<a"}


def test_without_sentinels_a_text_is_whole():
    texts = tf.constant(["a", "<b>"])
    assert Sentinels({}).encode(texts, lambda texts: texts) is texts


def test_gaps_are_closed_as_transformers_does():
    from transformers import ByT5Tokenizer

    texts = ["it 's , we 've . I 'm ! do n't ? a ' b 're x .y", " .", ""]
    theirs = ByT5Tokenizer()
    closed = [text.decode() for text in without_gaps(tf.constant(texts)).numpy()]
    assert closed == [theirs.clean_up_tokenization(text) for text in texts]
