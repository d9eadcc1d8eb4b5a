"""Compiled functions against plain calls of them."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.backend import (
    compile_function,
    inference_mode,
    traced_call,
    while_loop,
)

INPUT = keras.KerasTensor((None, 3), "float32")


@pytest.fixture
def dense():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    return layer


@pytest.mark.parametrize("rows", [1, 4])
def test_compiled_function_keeps_the_structure(rows):
    function = compile_function(
        lambda x, y: {"sum": x + y, "parts": (x, [y])}, [INPUT, INPUT]
    )
    x = np.arange(rows * 3, dtype="float32").reshape(rows, 3)
    result = function(ops.convert_to_tensor(x), ops.convert_to_tensor(2 * x))
    np.testing.assert_array_equal(ops.convert_to_numpy(result["sum"]), 3 * x)
    np.testing.assert_array_equal(ops.convert_to_numpy(result["parts"][1][0]), 2 * x)


def test_compiled_function_sees_weights_that_change_later(dense):
    function = compile_function(dense, [INPUT], dense.variables)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    for kernel in np.random.default_rng(1).normal(size=(2, 3, 2)).astype("float32"):
        dense.kernel.assign(kernel)
        np.testing.assert_allclose(
            ops.convert_to_numpy(function(ops.convert_to_tensor(x))),
            x @ kernel,
            rtol=1e-5,
        )


def test_compiled_function_sees_training(dense):
    function = compile_function(dense, [INPUT], dense.variables)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    before = ops.convert_to_numpy(function(ops.convert_to_tensor(x)))
    model = keras.Sequential([dense])
    model.compile("sgd", "mse")
    model.fit(x, np.ones((4, 2), "float32"), verbose=0)
    after = ops.convert_to_numpy(function(ops.convert_to_tensor(x)))
    kernel, bias = dense.get_weights()
    np.testing.assert_allclose(after, x @ kernel + bias, rtol=1e-5)
    assert np.abs(after - before).max() > 1e-4


def test_inference_mode_records_no_gradient(dense):
    x = np.ones((1, 3), "float32")
    with inference_mode():
        y = dense(x)
    assert not getattr(y, "requires_grad", False)


def collatz(steps, number):
    """Steps from numbers to 1, none of which is reached without the constants."""

    def step(state, constants):
        count, x = state
        even, one = x % constants["two"] == 0, x == 1
        following = ops.where(even, x // constants["two"], 3 * x + 1)
        return count + ops.cast(~one, "int32"), ops.where(one, x, following)

    def unfinished(state, constants):
        return ops.any(state[1] != 1)

    constants = {"two": ops.convert_to_tensor(2, dtype="int32"), "none": None}
    return while_loop(unfinished, step, (steps, number), constants)[0]


def test_while_loop_is_the_same_before_and_after_it_is_traced():
    inputs = [keras.KerasTensor((None,), "int32")] * 2
    function = compile_function(collatz, inputs)
    # 27 takes 111 steps, many more than come before a trace on PyTorch.
    for numbers, expected in (([27, 1, 6], [111, 0, 8]), ([7, 9], [16, 19])) * 2:
        arrays = np.zeros(len(numbers), "int32"), np.array(numbers, "int32")
        found = function(*map(ops.convert_to_tensor, arrays))
        np.testing.assert_array_equal(ops.convert_to_numpy(found), expected)


def test_traced_call_keeps_the_structure_however_often():
    def add(pair):
        return {"sum": pair[0] + pair[1], "no": ()}

    def run(x, y):
        return traced_call(add, (x, y))

    function = compile_function(run, [INPUT, INPUT])
    for time in range(40):  # PyTorch traces it on the way.
        x = np.full((2, 3), time, "float32")
        found = function(ops.convert_to_tensor(x), ops.convert_to_tensor(2 * x))
        np.testing.assert_array_equal(ops.convert_to_numpy(found["sum"]), 3 * x)
        assert found["no"] == ()


def test_traced_steps_see_weights_that_change_later(dense):
    def run(x):
        def step(state, x):
            return state[0] + 1, state[1] + ops.sum(dense(x))

        zero = ops.convert_to_tensor(0, "int32"), ops.convert_to_tensor(0.0)
        return while_loop(lambda state, x: state[0] < 60, step, zero, x)[1]

    function = compile_function(run, [INPUT], dense.variables)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    for kernel in np.random.default_rng(1).normal(size=(3, 3, 2)).astype("float32"):
        dense.kernel.assign(kernel)
        found = ops.convert_to_numpy(function(ops.convert_to_tensor(x)))
        np.testing.assert_allclose(found, 60 * (x @ kernel).sum(), rtol=1e-4)


@dataclasses.dataclass(frozen=True)
class Line:
    slope: object
    offsets: dict
    unit: int = 1


def test_a_loop_may_have_a_dataclass_for_constants():
    def line(x, slope):
        constants = Line(slope, {"offset": (2 * slope,)}, unit=3)
        return while_loop(
            lambda x, line: x[0] < 100 * line.unit,
            lambda x, line: x * line.slope + line.offsets["offset"][0],
            x,
            constants,
        )

    inputs = [keras.KerasTensor((1,), "int32"), keras.KerasTensor((1,), "int32")]
    function = compile_function(line, inputs)
    for slope in (2, 3, 2):
        x = 1
        while x < 300:
            x = x * slope + 2 * slope
        arrays = (ops.convert_to_tensor([n], "int32") for n in (1, slope))
        assert int(ops.convert_to_numpy(function(*arrays))[0]) == x


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_arrays_keep_their_dtype(dtype):
    floatx = keras.config.floatx()
    keras.config.set_floatx("bfloat16")
    try:
        inputs = [keras.KerasTensor((None,), dtype)]
        found = compile_function(lambda x: x + x, inputs)(np.array([21], dtype))
    finally:
        keras.config.set_floatx(floatx)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    assert ops.convert_to_numpy(found).tolist() == [42]
