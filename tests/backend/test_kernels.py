"""Kernels against NumPy and PyTorch."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.backend import (
    compile_function,
    first_of_largest,
    first_true,
    fused_attention,
    log_sum_exp,
    move_rows,
    replace_nan,
    take_of_each,
    write_at,
)


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


def test_write_at_a_cache_repeated_from_a_single_row():
    cache = ops.repeat(ops.ones((1, 2)), 3, axis=0)
    written = write_at(cache, 1, ops.reshape(ops.arange(3.0), (3, 1)))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(written), [[1, 0], [1, 1], [1, 2]]
    )


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


@pytest.mark.parametrize("sources", [[0], [0, 1, 2], [1, 1, 1], [0, 0, 2, 3, 3, 2]])
@pytest.mark.parametrize("compiled", [False, True])
def test_move_rows_is_numpys_indexing(sources, compiled):
    def move(first, second, sources):
        return move_rows((first, [second]), sources)

    if compiled:
        shapes = ((None, 3), "float32"), ((None, 2, 4), "int32"), ((None,), "int32")
        move = compile_function(move, [keras.KerasTensor(*shape) for shape in shapes])
    rows, rng = len(sources), np.random.default_rng(0)
    first = rng.normal(size=(rows, 3)).astype("float32")
    second = rng.integers(9, size=(rows, 2, 4)).astype("int32")
    given = map(ops.array, (first, second, np.array(sources, "int32")))
    moved = keras.tree.map_structure(ops.convert_to_numpy, move(*given))
    np.testing.assert_array_equal(moved[0], first[sources])
    np.testing.assert_array_equal(moved[1][0], second[sources])


def test_move_rows_of_a_cache_repeated_from_a_single_row():
    cache = ops.broadcast_to(ops.array([[1, 2]]), (3, 2))
    moved = move_rows(cache, ops.array([0, 0, 2], "int32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(moved), [[1, 2]] * 3)


@pytest.mark.parametrize("rest", [(), (3,), (2, 3)])
@pytest.mark.parametrize("outer", [(), (2,), (2, 4)])
def test_take_of_each_is_numpys_indexing(outer, rest):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(*outer, 5, *rest)).astype("float32")
    places = rng.integers(5, size=(*outer, 7)).astype("int32")
    taken = take_of_each(ops.array(x), ops.array(places))
    index = places.reshape(*places.shape, *[1] * len(rest))
    expected = np.take_along_axis(x, index, axis=len(outer))
    np.testing.assert_array_equal(ops.convert_to_numpy(taken), expected)


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


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("axis, steps", [(1, 1), (1, 2), (2, 2), (2, 1)])
def test_write_at_writes_each_row_at_its_own_place(axis, steps, compiled):
    rng = np.random.default_rng(0)
    shape = [3, 2, 2, 5]
    shape[axis] = 6
    cache = rng.normal(size=shape).astype("float32")
    shape[axis] = steps
    entry = rng.normal(size=shape).astype("float32")
    index = np.array([4, 0, 3], "int32")

    def write(cache, index, entry):
        return write_at(cache + 0.0, index, entry, axis)

    if compiled:
        arrays = cache, index, entry
        inputs = [keras.KerasTensor((None, *x.shape[1:]), x.dtype.name) for x in arrays]
        write = compile_function(write, inputs)
    written = write(*map(ops.convert_to_tensor, (cache, index, entry)))
    expected = cache.copy()
    for row, start in enumerate(index):
        place = [row, *[slice(None)] * (axis - 1), slice(start, start + steps)]
        expected[tuple(place)] = entry[row]
    np.testing.assert_array_equal(ops.convert_to_numpy(written), expected)


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize(
    "rows, queries, keys", [(2, 5, 6), (2, 8, 66), (2, 8, 67), (200, 1, 60)]
)
@pytest.mark.parametrize("kind", ["mask", "padding", "bias", None])
def test_fused_attention_is_that_of_pytorch(
    kind, rows, queries, keys, on_cpu, monkeypatch
):
    torch = pytest.importorskip("torch")
    # JAX calls another function on a GPU, which falls back to its own on a CPU.
    monkeypatch.setattr("keras_encdec.backend.kernels.on_cpu", lambda: on_cpu)
    rng = np.random.default_rng(0)
    lengths = queries, keys, keys
    arrays = [rng.normal(size=(rows, 3, n, 4)).astype("float32") for n in lengths]
    options = {
        "mask": {"mask": rng.random(size=(rows, 1, queries, keys)) < 0.5},
        "padding": {"mask": rng.random(size=(rows, 1, 1, keys)) < 0.5},
        "bias": {"bias": rng.normal(size=(1, 3, 1, keys)).astype("float32")},
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


@pytest.mark.parametrize("length_is_known", [True, False])
@pytest.mark.parametrize("queries", [1, 7, 8])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["mask", "bias", None])
def test_fused_attention_is_the_same_compiled(kind, dtype, queries, length_is_known):
    rng = np.random.default_rng(0)
    lengths = queries, 9, 9
    tensors = [ops.array(rng.normal(size=(2, 3, n, 4)), dtype) for n in lengths]
    if kind is not None:
        value = rng.normal(size=(2, 1, 1, 9)).astype("float32")
        tensors.append(ops.array(value > 0 if kind == "mask" else value))

    def attend(queries, keys, values, *rest):
        options = {kind: rest[0]} if rest else {}
        return fused_attention(queries, keys, values, **options)

    inputs = [
        keras.KerasTensor(
            [n if length_is_known or i != 2 else None for i, n in enumerate(x.shape)],
            keras.backend.standardize_dtype(x.dtype),
        )
        for x in tensors
    ]
    found, expected = (
        ops.convert_to_numpy(ops.cast(f(*tensors), "float32"))
        for f in (compile_function(attend, inputs), attend)
    )
    tolerance = 1e-6 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("steps", [1, 2])
def test_write_at_in_a_compiled_loop_is_numpys_assignment(axis, steps):
    rng = np.random.default_rng(0)
    cache = rng.normal(size=(6, 6, 6)).astype("float32")
    expected = cache.copy()
    shape = [6, 6, 6]
    shape[axis] = steps
    entry = rng.normal(size=shape).astype("float32")

    def write(cache, entry):
        def step(index, written):
            return index + steps, write_at(written, index, entry * 1.0, axis)

        return ops.while_loop(lambda i, _: i < 6, step, (0, cache + 0.0))[1]

    inputs = [keras.KerasTensor(shape, "float32") for shape in ((None,) * 3, shape)]
    written = compile_function(write, inputs)(ops.array(cache), ops.array(entry))
    for start in range(0, 6, steps):
        place = [slice(None)] * 3
        place[axis] = slice(start, start + steps)
        expected[tuple(place)] = entry
    np.testing.assert_array_equal(ops.convert_to_numpy(written), expected)


@pytest.mark.parametrize("size", [5, 1000])
def test_the_first_of_the_largest(size):
    x = np.random.default_rng(1).integers(0, 4, (3, size)).astype("float32")
    x[2] = -np.inf
    x[0, 1:3] = -0.0, 0.0
    given = ops.array(x)
    found = first_of_largest(given, ops.max(given, axis=-1, keepdims=True))
    assert ops.convert_to_numpy(found).tolist() == x.argmax(axis=-1).tolist()


@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_nan_or_infinite_upwards_is_replaced(compiled):
    x = np.array([[0.5, -np.inf, np.nan], [np.inf, -3.4e38, 3e38]], "float32")

    def replace(x):
        return replace_nan(x, 9.0)

    if compiled:
        replace = compile_function(replace, [keras.KerasTensor((None, 3))])
    found = replace(ops.array(x))
    expected = np.where(np.isnan(x) | (x == np.inf), np.float32(9), x)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), expected)


def test_the_first_true_of_each_row():
    flags = ops.array([[False, True, True], [False, False, False]])
    places = first_true(flags)
    assert keras.backend.standardize_dtype(places.dtype) == "int32"
    assert ops.convert_to_numpy(places).tolist() == [1, 0]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("value", [-40.0, 0.5, 80.0, float("inf"), -float("inf")])
@pytest.mark.parametrize("without", [None, 0, 5, 11])
def test_log_sum_exp_is_that_of_numpy_in_double_precision(without, value, compiled):
    """However large the one is that does not count."""
    x = np.random.default_rng(0).normal(size=(2, 3, 12)).astype("float32") * 4
    x[0, 1, 7:] = -np.inf
    counted = x.astype("float64")
    if without is not None:
        x[..., without] = value
        counted[..., without] = -np.inf
    best = counted.argmax(-1).astype("int32")
    expected = np.log(np.exp(counted).sum(-1))

    def run(x, best):
        return log_sum_exp(x, best, without)

    if compiled:
        run = compile_function(run, None, [], True)
    given = ops.convert_to_tensor(x)
    found = run(given, ops.convert_to_tensor(best))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=2e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(given), x)


def test_log_sum_exp_of_what_is_no_number_is_none():
    x = np.zeros((3, 4), "float32")
    x[0, 1], x[1, 2], x[2] = np.nan, np.inf, -np.inf
    best = ops.convert_to_tensor(np.array([1, 2, 0], "int32"))
    for without in (None, 3):
        found = log_sum_exp(ops.convert_to_tensor(x), best, without)
        assert np.isnan(ops.convert_to_numpy(found)).all()


def test_log_sum_exp_of_rows_that_share_their_memory():
    row = np.array([[1.0, 5.0, 2.0]], "float32")
    x = ops.broadcast_to(ops.convert_to_tensor(row), (3, 3))
    best = ops.convert_to_tensor(np.array([2, 2, 2], "int32"))
    found = ops.convert_to_numpy(log_sum_exp(x, best, 1))
    np.testing.assert_allclose(found, [np.log(np.exp(1) + np.exp(2))] * 3, rtol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(x), row.repeat(3, 0))
