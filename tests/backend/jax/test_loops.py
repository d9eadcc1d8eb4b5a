"""Loops of JAX against the same steps one by one."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.backend import compile_function, while_loop
from keras_encdec.backend.jax import loops as jax_loops

jax = pytest.importorskip("jax")

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "jax", reason="These are the loops of JAX"
)


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def search(x, table):
    """Adds the largest product with a transposed table, and counts; three times."""

    def step(state, table):
        (x, count), cache = state
        logits = ops.matmul(x, ops.transpose(table))
        x = x + 0.1 * ops.max(logits, axis=-1, keepdims=True)
        return (x, count + 1), cache + ops.sum(x)

    count = ops.convert_to_tensor(0, "int32")
    state = (x, count), ops.zeros((1, 2, 3))
    return while_loop(lambda state, _: state[0][1] < 3, step, state, table)


def expected(x, table):
    cache = np.zeros((1, 2, 3))
    for _ in range(3):
        x = x + 0.1 * np.max(x @ table.T, axis=-1, keepdims=True)
        cache = cache + x.sum()
    return (x, 3), cache


@pytest.mark.parametrize("ids", [16, 2**15])
@pytest.mark.parametrize("rows", [1, 3, 65])
def test_computes_the_same_for_any_shapes(rows, ids):
    x, table = draw(rows, 8), draw(ids, 8) / 8
    inputs = [keras.KerasTensor(array.shape, "float32") for array in (x, table)]
    found = compile_function(search, inputs)(ops.array(x), ops.array(table))
    found, right = keras.tree.flatten(found), keras.tree.flatten(expected(x, table))
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize(
    ("rows", "ids", "before"),
    [(1, 2**15, False), (3, 2**15, True), (3, 16, False), (65, 2**15, False)],
)
def test_a_large_table_is_transposed_before_the_loop_for_a_few_rows(rows, ids, before):
    shapes = ((rows, 8), (ids, 8))
    arguments = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]
    operations = jax.make_jaxpr(search)(*arguments).jaxpr.eqns
    names = [x.primitive.name for x in operations]
    assert ("transpose" in names) == before
    (loop,) = (x for x in operations if x.primitive.name == "while")
    assert ("transpose" in str(loop.params["body_jaxpr"])) != before


def test_only_compilers_for_cpus_are_given_other_tables(monkeypatch):
    monkeypatch.setattr(jax_loops, "on_cpu", lambda: False)
    # JAX keeps what it traced for the shapes above.
    operations = jax.make_jaxpr(search)(draw(4, 8), draw(2**15, 8)).jaxpr.eqns
    assert "transpose" not in [x.primitive.name for x in operations]


def test_steps_run_one_by_one_where_nothing_is_compiled():
    seen = []

    def step(number, constants):
        seen.append(int(number))
        return number + 1

    with jax.disable_jit():
        last = while_loop(lambda x, _: x < 3, step, ops.convert_to_tensor(0))
    assert (seen, int(last)) == ([0, 1, 2], 3)
