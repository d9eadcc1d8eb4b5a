import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_encdec.layers import make_normalization

TORCH = {"layer": torch.nn.LayerNorm, "rms": torch.nn.RMSNorm}


@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_is_torchs_normalization(kind, epsilon):
    x = np.random.default_rng(0).normal(1, 2, size=(2, 3, 8)).astype("float32")
    expected = TORCH[kind](8, eps=epsilon)
    norm = make_normalization(kind, epsilon=epsilon)
    norm.build(x.shape)
    for parameter in expected.parameters():
        torch.nn.init.normal_(parameter)
    norm.set_weights([p.detach().numpy() for p in expected.parameters()])
    np.testing.assert_allclose(
        ops.convert_to_numpy(norm(x)),
        expected(torch.tensor(x)).detach().numpy(),
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_keeps_the_mask(kind):
    ids = np.array([[3, 4, 0]])
    x = keras.layers.Embedding(5, 4, mask_zero=True)(ids)
    y = make_normalization(kind)(x)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(keras.src.backend.get_keras_mask(y)), ids != 0
    )


def test_passes_on_the_arguments_of_a_layer():
    norm = make_normalization("rms", name="last", dtype="mixed_bfloat16")
    assert norm.name == "last"
    assert norm.compute_dtype == "bfloat16"


def test_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="'layer', 'rms'; received normalization='b"):
        make_normalization("batch")
