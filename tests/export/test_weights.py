"""What is exported computes what the model is now, or is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_encdec import (
    CharacterTokenizer,
    EncoderDecoder,
    TextToText,
    export_saved_model,
)
from keras_encdec.export.ctranslate2 import export_ctranslate2
from keras_encdec.export.onnx import export_onnx

TEXTS = ["abc", "gfed ab", "hh"]


@pytest.fixture
def text_to_text():
    """Weights that are the same under every backend, and let each part matter."""
    tokenizer = CharacterTokenizer(list("abcdefgh"))
    model = EncoderDecoder(12, 16, 32, 2, 1, tie_embeddings=False)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        center = float(variable.path.endswith("gamma"))
        variable.assign(center + 0.6 * rng.normal(size=variable.shape))
    return TextToText(tokenizer, tokenizer, model, max_length=8)


def freeze_and_add_lora(model):
    model.get_layer("encoder_block_0").trainable = False
    rng = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dense):
            layer.enable_lora(2)
            layer.lora_kernel_b.assign(rng.normal(size=layer.lora_kernel_b.shape))


def quantize(model):
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dense):
            layer.quantize("int8")


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() == "jax", reason="shown under PyTorch, by a child process"
)
@pytest.mark.parametrize("change", [freeze_and_add_lora, quantize])
def test_a_saved_model_is_what_the_model_is_now(change, text_to_text, tmp_path):
    model, tokenizer = text_to_text.model, text_to_text.source_tokenizer
    before, _ = text_to_text.generator.score([[4, 5, 2]], [[6, 7, 2]])
    change(model)
    path = export_saved_model(
        text_to_text, tmp_path / "1", signatures=["serving_default", "score"]
    )
    signatures = tf.saved_model.load(path).signatures
    received = signatures["serving_default"](text=tf.constant(TEXTS))["text"]
    again = TextToText(tokenizer, tokenizer, model, max_length=8)
    assert [text.decode() for text in received.numpy()] == again(TEXTS)
    texts = {"text": tf.constant(["ab"]), "reference": tf.constant(["cd"])}
    received = signatures["score"](**texts)["score"].numpy()
    expected, _ = again.generator.score([[4, 5, 2]], [[6, 7, 2]])
    np.testing.assert_allclose(received, expected, atol=1e-4)
    assert not np.allclose(before, expected, atol=1e-4)


@pytest.mark.once
def test_weights_that_are_nan_are_refused(text_to_text, tmp_path):
    bias = text_to_text.model.decoder_blocks[0].feed_forward.output_dense.bias
    values = np.zeros(16, "float32")
    values[7] = np.nan
    bias.assign(values)
    for export in (export_saved_model, export_ctranslate2, export_onnx):
        with pytest.raises(ValueError, match="received nan in '.*output.*bias'"):
            export(text_to_text, tmp_path / "1")
        assert not list(tmp_path.iterdir())
