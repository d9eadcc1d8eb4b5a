import numpy as np
import pytest
import torch
from keras import ops

from keras_encdec import Encoder
from keras_encdec.model.weights import canonical_shapes, set_canonical_weights
from keras_encdec.pretrained.layouts import Layout, Pair, TranslatedWeights

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "pair",
    [
        Pair("a", "b"),
        Pair("a", "b", transposed=True, factor=8.0),
        Pair("a", "b", is_row=True, factor=0.25),
    ],
)
def test_what_is_read_is_written(pair):
    shape = (1, 6) if pair.is_row else (4, 6)
    tensor = np.random.default_rng(0).normal(size=shape).astype("float32")
    weight = pair.read(tensor)
    assert pair.shape(weight.shape) == shape
    np.testing.assert_array_equal(pair.write(weight), tensor)
    assert pair.write(weight).flags.c_contiguous


def torch_layout(depth):
    """A map of one's own: `torch.nn.TransformerEncoder` behind an embedding."""
    pairs = [Pair("table.weight", "encoder.embedding")]
    for i in range(depth):
        theirs, ours = f"layers.{i}", f"encoder.blocks.{i}"
        for dense, our_dense in {
            "self_attn.out_proj": "self_attention.output",
            "linear1": "feed_forward.intermediate",
            "linear2": "feed_forward.output",
        }.items():
            kernel = f"{ours}.{our_dense}.kernel"
            pairs.append(Pair(f"{theirs}.{dense}.weight", kernel, transposed=True))
            pairs.append(Pair(f"{theirs}.{dense}.bias", f"{ours}.{our_dense}.bias"))
        for norm, our_norm in {
            "norm1": "self_attention",
            "norm2": "feed_forward",
        }.items():
            pairs.append(
                Pair(f"{theirs}.{norm}.weight", f"{ours}.{our_norm}.norm.scale")
            )
            pairs.append(Pair(f"{theirs}.{norm}.bias", f"{ours}.{our_norm}.norm.bias"))
        for part in ("query", "key", "value"):
            dense = f"{ours}.self_attention.{part}"
            pairs.append(
                Pair(f"{theirs}.{part}.weight", f"{dense}.kernel", transposed=True)
            )
            pairs.append(Pair(f"{theirs}.{part}.bias", f"{dense}.bias"))
    return Layout(tuple(pairs), ignored=("*.version",))


def test_a_map_of_ones_own_reads_another_layout():
    layer = torch.nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dropout=0.0)
    theirs = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    state = {}
    for name, tensor in theirs.state_dict().items():
        if ".in_proj_" in name:
            for part, array in zip(
                ("query", "key", "value"), tensor.chunk(3), strict=True
            ):
                of = name.replace("self_attn.in_proj_", f"{part}.")
                state[of] = array.numpy()
        else:
            state[name] = tensor.numpy()
    table = np.random.default_rng(0).normal(size=(11, 8)).astype("float32")
    state |= {"table.weight": table, "layers.version": np.ones(1)}
    options = {"positions": None, "normalize_first": False, "scale_embeddings": False}
    encoder = Encoder(11, 8, 12, 2, 2, **options)
    weights = TranslatedWeights(state, torch_layout(2), canonical_shapes(encoder))
    assert len(weights) == len(canonical_shapes(encoder)) == len({*weights})
    set_canonical_weights(encoder, weights)
    ids = np.array([[3, 4, 5, 1]])
    expected = theirs(torch.tensor(table[ids])).detach().numpy()
    np.testing.assert_allclose(ops.convert_to_numpy(encoder(ids)), expected, atol=1e-5)
    state["layers.7.linear1.bias"] = np.ones(12)
    del state["layers.0.linear1.bias"]
    with pytest.raises(ValueError) as raised:
        TranslatedWeights(state, torch_layout(2), canonical_shapes(encoder))
    assert "layers.7.linear1.bias (12,) is left over" in str(raised.value)
    assert "layers.0.linear1.bias (12,) is missing" in str(raised.value)
