import itertools

import pytest

from keras_encdec.layers import LearnedPosition, SinusoidalPosition
from keras_encdec.pretrained.configurations import architecture_of, config_of
from keras_encdec.pretrained.families import FAMILIES

pytestmark = pytest.mark.once

BART = {
    "vocab_size": 20,
    "d_model": 16,
    "max_position_embeddings": 9,
    "pad_token_id": 1,
    **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 12 for side in ("encoder", "decoder")},
}
T5 = {"vocab_size": 20, "d_model": 16, "d_kv": 6, "d_ff": 12, "pad_token_id": 0}
T5 |= {"num_layers": 2, "num_heads": 4}


def test_what_a_file_leaves_out_is_as_transformers_has_it():
    options = architecture_of({"model_type": "m2m_100", **BART}).encoder
    assert options["activation"] == "relu" and options["scale_embeddings"]
    assert isinstance(options["positions"], SinusoidalPosition)
    assert options["positions"].first == 2 and options["positions"].endpoint
    options = architecture_of({"model_type": "bart", **BART}).encoder
    assert options["activation"] == "gelu" and not options["scale_embeddings"]
    assert isinstance(options["positions"], LearnedPosition)
    assert (options["positions"].max_length, options["positions"].offset) == (9, 2)
    t5 = architecture_of({"model_type": "t5", **T5})
    assert t5.encoder["activation"] == "relu" and not t5.encoder["gated"]
    assert t5.scales_logits and t5.decoder["num_layers"] == 2
    mt5 = architecture_of({"model_type": "mt5", **T5})
    assert mt5.encoder["activation"] == "gelu_new" and mt5.encoder["gated"]
    assert not mt5.scales_logits


@pytest.mark.parametrize("family", ["t5", "umt5"])
def test_logits_are_scaled_where_transformers_scales_them(family):
    from transformers import AutoConfig

    # By this word of its config each model of transformers asks whether to.
    word = {"t5": "scale_decoder_outputs", "umt5": "tie_word_embeddings"}[family]
    for tie, scale in itertools.product((None, True, False), repeat=2):
        said = {"tie_word_embeddings": tie, "scale_decoder_outputs": scale}
        said = {name: value for name, value in said.items() if value is not None}
        theirs = AutoConfig.for_model(family, **T5, **said)
        ours = architecture_of({"model_type": family, **T5, **said})
        assert ours.scales_logits == getattr(theirs, word), said


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_that_is_written_is_read_as_the_same(family):
    sizes = T5 if "t5" in family else BART
    config = {"model_type": family, **sizes, "dropout": 0.3, "dropout_rate": 0.3}
    architecture = architecture_of(config)
    written = config_of(family, architecture, start_id=3, end_id=4)
    assert written["decoder_start_token_id"] == 3 and written["eos_token_id"] == 4
    again = architecture_of(written)
    for side in ("encoder", "decoder"):
        first, second = (dict(getattr(x, side)) for x in (architecture, again))
        layers = first.pop("positions"), second.pop("positions")
        assert first == second
        if "t5" not in family:
            configs = [{**x.get_config(), "name": ""} for x in layers]
            assert configs[0] == configs[1]
    assert again.scales_logits == architecture.scales_logits
    assert again.shares_table


def test_a_family_or_an_option_that_is_unknown_tells_the_known_ones():
    with pytest.raises(ValueError, match="marian, m2m_100.*received.*'gpt2'"):
        architecture_of({"model_type": "gpt2"})
    with pytest.raises(ValueError, match="relu, gelu.*received 'square'"):
        architecture_of({"model_type": "t5", **T5, "feed_forward_proj": "square"})
    with pytest.raises(ValueError, match="d_kv=0, d_ff=None"):
        architecture_of({"model_type": "t5", **T5, "d_kv": 0, "d_ff": None})


def test_quantized_weights_are_refused():
    config = {"model_type": "t5", **T5, "quantization_config": None}
    assert architecture_of(config).family == "t5"
    config["quantization_config"] = {"quant_method": "gptq"}
    with pytest.raises(ValueError, match="not quantized.*by 'gptq'"):
        architecture_of(config)
