"""JAX's programs: one for each set of shapes, and not too many."""

import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from keras_encdec.backend import compile_function
from keras_encdec.backend.jax import functions as jax_functions

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "jax", reason="JAX's own programs"
)


def test_the_last_shapes_are_not_compiled_again(monkeypatch):
    monkeypatch.setattr(jax_functions, "MOST_PROGRAMS", 2)
    traced = []
    double = compile_function(lambda x: traced.append(x.shape) or 2 * x, None)
    for size in (1, 2, 1, 2, 3, 2, 3, 1):
        assert double(np.ones(size, "float32")).tolist() == [2] * size
    assert traced == [(1,), (2,), (3,), (1,)]


def test_dtypes_and_structures_are_told_apart():
    double = compile_function(lambda x: {k: 2 * v for k, v in x.items()}, None)
    for name in ("a", "b"):
        for dtype in ("int32", "float32"):
            found = double({name: np.ones(1, dtype)})[name]
            assert found.tolist() == [2] and found.dtype == dtype


def test_threads_compile_once():
    traced, together = [], threading.Barrier(4)
    double = compile_function(lambda x: traced.append(None) or 2 * x, None)

    def call(number):
        together.wait(timeout=60)
        return double(np.full(3, number)).tolist()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(call, range(4)))
    assert found == [[2 * number] * 3 for number in range(4)]
    assert len(traced) == 1
