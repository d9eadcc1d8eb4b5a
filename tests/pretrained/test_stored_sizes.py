"""Sizes of a config that the tensors beside it do not have."""

import pytest

from keras_encdec.pretrained.configurations import architecture_of
from keras_encdec.pretrained.layouts import layout_of
from keras_encdec.pretrained.stored_sizes import layout_that_fits

pytestmark = pytest.mark.once

# No model of it fits into a memory.
HUGE = 10**9


def fitted(config, shapes):
    architecture = architecture_of(config)
    return layout_that_fits(architecture, shapes, lambda: layout_of(architecture))


@pytest.mark.parametrize(
    "name, change, told",
    [
        ("bart", {"encoder_layers": HUGE}, "layers of the encoder: 1,000,000,000.*at"),
        ("bart", {"decoder_layers": 3}, "layers of the decoder: 3.*, 1 in the"),
        ("bart", {"d_model": HUGE}, "width of the encoder: 1,000,000,000.*16 in"),
        ("bart", {"vocab_size": HUGE}, "vocabulary of the encoder: 1,000.*60 in"),
        ("bart", {"encoder_ffn_dim": HUGE}, "forward width of the encoder: .* 24 in"),
        ("bart", {"max_position_embeddings": HUGE}, "positions.*1,000,000,002.*34 in"),
        ("m2m_100", {"vocab_size": 61}, "vocabulary of the decoder: 61.*60 in"),
        ("t5 1.0", {"num_layers": HUGE}, "layers of the encoder: 1,000,000,000.*at"),
        ("t5 1.1", {"d_ff": HUGE}, "forward width of the decoder: 1,000.*24 in"),
        ("t5 1.0", {"d_kv": HUGE}, "attention width .*: 3,000,000,000.*12 in"),
        ("t5 1.0", {"num_heads": HUGE}, "heads of the decoder: 1,000,000,000.*3 in"),
        ("umt5", {"relative_attention_num_buckets": HUGE}, "buckets of .*32 in"),
    ],
)
def test_sizes_are_compared_before_a_model_is_made(name, change, told, checkpoint):
    theirs = checkpoint(name)
    shapes = {name: tensor.shape for name, tensor in theirs.tensors.items()}
    config = theirs.config.to_dict()
    fitted(config, shapes)
    with pytest.raises(ValueError, match=f"(?s){told}.*of one model"):
        fitted({**config, **change}, shapes)


def test_a_size_that_no_tensor_tells_is_no_larger_than_all(checkpoint):
    theirs = checkpoint("bart")
    shapes = {
        name: tensor.shape
        for name, tensor in theirs.tensors.items()
        if ".fc1." not in name
    }
    config = theirs.config.to_dict()
    fitted(config, shapes)
    with pytest.raises(ValueError, match="forward width of the decoder.*at most 60"):
        fitted({**config, "decoder_ffn_dim": HUGE}, shapes)
