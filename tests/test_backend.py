import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.backend import (
    calls_at_a_time,
    compile_function,
    fused_attention,
    import_tensorflow,
    inference_mode,
    random_state,
    set_random_state,
    traced_call,
    while_loop,
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


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("steps", [1, 2])
def test_write_at_writes_along_an_axis_and_broadcasts(axis, steps):
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(4, 5, 6)).astype("float32")
    shape = [1, 1, 1]
    shape[axis] = steps
    entry = rng.normal(size=shape).astype("float32")
    cache = ops.convert_to_tensor(expected.copy())
    written = write_at(cache, 2, ops.convert_to_tensor(entry), axis=axis)
    place = [slice(None)] * 3
    place[axis] = slice(2, 2 + steps)
    expected[tuple(place)] = entry
    np.testing.assert_array_equal(ops.convert_to_numpy(written), expected)


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


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("rows, queries", [(2, 5), (2, 8), (200, 1)])
@pytest.mark.parametrize("kind", ["mask", "padding", "bias", None])
def test_fused_attention_is_that_of_pytorch(kind, rows, queries, on_cpu, monkeypatch):
    torch = pytest.importorskip("torch")
    # JAX calls another function on a GPU, which falls back to its own on a CPU.
    monkeypatch.setattr("keras_encdec.backend._on_cpu", lambda: on_cpu)
    rng = np.random.default_rng(0)
    lengths = queries, 6, 6
    arrays = [rng.normal(size=(rows, 3, n, 4)).astype("float32") for n in lengths]
    options = {
        "mask": {"mask": rng.random(size=(rows, 1, queries, 6)) < 0.5},
        "padding": {"mask": rng.random(size=(rows, 1, 1, 6)) < 0.5},
        "bias": {"bias": rng.normal(size=(1, 3, 1, 6)).astype("float32")},
        None: {},
    }[kind]
    if "mask" in options:
        options["mask"][..., 0] = True
    given = {name: torch.tensor(value) for name, value in options.items()}
    expected = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.tensor, arrays), attn_mask=next(iter(given.values()), None)
    ).numpy()
    found = fused_attention(
        *map(ops.convert_to_tensor, arrays),
        **{name: ops.convert_to_tensor(value) for name, value in options.items()},
    )
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_calls_at_a_time_are_for_small_programs_of_xla(jit, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    by_xla = {"jax": True, "tensorflow": jit, "torch": False}[keras.config.backend()]
    small = keras.Variable(np.zeros((3, 3), "float32"))
    large = np.broadcast_to(np.float32(0), (2**12, 2**12))  # Has a shape, like one.
    assert calls_at_a_time([small], jit) == (6 if by_xla else 1)
    assert calls_at_a_time([small, large], jit) == 1
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    assert calls_at_a_time([small], jit) == 1


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
