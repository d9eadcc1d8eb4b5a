"""What a trained model is asked for; what a command says, `test_learn.py` shows."""

import contextlib

import keras
import pytest

from keras_encdec.cli.initial_model import as_asked_for
from keras_encdec.model import Decoder, EncoderDecoder
from keras_encdec.recipe import build
from keras_encdec.run import train
from keras_encdec.text import ByteTokenizer
from keras_encdec.text_to_text import TextToText

pytestmark = pytest.mark.once

SMALL = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 2, "num_heads": 2}


def built(**options):
    tokenizer = ByteTokenizer()
    return build(tokenizer, tokenizer, **SMALL, **options)


def test_what_it_has_is_not_asked_of_it_otherwise():
    text_to_text = built(positions="rotary")
    has = {**SMALL, "num_decoder_layers": 2, "positions": "rotary", "dropout": 0.1}
    assert as_asked_for(text_to_text, has) is text_to_text
    for name, value in has.items():
        other = "relative" if isinstance(value, str) else 3
        if name != "dropout":
            with pytest.raises(
                ValueError, match=f"{name}={other!r} where it has {value!r}"
            ):
                as_asked_for(text_to_text, {name: other})


def test_it_may_have_fewer_blocks_other_dropout_and_another_dtype():
    asked = {"num_decoder_layers": 1, "dropout": 0.3, "dtype": "mixed_bfloat16"}
    model = as_asked_for(built(), asked).model
    assert (len(model.encoder.blocks), len(model.decoder.blocks)) == (2, 1)
    assert model.options()["dropout"] == 0.3
    assert model.compute_dtype == "bfloat16"


def test_int8_weights_become_floats():
    text_to_text = built()
    text_to_text.card["name"] = "small"
    text_to_text.model.quantize("int8")
    other = as_asked_for(text_to_text, {})
    assert not any(x.dtype == "int8" for x in other.model.weights)
    assert other.card == {"name": "small"}


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_adapters_learn_beside_weights_as_they_are(mode):
    text_to_text = built()
    text_to_text.model.quantize(mode)
    assert as_asked_for(text_to_text, {}, adapted=True) is text_to_text


def test_int8_weights_of_another_encoder_learn_by_adapters():
    tokenizer = ByteTokenizer()
    decoder = Decoder(260, 16, 32, num_heads=2, num_layers=1)
    encoder = keras.Sequential(
        [keras.Input((None,)), keras.layers.Embedding(260, 16, mask_zero=True)]
    )
    model = EncoderDecoder(encoder, decoder)
    model.quantize("int8")
    own = TextToText(tokenizer, tokenizer, model)
    assert as_asked_for(own, {}) is own
    for lora in (None, 2):
        told = (
            pytest.raises(ValueError, match="adapters of them, by lora=8; the model")
            if lora is None
            else contextlib.nullcontext()
        )
        with told:
            texts, sizes = ["one", "two"], {"batch_tokens": 16, "epochs": 1}
            train(own, texts, texts, lora=lora, **sizes)
    assert any(x.dtype == "int8" for x in model.weights)
    assert not any("lora" in x.path for x in model.weights)
    with pytest.raises(ValueError, match="its encoder is an Encoder"):
        as_asked_for(own, {"dropout": 0.3})
