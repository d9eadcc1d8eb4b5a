import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import tensorflow as tf

from keras_encdec.text import ByteLevelBPETokenizer, ByteTokenizer, WordTokenizer
from keras_encdec.text.graph_functions import GraphFunctions
from keras_encdec.text.interface import as_id_tensor, as_string_tensor

pytestmark = pytest.mark.once

TEXTS = ["a cat", "", "the  dog sat on </s> it", "ünïcode \u2028 日本"]


def doubled(traced):
    def function(numbers):
        traced.append(numbers)
        return numbers * 2

    return function


def test_a_function_is_traced_once_for_all_sizes_and_threads():
    traced, functions = [], GraphFunctions()
    function = doubled(traced)
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(
            lambda n: functions("doubled", function, tf.fill([n], n)), range(1, 30)
        )
        assert [x.numpy().tolist() for x in found] == [
            [2 * n] * n for n in range(1, 30)
        ]
    assert len(traced) == 1 and not hasattr(traced[0], "numpy")


def test_within_another_graph_it_adds_its_operations_there():
    traced, functions = [], GraphFunctions()
    function = doubled(traced)
    graph = tf.function(lambda x: functions("doubled", function, x))
    graph = graph.get_concrete_function(tf.TensorSpec([None], tf.int32)).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert "Mul" in kinds and not any("Call" in kind for kind in kinds)


def test_who_debugs_functions_eagerly_does_so_here():
    traced, functions = [], GraphFunctions()
    tf.config.run_functions_eagerly(True)
    try:
        functions("doubled", doubled(traced), tf.constant([3]))
    finally:
        tf.config.run_functions_eagerly(False)
    assert traced[0].numpy().tolist() == [3]


@pytest.mark.parametrize(
    "tokenizer",
    [
        WordTokenizer(["a", "cat", "on@@"], continuation="@@"),
        ByteTokenizer(prefix_ids=[300], suffix_ids=[]),
        ByteLevelBPETokenizer.train(TEXTS * 3, 290),
    ],
)
def test_ids_and_texts_are_those_of_single_operations(tokenizer):
    ids = tokenizer.encode(TEXTS)
    assert ids.to_list() == tokenizer._encode(as_string_tensor(TEXTS)).to_list()
    single = tokenizer._decode(as_id_tensor(ids, tokenizer.padding_id))
    assert tokenizer.decode(ids).numpy().tolist() == single.numpy().tolist()
    for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert other.encode(TEXTS).to_list() == ids.to_list()


def test_a_saved_module_holds_none_of_them(tmp_path):
    tokenizer = WordTokenizer(["a", "cat"])
    tokenizer.encode(TEXTS)
    tf.saved_model.save(tokenizer.module(), str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert not hasattr(loaded, "_functions") and not loaded.signatures
