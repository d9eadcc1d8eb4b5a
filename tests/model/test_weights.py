import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_encdec import Decoder, Encoder, EncoderDecoder, Generator
from keras_encdec.model.weights import canonical_weights, set_canonical_weights

SIZES = {
    "vocabulary_size": 11,
    "hidden_dim": 8,
    "intermediate_dim": 12,
    "num_heads": 2,
    "num_layers": 1,
}
SOURCE = np.array([[3, 4, 5, 1, 2], [6, 2, 0, 0, 0]], "int32")
OPTIONS = [
    {},
    {"positions": "learned", "max_length": 5, "output_bias": True},
    {"positions": "relative", "normalization": "rms", "gated": True, "use_bias": False},
    {"positions": "relative", "bias_per_block": True, "embedding_norm": True},
    {"target_vocabulary_size": 9, "tie_embeddings": False, "output_bias": True},
]


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


@pytest.mark.parametrize("options", OPTIONS)
def test_every_weight_has_a_name_under_which_it_is_set(options):
    model, other = (EncoderDecoder(**SIZES, **options) for _ in range(2))
    weights = canonical_weights(model)
    shared = "target_vocabulary_size" not in options
    assert len(weights) == len(model.weights) + shared
    rng = np.random.default_rng(0)
    weights = {
        k: rng.normal(size=v.shape).astype("float32") for k, v in weights.items()
    }
    if shared:
        weights["decoder.embedding"] = weights["encoder.embedding"]
    for each in (model, other):
        set_canonical_weights(each, weights)
    found, expected = (
        Generator(m)(SOURCE, 5, return_scores=True) for m in (model, other)
    )
    np.testing.assert_array_equal(found.scores, expected.scores)
    for name, array in canonical_weights(other).items():
        np.testing.assert_array_equal(array, weights[name])


def test_names_say_what_a_weight_is(copy_from_torch):
    encoder = Encoder(**SIZES, positions=None)
    theirs = torch.nn.TransformerEncoderLayer(8, 2, 12, norm_first=True)
    copy_from_torch(encoder.blocks[0], theirs)
    weights = canonical_weights(encoder)
    state = {k: v.detach().numpy() for k, v in theirs.state_dict().items()}
    query, key, value = np.split(state["self_attn.in_proj_weight"], 3)
    for name, array in {
        "self_attention.query.kernel": query.T,
        "self_attention.key.kernel": key.T,
        "self_attention.value.kernel": value.T,
        "self_attention.output.bias": state["self_attn.out_proj.bias"],
        "self_attention.norm.scale": state["norm1.weight"],
        "feed_forward.intermediate.kernel": state["linear1.weight"].T,
        "feed_forward.output.kernel": state["linear2.weight"].T,
        "feed_forward.norm.bias": state["norm2.bias"],
    }.items():
        np.testing.assert_allclose(weights[f"encoder.blocks.0.{name}"], array)


def test_adapters_are_merged():
    decoder = Decoder(**SIZES)
    dense = decoder.blocks[0].cross_attention.query_dense
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.ones(dense.lora_kernel_b.shape))
    name = "decoder.blocks.0.cross_attention.query.kernel"
    weights = canonical_weights(decoder)
    a, b = map(to_numpy, (dense.lora_kernel_a, dense.lora_kernel_b))
    expected = to_numpy(dense._kernel) + a @ b * dense.lora_alpha / dense.lora_rank
    np.testing.assert_allclose(weights[name], expected, atol=1e-6)
    with pytest.raises(ValueError, match="query.kernel is adapted by LoRA"):
        set_canonical_weights(decoder, weights)


def test_says_all_that_is_wrong_before_any_is_set():
    model = EncoderDecoder(**SIZES)
    weights = canonical_weights(model)
    bad = {**weights, "encoder.nose": np.ones(3)}
    bad["decoder.norm.bias"] = np.ones(3)
    bad["encoder.embedding"] = np.ones((11, 8))
    del bad["encoder.norm.scale"]
    with pytest.raises(ValueError) as raised:
        set_canonical_weights(model, bad)
    for words in (
        "encoder.nose is unknown",
        "decoder.norm.bias is (3,), not (8,)",
        "encoder.norm.scale is missing",
        "is not encoder.embedding",
    ):
        assert words in str(raised.value)
    for name, array in canonical_weights(model).items():
        np.testing.assert_array_equal(array, weights[name])
    # A weight that is no number differs from itself, and not from another.
    weights["encoder.norm.bias"] = np.full(8, np.nan)
    set_canonical_weights(model, weights)


def test_refuses_what_has_no_names():
    model = EncoderDecoder(**SIZES)
    weights = canonical_weights(model)
    model.quantize("int8")
    with pytest.raises(ValueError, match="before `quantize`"):
        set_canonical_weights(model, weights)
    features = keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(8)])
    with pytest.raises(ValueError, match="model.decoder alone"):
        canonical_weights(EncoderDecoder(features, Decoder(**SIZES)))
