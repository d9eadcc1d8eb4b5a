"""Moving averages of weights, put in for a while."""

import keras
import numpy as np
import pytest

from keras_encdec.training import averaged_weights

ROWS = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)


def fitted(dtype="float32", **options):
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(3, dtype=dtype)
    model = keras.Sequential([keras.Input((3,)), dense])
    model.compile(keras.optimizers.Adam(0.1, **options), "mse", jit_compile=False)
    model.fit(ROWS, ROWS[::-1], batch_size=2, epochs=2, verbose=0)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_puts_in_the_averages_and_brings_back_the_very_same_weights(dtype):
    model = fitted(dtype, use_ema=True, ema_momentum=0.8)
    # At the end of `fit`, Keras itself puts in the averages.
    model.set_weights([weight + 1 for weight in model.get_weights()])
    before = model.get_weights()
    with pytest.raises(ZeroDivisionError), averaged_weights(model):
        inside = model.get_weights()
        raise ZeroDivisionError
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(before, inside, strict=True):
        np.testing.assert_allclose(one, other + 1, atol=1e-6)


def test_changes_nothing_without_averages():
    model = fitted()
    before = model.get_weights()
    with averaged_weights(model):
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
