import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_encdec.evaluation import evaluate_texts
from keras_encdec.recipe import build
from keras_encdec.run import train
from keras_encdec.text import ByteTokenizer, Tokenizer, unknown_tokens


@keras.saving.register_keras_serializable(package="test_interface")
class Letters(Tokenizer):
    """A tokenizer of a user's own: a to z, of any case."""

    vocabulary_size = 4 + 26

    def _to_ids(self, texts):
        points = tf.strings.unicode_decode(tf.strings.lower(texts), "UTF-8")
        known = (points >= ord("a")) & (points <= ord("z"))
        return tf.where(known, points - ord("a") + 4, self.unknown_id)

    def _to_texts(self, ids):
        ids = tf.cast(ids, tf.int32)
        letters = tf.where(ids == self.unknown_id, ord("?"), ids - 4 + ord("a"))
        return tf.strings.unicode_encode(letters, "UTF-8")

    def get_config(self):
        return {}


@pytest.fixture(scope="module")
def tokenizer():
    return Letters()


def test_without_a_form_in_python_ids_and_texts_are_the_graphs(tokenizer):
    assert [row.tolist() for row in tokenizer.ids_of(["Ab!", ""])] == [
        [4, 5, 3, 2],
        [2],
    ]
    assert tokenizer.texts_of([[4, 5, 3, 2], []]) == ["ab?", ""]


class OtherBytes(ByteTokenizer):
    """All bytes but one are read as they are, in a graph."""

    def _to_ids(self, texts):
        return super()._to_ids(tf.strings.regex_replace(texts, "a", "b"))

    def _to_texts(self, ids):
        return tf.strings.upper(super()._to_texts(ids))


def test_what_a_subclass_does_in_its_graph_is_done_in_python_too():
    usual = ByteTokenizer()
    assert usual.texts_of(usual.ids_of(["ab"])) == ["ab"]
    tokenizer = OtherBytes()
    assert tokenizer.texts_of(tokenizer.ids_of(["ab"])) == ["BB"]


@pytest.mark.slow
def test_encode_closes_each_row(tokenizer):
    ids = tokenizer.encode(["Ab!", ""])
    assert ids.dtype == tf.int32
    assert ids.to_list() == [[4, 5, 3, 2], [2]]
    assert tokenizer.encode([]).shape.as_list() == [0, None]
    assert tokenizer(["Ab!", ""]).to_list() == ids.to_list()


@pytest.mark.parametrize(
    "row, text",
    [
        ([1, 4, 5, 2, 6, 7], "ab"),  # cut at the first end, rid of the start
        ([4, 0, 5, 0, 0, 0], "ab"),
        ([2, 4, 4, 4, 4, 4], ""),
        ([4, 3, 5, 99, -7, 2], "a?b??"),  # outside the vocabulary is unknown
    ],
)
def test_decode_leaves_out_special_ids(tokenizer, row, text):
    arrays = [
        np.array([row]),
        keras.ops.array([row], "int32"),
        tf.ragged.constant([row]),
    ]
    for ids in [[row], *arrays]:
        assert tokenizer.decode(ids).numpy().tolist() == [text.encode()]


@pytest.mark.slow
def test_both_ways_in_a_graph_with_an_unknown_batch(tokenizer):
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def there_and_back(texts):
        return tokenizer.decode(tokenizer.encode(texts))

    assert there_and_back(tf.constant(["abc", "", "z"])).numpy().tolist() == [
        b"abc",
        b"",
        b"z",
    ]
    assert there_and_back(tf.zeros([0], tf.string)).shape == (0,)


@pytest.mark.parametrize("texts", ["one text", b"one text", 3, None, ["a", 3], [None]])
def test_texts_must_be_a_batch_of_strings(tokenizer, texts):
    with pytest.raises(TypeError, match="texts"):
        tokenizer.encode(texts)
    with pytest.raises(ValueError, match="rank 1"):
        tokenizer.encode(tf.constant([["a"]]))


@pytest.mark.parametrize("ids", [[[0.5]], np.array([[0.5]]), [["a"]]])
def test_ids_must_be_integers(tokenizer, ids):
    with pytest.raises(TypeError, match="integers"):
        tokenizer.decode(ids)
    with pytest.raises(ValueError, match="integers"):
        tokenizer.decode(np.array([4, 5]))


def test_survives_its_config(tokenizer):
    config = keras.saving.serialize_keras_object(tokenizer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.encode(["abc"]).to_list() == tokenizer.encode(["abc"]).to_list()


@pytest.mark.once
def test_a_table_is_no_batch_of_texts():
    table = np.array([["one", "eno"], ["two", "owt"]])
    tokenizer = ByteTokenizer()
    small = {"hidden_dim": 8, "intermediate_dim": 8, "num_heads": 1, "num_layers": 1}
    model = build(tokenizer, tokenizer, **small)
    for call in (
        lambda: tokenizer.encode(table),
        lambda: model(table),
        lambda: model.generate(table),
        lambda: train(model, table, table),
        lambda: evaluate_texts(table, table, table),
        lambda: unknown_tokens(tokenizer, table),
    ):
        with pytest.raises(ValueError, match=r"shape \(2, 2\)\. Give a column of it"):
            call()
    with pytest.raises(ValueError, match=r"received an array of shape \(\)"):
        tokenizer.encode(np.array("one"))
    column = tokenizer.encode(table[:, 0]).to_list()
    assert column == tokenizer.encode(["one", "two"]).to_list()
