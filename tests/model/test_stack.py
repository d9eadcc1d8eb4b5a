import pytest

from keras_encdec import Decoder, Encoder, EncoderDecoder

SIZES = {
    "vocabulary_size": 11,
    "hidden_dim": 8,
    "intermediate_dim": 12,
    "num_heads": 2,
    "num_layers": 2,
}


@pytest.mark.once
@pytest.mark.parametrize("kind", [Encoder, Decoder])
def test_weights_are_named_as_in_the_whole_model(kind):
    whole = {v.path for v in EncoderDecoder(**SIZES, positions="relative").weights}
    # The decoder of the whole shares the encoder's table.
    paths = {v.path for v in kind(**SIZES, positions="relative").weights}
    assert paths - {"target_embedding/table/embeddings", "table/embeddings"} <= whole


@pytest.mark.once
@pytest.mark.parametrize("kind", [Encoder, Decoder])
def test_parts_are_those_that_the_options_say(kind):
    stack = kind(**SIZES, positions="relative")
    assert len(stack.relative_biases) == 1 and stack.norm is not None
    assert stack.vocabulary_size == 11 and len(stack.blocks) == 2
    stack = kind(**SIZES, positions="rotary", normalize_first=False, gated=True)
    assert stack.relative_biases == [] and stack.norm is None
    assert all(block.rotary and block.gated for block in stack.blocks)
