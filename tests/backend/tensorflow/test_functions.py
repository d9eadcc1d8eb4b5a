"""When XLA compiles TensorFlow's functions."""

import warnings

import keras
import numpy as np
import pytest

from keras_encdec.backend import compile_function
from keras_encdec.backend.environment import by_xla
from keras_encdec.backend.tensorflow import functions as tensorflow_functions

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow's own"
)
INPUTS = [keras.KerasTensor((None,), "int32")] * 2


@pytest.fixture(autouse=True)
def early(monkeypatch):
    monkeypatch.setattr(tensorflow_functions, "CALLS_BEFORE_XLA", 3)


def ones(size):
    return keras.ops.ones(size, "int32")


def test_shapes_that_have_come_often_are_compiled():
    traced = []

    def add(x, y):
        traced.append(by_xla())
        return {"sum": x + y}

    function = compile_function(add, INPUTS, jit="auto")
    for sizes, expected in (
        ([2, 3, 2, 3, 2, 3], [False]),
        ([2], [False, True]),
        ([2, 3, 4], [False, True]),
    ):
        for size in sizes:
            found = function(ones(size), 2 * ones(size))["sum"]
            np.testing.assert_array_equal(found, np.full(size, 3))
        assert traced == expected


def test_nested_arguments_are_compiled_too():
    traced = []

    def add(state, y):
        traced.append(by_xla())
        return state["x"] + y

    function = compile_function(add, None, jit="auto")
    for _ in range(5):
        np.testing.assert_array_equal(function({"x": ones(2)}, ones(2)), [2, 2])
    assert traced[0] is False and traced[-1] is True


def test_what_xla_cannot_compile_runs_on_without():
    import tensorflow as tf

    def add(x, y):
        return tf.numpy_function(np.add, [x, y], tf.int32)

    function = compile_function(add, INPUTS, jit="auto")
    for calls in range(6):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            np.testing.assert_array_equal(function(ones(2), ones(2)), [2, 2])
        messages = [str(warning.message) for warning in caught]
        assert len(messages) == (calls == 3)
        assert all("XLA can't" in m and "PyFunc" in m for m in messages)
    with pytest.raises(tf.errors.InvalidArgumentError, match="PyFunc"):
        compile_function(add, INPUTS, jit=True)(ones(2), ones(2))


@pytest.mark.parametrize("jit", [True, "auto"])
def test_xlas_programs_are_not_without_end(jit, monkeypatch):
    monkeypatch.setattr(tensorflow_functions, "CALLS_BEFORE_XLA", 0)
    monkeypatch.setattr(tensorflow_functions, "MOST_PROGRAMS", 2)
    traced = []
    function = compile_function(
        lambda x, y: traced.append(by_xla()) or x + y, INPUTS, jit=jit
    )
    for sizes, expected in (([2, 3, 2], [True]), ([4, 2, 5], [True, False])):
        for size in sizes:
            found = function(ones(size), ones(size))
            np.testing.assert_array_equal(found, np.full(size, 2))
        assert traced == expected


def test_what_is_traced_once_is_not_told_to_be_traced_often(caplog):
    for number in range(8):
        function = compile_function(lambda x, y, number=number: x * number, INPUTS)
        function(ones(2), ones(2))
    assert not caplog.records


def test_on_gpus_xla_is_not_asked(monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    traced = []
    function = compile_function(
        lambda x, y: traced.append(by_xla()) or x + y, INPUTS, jit="auto"
    )
    for _ in range(5):
        function(ones(2), ones(2))
    assert traced == [False]
