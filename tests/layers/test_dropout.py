"""Dropout against the binomial distribution and PyTorch's gradient."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.layers import Dropout

SHAPE = (31, 33, 37)


def drop(layer, x, training=True):
    return ops.convert_to_numpy(layer(ops.convert_to_tensor(x), training=training))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.997])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_drops_at_its_rate_and_keeps_the_mean(rate, dtype):
    keras.utils.set_random_seed(0)
    found = drop(Dropout(rate, dtype=dtype), np.ones(SHAPE, "float32"))
    found = np.asarray(found, "float32")
    zero = found == 0
    deviation = (rate * (1 - rate) / zero.size) ** 0.5
    assert abs(zero.mean() - rate) < 5 * deviation
    tolerance = {"float32": 0.01, "float16": 0.01, "bfloat16": 0.02}[dtype]
    np.testing.assert_allclose(found[~zero], 1 / (1 - rate), rtol=tolerance)
    # Neighbours, and the elements of each axis, are dropped independently.
    for axis in range(3):
        both = np.take(zero, range(0, 30), axis) & np.take(zero, range(1, 31), axis)
        expected = rate**2
        deviation = (expected * (1 - expected) / both.size) ** 0.5
        assert abs(both.mean() - expected) < 6 * deviation
        means = np.moveaxis(zero, axis, 0).reshape(SHAPE[axis], -1).mean(1)
        deviation = (rate * (1 - rate) * SHAPE[axis] / zero.size) ** 0.5
        assert np.abs(means - rate).max() < 5 * deviation


def test_draws_anew_each_time_and_again_from_a_seed():
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        layer = Dropout(0.5)
        found.append([drop(layer, np.ones((4, 5))) for _ in range(3)])
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0][0] != found[0][1]).any() and (found[0][1] != found[0][2]).any()


@pytest.mark.parametrize("rate", [0, 1e-7, 1.0])
def test_drops_nothing_or_all(rate):
    x = np.arange(1.0, 7.0, dtype="float32").reshape(2, 3)
    expected = x * 0 if rate == 1 else x
    np.testing.assert_allclose(drop(Dropout(rate), x), expected, rtol=1e-6)
    np.testing.assert_array_equal(drop(Dropout(rate), x, training=False), x)


@pytest.mark.parametrize("shape", [(0, 3), (1,), (7, 1, 3)])
def test_takes_any_shape(shape):
    assert drop(Dropout(0.5), np.ones(shape, "float32")).shape == shape


def test_the_gradient_flows_where_nothing_is_dropped():
    inputs = keras.Input((50,))
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Model(inputs, layer(Dropout(0.5)(inputs)))
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, y_pred: y_pred)
    model.train_on_batch(np.ones((1, 50), "float32"), np.zeros((1, 1)))
    # A weight's gradient is what came through.
    gone = 1 - ops.convert_to_numpy(layer.kernel)
    assert set(np.unique(gone.round(5))) == {0.0, 2.0}


def test_survives_saving(tmp_path):
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, Dropout(0.25, name="drop")(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.get_layer("drop")) is Dropout
    assert again.get_layer("drop").rate == 0.25


@pytest.mark.once
def test_refuses_a_rate_that_is_none():
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dropout(1.5)
