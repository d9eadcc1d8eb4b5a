import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.backend import (
    compile_function,
    import_tensorflow,
    inference_mode,
    random_state,
    set_random_state,
    write_at,
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


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("index", [0, 2, 4])
@pytest.mark.parametrize("rest", [(), (2, 3)])
def test_write_at_is_numpys_assignment(rest, index, as_tensor):
    rng = np.random.default_rng(0)
    cache, entry = rng.normal(size=(2, 5, *rest)), rng.normal(size=(2, 1, *rest))
    expected = cache.astype("float32")
    expected[:, index] = entry.astype("float32")[:, 0]
    written = write_at(
        ops.convert_to_tensor(cache.astype("float32")),
        ops.convert_to_tensor(index, "int32") if as_tensor else index,
        ops.convert_to_tensor(entry.astype("float32")),
    )
    np.testing.assert_array_equal(ops.convert_to_numpy(written), expected)


@pytest.mark.parametrize("dtype", ["int32", "float32", "bfloat16"])
def test_write_at_keeps_the_dtype_of_the_cache(dtype):
    cache = ops.zeros((1, 2), dtype=dtype)
    written = write_at(cache, 1, ops.ones((1, 1), dtype="float32"))
    assert keras.backend.standardize_dtype(written.dtype) == dtype
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.cast(written, "int32")), [[0, 1]]
    )


@pytest.mark.parametrize("rest", [(), (2, 3)])
def test_write_at_in_a_compiled_loop(rest):
    def fill(entries):
        def body(index, cache):
            entry = ops.take(entries, ops.reshape(index, (1,)), axis=1)
            return index + 1, write_at(cache, index, 2 * entry)

        state = ops.convert_to_tensor(0, "int32"), ops.zeros_like(entries)
        return ops.while_loop(lambda index, cache: index < 4, body, state)[1]

    entries = np.random.default_rng(0).normal(size=(2, 4, *rest)).astype("float32")
    inputs = [keras.KerasTensor((None, 4, *rest), "float32")]
    filled = compile_function(fill, inputs)(ops.convert_to_tensor(entries))
    np.testing.assert_array_equal(ops.convert_to_numpy(filled), 2 * entries)


def test_imports_tensorflow():
    tf = import_tensorflow()
    assert tf.strings.length("text").numpy() == 4
    if keras.config.backend() != "tensorflow":
        assert not tf.config.get_visible_devices("GPU")


def test_says_what_to_do_without_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match="needs TensorFlow.*pip install tensorflow"):
        import_tensorflow()


def test_random_state_brings_back_what_the_backend_draws_by_itself():
    layer = keras.layers.Dropout(0.5)
    ones = keras.ops.ones((4, 8))
    layer.build(ones.shape)
    seed = np.array(ops.convert_to_numpy(layer.seed_generator.state))
    state = random_state()
    first = keras.ops.convert_to_numpy(layer(ones, training=True))
    set_random_state(state)
    layer.seed_generator.state.assign(seed)
    again = keras.ops.convert_to_numpy(layer(ones, training=True))
    np.testing.assert_array_equal(first, again)
