"""Models of other options with the weights of another."""

import keras
import numpy as np
import pytest

from keras_encdec.model import Decoder, Encoder, EncoderDecoder, Ensemble, with_options
from keras_encdec.model.weights import canonical_weights
from keras_encdec.training import enable_lora

SIZES = {
    "vocabulary_size": 12,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "num_heads": 2,
    "num_layers": 3,
}
IDS = np.array([[5, 7, 2, 0]]), np.array([[1, 9, 8]])


@keras.saving.register_keras_serializable("tests")
class Shifted(keras.layers.Layer):
    """Positions with weights of their own."""

    def build(self, shape):
        self.shift = self.add_weight(shape=shape[-1:], name="shift")

    def call(self, x, *args, **kwargs):
        return x + self.shift

    def compute_output_shape(self, shape):
        return shape


def logits(model):
    return keras.ops.convert_to_numpy(model(IDS))


def weights_of(layer):
    return [keras.ops.convert_to_numpy(x) for x in layer.trainable_variables]


def test_what_leaves_the_weights_leaves_the_logits():
    model = EncoderDecoder(**SIZES)
    other = with_options(model, dropout=0.3, attention_dropout=0.2, remat=True)
    np.testing.assert_array_equal(logits(other), logits(model))
    options = other.get_config()
    assert options == model.get_config() | {
        "dropout": 0.3,
        "attention_dropout": 0.2,
        "remat": True,
        "num_decoder_layers": 3,
    }
    assert with_options(model, dtype="mixed_bfloat16").compute_dtype == "bfloat16"
    kept = with_options(model, num_layers=1, num_decoder_layers=None)
    assert len(kept.decoder.blocks) == 3
    canonical_weights(model)["encoder.embedding"][:] = 0
    weights_of(other)[0][:] = 0
    np.testing.assert_array_equal(logits(other), logits(model))


@pytest.mark.parametrize(
    ("number", "kept"), [(1, [0]), (2, [0, 2]), (3, [0, 1, 2])], ids=str
)
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("positions", ["sinusoidal", "relative"])
def test_blocks_that_are_kept_are_spread_evenly(kind, number, kept, positions):
    per_block = positions == "relative"
    model = EncoderDecoder(**SIZES, positions=positions, bias_per_block=per_block)
    name = {"encoder": "num_layers", "decoder": "num_decoder_layers"}[kind]
    other = with_options(model, **{name: number})
    blocks = getattr(other, kind).blocks
    assert len(blocks) == number
    for theirs, index in zip(blocks, kept, strict=True):
        ours = getattr(model, kind).blocks[index]
        for a, b in zip(weights_of(theirs), weights_of(ours), strict=True):
            np.testing.assert_array_equal(a, b)
    biases = getattr(other, kind).relative_biases
    assert len(biases) == (number if per_block else 0)
    for theirs, index in zip(biases, kept, strict=bool(biases)):
        ours = getattr(model, kind).relative_biases[index]
        np.testing.assert_array_equal(weights_of(theirs)[0], weights_of(ours)[0])
    rest = {"encoder": "decoder", "decoder": "encoder"}[kind]
    assert len(getattr(other, rest).blocks) == 3


def test_parts_of_their_own_options():
    sizes = {k: SIZES[k] for k in ("vocabulary_size", "intermediate_dim", "num_heads")}
    encoder = Encoder(
        **sizes, hidden_dim=12, num_layers=2, positions="learned", max_length=9
    )
    decoder = Decoder(**sizes, hidden_dim=8, num_layers=3, memory_dim=12)
    model = EncoderDecoder(encoder, decoder)
    np.testing.assert_array_equal(
        logits(with_options(model, dropout=0.3)), logits(model)
    )
    other = with_options(
        model, num_layers=1, num_decoder_layers=2, dropout=0.4, dtype="mixed_bfloat16"
    )
    assert other.compute_dtype == "bfloat16"
    assert [len(x.blocks) for x in (other.encoder, other.decoder)] == [1, 2]
    assert (
        other.encoder.options()["dropout"] == other.decoder.options()["dropout"] == 0.4
    )


def test_a_subclass_stays_one_and_numbers_may_be_numpys():
    @keras.saving.register_keras_serializable("test_other_options")
    class Other(EncoderDecoder):
        pass

    other = with_options(Other(**SIZES), num_layers=np.int64(2))
    assert type(other) is Other and len(other.encoder.blocks) == 2
    assert type(other.options()["num_layers"]) is int


def test_int8_weights_become_floats_that_can_learn():
    model = EncoderDecoder(**SIZES, tie_embeddings=False)
    before = canonical_weights(model)
    model.encoder_blocks[0].trainable = False
    model.quantize("int8")
    other = with_options(model)
    for name, values in canonical_weights(other).items():
        # An eighth bit of the largest is half a step.
        step = np.abs(before[name]).max(initial=0) / 127
        np.testing.assert_allclose(values, before[name], atol=0.51 * step)
    # Inputs are rounded too where weights are int8.
    np.testing.assert_allclose(logits(other), logits(model), atol=0.1)
    # Source and target have one table, under two names.
    assert len(other.trainable_variables) == len(before) - 1
    assert {str(x.dtype) for x in other.trainable_variables} == {"float32"}


def test_what_it_refuses():
    model = EncoderDecoder(**SIZES)
    with pytest.raises(ValueError, match="received hidden_dim. Leave"):
        with_options(model, hidden_dim=16)
    for number in (4, 0, 1.5):
        with pytest.raises(ValueError, match="has, 3; received num_layers"):
            with_options(model, num_layers=number)
    with pytest.raises(TypeError, match="received Ensemble"):
        with_options(Ensemble([model]))
    features = keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(8)])
    with pytest.raises(ValueError, match="its encoder is an Encoder; received"):
        with_options(EncoderDecoder(features, Decoder(**SIZES)))
    with pytest.raises(ValueError, match="received 16 numbers that have none"):
        with_options(EncoderDecoder(**SIZES, positions=Shifted()))
    model.quantize("int4")
    with pytest.raises(ValueError, match="is int4. Take the model before"):
        with_options(model)


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_adapters_of_what_is_quantized_are_merged_first(mode, tmp_path):
    model = EncoderDecoder(**SIZES)
    model.quantize(mode)
    enable_lora(model, rank=2)
    with pytest.raises(ValueError, match=rf"is {mode}( with LoRA)?\. Take the"):
        with_options(model)
    if mode == "int8":
        model.save(tmp_path / "merged.keras")
        merged = keras.models.load_model(tmp_path / "merged.keras")
        np.testing.assert_allclose(
            logits(with_options(merged)), logits(model), atol=0.1
        )
