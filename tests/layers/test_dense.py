"""The dense layers of attention and feed-forward networks."""

import pytest

from keras_encdec import Attention, FeedForward
from keras_encdec.layers.dense import built_dense


@pytest.mark.once
def test_is_of_its_layer():
    for layer, bias in (
        (FeedForward(32, dtype="mixed_bfloat16"), True),
        (Attention(2, use_bias=False), False),
    ):
        dense = built_dense(layer, 8, "output", (None, 4))
        assert dense.built and dense.kernel.shape == (4, 8) and dense.name == "output"
        assert dense.use_bias == bias
        assert dense.dtype_policy.name == layer.dtype_policy.name
