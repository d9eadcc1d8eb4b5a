import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_encdec.layers import FeedForward

X = np.random.default_rng(0).normal(size=(2, 3, 8)).astype("float32")
TORCH = {
    "relu": torch.nn.functional.relu,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
}


def randomize(layer):
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])


@pytest.mark.parametrize(
    "options, weights",
    [
        ({}, 4),
        ({"activation": "silu", "gated": True, "dropout": 0.1}, 6),
        ({"activation": keras.activations.gelu, "gated": True, "use_bias": False}, 3),
    ],
)
def test_keeps_keras_rules(run_layer_test, options, weights):
    run_layer_test(
        FeedForward,
        init_kwargs={"intermediate_dim": 12, **options},
        input_shape=(2, 3, 8),
        expected_output_shape=(2, 3, 8),
        expected_output_dtype="float32",
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=int("dropout" in options),
        supports_masking=True,
    )


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("activation", TORCH)
@pytest.mark.parametrize("gated", [False, True])
def test_is_torchs_formula(gated, activation, use_bias):
    layer = FeedForward(12, activation=activation, gated=gated, use_bias=use_bias)
    layer.build(X.shape)
    randomize(layer)

    def linear(x, dense):
        kernel, *bias = map(torch.tensor, dense.get_weights())
        return torch.nn.functional.linear(x, kernel.T, *bias)

    x = torch.tensor(X)
    hidden = TORCH[activation](linear(x, layer.intermediate_dense))
    if gated:
        hidden = hidden * linear(x, layer.gate_dense)
    expected = linear(hidden, layer.output_dense).numpy()
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(X)), expected, rtol=1e-5, atol=1e-5
    )


def test_dropout_acts_in_training_alone():
    layer, plain = FeedForward(12, dropout=0.5), FeedForward(12)
    layer.build(X.shape)
    plain.build(X.shape)
    randomize(layer)
    plain.set_weights(layer.get_weights())
    expected = ops.convert_to_numpy(plain(X))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(X)), expected, rtol=1e-6)
    trained = ops.convert_to_numpy(layer(X, training=True))
    assert np.abs(trained - expected).max() > 0.1


def test_keeps_the_mask():
    ids = np.array([[3, 4, 0]])
    y = FeedForward(12)(keras.layers.Embedding(5, 4, mask_zero=True)(ids))
    mask = keras.src.backend.get_keras_mask(y)
    np.testing.assert_array_equal(ops.convert_to_numpy(mask), ids != 0)


def test_refuses_a_width_that_is_not_positive():
    with pytest.raises(ValueError, match="positive integer; received .*_dim=0"):
        FeedForward(0)


def test_refuses_an_unknown_activation():
    with pytest.raises(ValueError, match="relux"):
        FeedForward(4, activation="relux")
