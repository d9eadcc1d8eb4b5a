"""Moving averages that share their memory with the weights."""

import keras
import numpy as np
import pytest

from keras_encdec.backend import part_averages


def fitted():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), "mse")
    data = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    model.fit(*data, verbose=0)
    return model, data


def test_trains_on_when_they_are_parted():
    model, data = fitted()
    before = model.get_weights()
    part_averages(model)
    for weights, average in zip(
        before, model.optimizer._model_variables_moving_average, strict=True
    ):
        np.testing.assert_array_equal(weights, keras.ops.convert_to_numpy(average))
    model.fit(*data, verbose=0)


def test_takes_what_has_no_averages():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    part_averages(model)


@pytest.mark.skipif(keras.config.backend() != "jax", reason="a fault under JAX")
def test_keras_still_shares_a_buffer_with_an_average():
    """If this fails, `part_averages` is not needed any more."""
    model, data = fitted()
    with pytest.raises((ValueError, RuntimeError, TypeError)):
        model.fit(*data, verbose=0)
