"""Adam that knows the norm of the gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.training import MeasuredAdam


def fitted(optimizer, dtype="float32"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype=dtype)])
    model.compile(optimizer, "mse", jit_compile=False)
    rows = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
    kernel = ops.convert_to_numpy(model.layers[0].kernel)
    model.fit(rows, rows[:, :1], batch_size=2, verbose=0)
    return model, rows, kernel


@pytest.mark.slow
def test_norm_and_updates():
    options = {"learning_rate": 1e-2, "global_clipnorm": 0.5}
    model, rows, kernel = fitted(MeasuredAdam(**options))
    error = 2 * (rows @ kernel - rows[:, :1]) / 2
    gradients = np.concatenate([(rows.T @ error).ravel(), error.sum(0)])
    norm = ops.convert_to_numpy(model.optimizer.gradient_norm)
    np.testing.assert_allclose(norm, np.linalg.norm(gradients), rtol=1e-5)
    expected, _, _ = fitted(keras.optimizers.Adam(**options))
    # Of PyTorch's it is the one that updates all variables at once.
    assert isinstance(model.optimizer, type(expected.optimizer))
    for left, right in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.once
def test_is_saved():
    optimizer = MeasuredAdam(3e-4)
    config = keras.saving.serialize_keras_object(optimizer)
    copy = keras.saving.deserialize_keras_object(config)
    assert isinstance(copy, MeasuredAdam)
    assert copy.get_config() == optimizer.get_config()
