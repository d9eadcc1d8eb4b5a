import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.generation.samplers.top_k import argmax, top_k


def by_numpy(x, k):
    places = np.argsort(-x, axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(x, places, -1), places


@pytest.mark.parametrize("shape", [(3, 9), (2, 5, 1000), (4, 1009), (1, 10000)])
@pytest.mark.parametrize("k", [1, 9])
@pytest.mark.parametrize("values", [3, None])
def test_is_a_sort_by_numpy(shape, k, values):
    rng = np.random.default_rng(k)
    x = rng.normal(size=shape).astype("float32")
    if values is not None:  # Many equal ones.
        x = rng.integers(0, values, size=shape).astype("float32")
    found, places = map(ops.convert_to_numpy, top_k(ops.convert_to_tensor(x), k))
    expected, expected_places = by_numpy(x, k)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.take_along_axis(x, places, -1), expected)
    # PyTorch does not say which of equals it takes.
    if values is None or keras.config.backend() != "torch":
        np.testing.assert_array_equal(places, expected_places)
    else:
        assert all(len(set(row)) == k for row in places.reshape(-1, k))


def test_fewer_finite_values_than_asked_for():
    x = np.full((2, 5000), -np.inf, "float32")
    x[:, 4999] = 1.0
    values, places = map(ops.convert_to_numpy, top_k(ops.convert_to_tensor(x), 4))
    np.testing.assert_array_equal(values, [[1.0] + [-np.inf] * 3] * 2)
    assert (places[:, 0] == 4999).all() and (places < 5000).all()


def test_all_of_them():
    x = np.random.default_rng(0).normal(size=(2, 1200)).astype("float32")
    found = ops.convert_to_numpy(top_k(ops.convert_to_tensor(x), 1200)[1])
    np.testing.assert_array_equal(found, by_numpy(x, 1200)[1])


def test_the_likeliest_is_the_first_of_equals():
    inf = float("inf")
    logits = ops.array([[1.0, 3.0, 3.0], [-inf, -2.0, -inf], [-0.0, 0.0, -inf]])
    assert ops.convert_to_numpy(argmax(logits)).tolist() == [1, 1, 0]
    nothing = ops.full((1, 3), -inf)
    assert ops.convert_to_numpy(argmax(nothing)).tolist() == [0]


@pytest.mark.parametrize("shape", [(3, 1000), (2, 3, 1009), (1, 10000)])
@pytest.mark.parametrize("values", [3, None])
def test_the_likeliest_of_many_is_that_of_numpy(shape, values):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype("float32")
    if values is not None:  # Many equal ones.
        x = rng.integers(0, values, size=shape).astype("float32")
    found = argmax(ops.convert_to_tensor(x))
    np.testing.assert_array_equal(ops.convert_to_numpy(found), x.argmax(-1))


def test_the_likeliest_of_many_that_are_forbidden():
    x = np.full((3, 2003), -np.inf, "float32")
    x[1, 2002], x[2, 7] = -3.0, -1e30
    found = ops.convert_to_numpy(argmax(ops.convert_to_tensor(x)))
    assert found.tolist() == [0, 2002, 7]


@pytest.mark.parametrize("size", [40, 1000, 1009, 9712])
@pytest.mark.parametrize("place", ["first", "inside", "last"])
@pytest.mark.parametrize("value", [-3.0, 100.0, float("inf"), -float("inf")])
def test_one_place_is_left_out(size, place, value):
    without = {"first": 0, "inside": size // 3, "last": size - 1}[place]
    x = np.random.default_rng(0).normal(size=(2, 3, size)).astype("float32")
    x[..., without] = value
    masked = x.copy()
    masked[..., without] = -np.inf
    given = ops.convert_to_tensor(x)
    values, places = map(ops.convert_to_numpy, top_k(given, 9, without))
    expected, expected_places = by_numpy(masked, 9)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(places, expected_places)
    np.testing.assert_array_equal(ops.convert_to_numpy(given), x)
