import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.training import InverseSquareRoot


def test_is_the_schedule_of_the_original_transformer():
    hidden_dim, warmup_steps = 512, 4000
    schedule = InverseSquareRoot((hidden_dim * warmup_steps) ** -0.5, warmup_steps)
    for step in [1, 10, 3999, 4000, 4001, 100_000]:
        # Equation 3 of the paper.
        expected = hidden_dim**-0.5 * min(step**-0.5, step * warmup_steps**-1.5)
        np.testing.assert_allclose(float(schedule(step)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "step, expected",
    [(0, 1e-7), (50, (1e-3 + 1e-7) / 2), (100, 1e-3), (400, 5e-4), (10_000, 1e-4)],
)
def test_rises_from_the_initial_rate_and_falls(step, expected):
    schedule = InverseSquareRoot(1e-3, 100, initial_learning_rate=1e-7)
    np.testing.assert_allclose(float(schedule(step)), expected, rtol=1e-5)


def test_takes_a_tensor_of_steps():
    rates = InverseSquareRoot(1.0, 2)(ops.arange(9))
    expected = [0, 0.5, *np.sqrt(2 / np.arange(2, 9))]
    np.testing.assert_allclose(ops.convert_to_numpy(rates), expected, rtol=1e-6)


def test_drives_an_optimizer():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.zeros((1, 1))])
    model.compile(
        keras.optimizers.SGD(InverseSquareRoot(1.0, 2)), "mean_absolute_error"
    )
    # The gradient of |w x - y| is -1 here, so that the weight is the sum of the rates.
    for rate_sum in [0.0, 0.5, 1.5, 1.5 + np.sqrt(2 / 3)]:
        model.train_on_batch(np.ones((1, 1)), np.full((1, 1), 100.0))
        np.testing.assert_allclose(model.get_weights()[0][0, 0], rate_sum, rtol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0.0, 10), "peak_learning_rate must be positive.*=0.0"),
        ((1e-3, 0), "warmup_steps must be a positive integer.*=0"),
        ((1e-3, 2.5), "warmup_steps must be a positive integer.*=2.5"),
        ((1e-3, 10, -1e-3), "initial_learning_rate must not be negative.*=-0.001"),
    ],
)
def test_refuses_values_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        InverseSquareRoot(*arguments)


def test_survives_serialization():
    schedule = InverseSquareRoot(1e-3, 10, 1e-5, name="warmup")
    optimizer = keras.optimizers.Adam(schedule)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(optimizer)
    )
    assert copy._learning_rate.get_config() == schedule.get_config()
    assert schedule.get_config() == {
        "peak_learning_rate": 1e-3,
        "warmup_steps": 10,
        "initial_learning_rate": 1e-5,
        "name": "warmup",
    }
