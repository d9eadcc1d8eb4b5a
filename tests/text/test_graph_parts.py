import threading

import pytest
import tensorflow as tf

from keras_encdec import ByteLevelBPETokenizer, SentencePieceTokenizer, WordTokenizer
from keras_encdec.text import SentinelPieceTokenizer
from keras_encdec.text.graph_parts import HasGraphParts, graph_part

pytestmark = pytest.mark.once


class Table(HasGraphParts):
    made = 0

    @graph_part
    def _table(self):
        self.made += 1
        return tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["a"], [7]), default_value=-1
        )

    def __call__(self, texts):
        return self._table.lookup(texts)


def test_a_part_is_made_once_and_not_before_it_is_needed():
    table = Table()
    assert table.made == 0
    assert table(tf.constant(["a", "b"])).numpy().tolist() == [7, -1]
    assert table(tf.constant(["b"])).numpy().tolist() == [-1]
    assert table.made == 1


def test_it_is_made_outside_of_the_graph_that_needs_it_first():
    table = Table()
    traced = tf.function(table)
    assert traced(tf.constant(["a"])).numpy().tolist() == [7]
    mapped = tf.data.Dataset.from_tensor_slices(["a", "b"]).map(Table())
    assert [int(x) for x in mapped] == [7, -1]
    assert table(tf.constant(["a"])).numpy().tolist() == [7]


def test_threads_share_one():
    table, barrier = Table(), threading.Barrier(4)

    def ask():
        barrier.wait()
        table(tf.constant(["a"]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert table.made == 1


class Pair(HasGraphParts):
    def __init__(self):
        self._first, self.others = Table(), {"one": [Table()], 2: "text"}


def test_a_module_holds_the_parts_of_parts(tmp_path):
    pair = Pair()
    whole = tf.Module()
    whole.parts = pair.module()
    whole.call = tf.function(
        lambda texts: pair._first(texts) + pair.others["one"][0](texts),
        [tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(whole, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert loaded.call(tf.constant(["a", "b"])).numpy().tolist() == [14, -2]


@pytest.mark.parametrize(
    "make",
    [
        lambda texts: WordTokenizer.from_texts(texts),
        lambda texts: SentencePieceTokenizer.train(texts, 12),
        lambda texts: ByteLevelBPETokenizer.train(texts, 266),
        lambda texts: SentinelPieceTokenizer(
            SentencePieceTokenizer.train(
                texts, 12, user_defined_symbols=["<gap>"]
            ).proto,
            sentinels=["<gap>"],
            normalizer=[{"type": "Precompiled"}],
        ),
    ],
)
def test_a_graph_of_a_tokenizer_never_called_is_saved(make, tmp_path):
    texts = ["a cat sat", "a hat sat", "a cat has a hat"]
    tokenizer, again = make(texts), make(texts)
    whole = tf.Module()
    whole.tokenizer = tokenizer.module()
    whole.call = tf.function(
        lambda texts: tokenizer.encode(texts).to_tensor(),
        [tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(whole, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).call(tf.constant(texts))
    expected = again.encode(texts).to_tensor()
    assert loaded.numpy().tolist() == expected.numpy().tolist()
