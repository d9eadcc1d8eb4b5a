import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_encdec.layers import FeedForward
from keras_encdec.layers.activations import (
    gelu_new,
    get_activation,
    saved_activation,
)


def test_gelu_new_is_the_one_by_tanh():
    x = np.linspace(-6, 6, 41, dtype="float32")
    expected = torch.nn.functional.gelu(torch.tensor(x), approximate="tanh").numpy()
    np.testing.assert_allclose(ops.convert_to_numpy(gelu_new(x)), expected, atol=1e-6)
    assert np.abs(ops.convert_to_numpy(keras.activations.gelu(x)) - expected).max() > 0


@pytest.mark.once
@pytest.mark.parametrize("name", ["relu", "gelu", "gelu_new", "silu"])
def test_names_come_back(name):
    assert saved_activation(get_activation(name)) == name
    layer = FeedForward(4, activation=name)
    again = FeedForward.from_config(layer.get_config())
    assert again.activation is layer.activation is get_activation(name)


@pytest.mark.once
def test_refuses_what_cannot_be_found_again():
    with pytest.raises(ValueError, match="register_keras_serializable"):
        saved_activation(lambda x: x)
    with pytest.raises(ValueError, match="gelu_old"):
        get_activation("gelu_old")
