"""A model that another code trained, with other special ids: its weights, its answers.

Layers after the normalization, learned positions, and ids that begin with unknown 0,
padding 1, start 2, end 3.
"""

import json
import re
from pathlib import Path

import ctranslate2
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_encdec import (
    EncoderDecoder,
    Generator,
    TextToText,
    WordTokenizer,
    export_saved_model,
)
from keras_encdec.export.ctranslate2 import export_ctranslate2

SPECIAL = {"unknown_id": 0, "padding_id": 1, "start_id": 2, "end_id": 3}
LENGTH = 29


@pytest.fixture(scope="module")
def expected(shared_data):
    with np.load(shared_data / "annalog" / "expected.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def model(shared_data):
    with np.load(shared_data / "annalog" / "weights.npz") as arrays:
        weights = dict(arrays)
    model = EncoderDecoder(
        59,
        256,
        512,
        num_heads=8,
        num_layers=3,
        target_vocabulary_size=59,
        positions="learned",
        max_length=102,
        normalize_first=False,
        tie_embeddings=False,
        output_bias=True,
        dropout=0,
        padding_id=1,
    )

    def dense(layer, name):
        layer.set_weights(
            [weights.pop(f"{name}.weight").T, weights.pop(f"{name}.bias")]
        )

    def norm(layer, name):
        layer.set_weights([weights.pop(f"{name}.weight"), weights.pop(f"{name}.bias")])

    def attention(layer, name):
        dense(layer.query_dense, f"{name}.fc_q")
        dense(layer.key_dense, f"{name}.fc_k")
        dense(layer.value_dense, f"{name}.fc_v")
        dense(layer.output_dense, f"{name}.fc_o")

    for side, embedding, blocks in (
        ("encoder", model.source_embedding, model.encoder_blocks),
        ("decoder", model.target_embedding, model.decoder_blocks),
    ):
        embedding.table.set_weights([weights.pop(f"{side}.tok_embedding.weight")])
        positions = weights.pop(f"{side}.pos_embedding.weight")
        embedding.position_layer.set_weights([positions])
        for i, block in enumerate(blocks):
            name = f"{side}.layers.{i}"
            attention(block.self_attention, f"{name}.self_attention")
            norm(block.self_attention_norm, f"{name}.self_attn_layer_norm")
            if side == "decoder":
                attention(block.cross_attention, f"{name}.encoder_attention")
                norm(block.cross_attention_norm, f"{name}.enc_attn_layer_norm")
            feed_forward = f"{name}.positionwise_feedforward"
            dense(block.feed_forward.intermediate_dense, f"{feed_forward}.fc_1")
            dense(block.feed_forward.output_dense, f"{feed_forward}.fc_2")
            norm(block.feed_forward_norm, f"{name}.ff_layer_norm")
    dense(model.decoder.logits_dense, "decoder.fc_out")
    assert not weights
    return model


@pytest.fixture(scope="module")
def text_to_text(shared_data, model):
    path = shared_data / "annalog" / "vocabulary.json"
    tokens = json.loads(path.read_text("utf-8"))["tokens"]
    source = WordTokenizer(tokens[4:], prefix_ids=(2,), **SPECIAL)
    target = WordTokenizer(tokens[4:], **SPECIAL)
    return TextToText(source, target, model, max_length=LENGTH)


@pytest.fixture(scope="module")
def texts(text_to_text, expected):
    """The sources and the answers as texts."""
    return tuple(
        [text.decode() for text in tokenizer.decode(ids).numpy()]
        for tokenizer, ids in (
            (text_to_text.source_tokenizer, expected["source"]),
            (text_to_text.target_tokenizer, expected["greedy"]),
        )
    )


@pytest.mark.slow
def test_logits_are_those_of_its_own_code(model, expected):
    target = expected["greedy"][:, :-1]
    logits = keras.ops.convert_to_numpy(model((expected["source"], target)))
    # What stands behind the end says nothing.
    real = np.cumsum(target == 3, axis=1) == 0
    np.testing.assert_allclose(logits[real], expected["logits"][real], atol=1e-3)


@pytest.mark.slow
def test_greedy_outputs_are_those_of_its_own_code(model, expected):
    generator = Generator(model, start_id=2, end_id=3)
    ids = generator(expected["source"], LENGTH)
    np.testing.assert_array_equal(ids, expected["greedy"][:, 1:])


@pytest.mark.slow
def test_texts_are_those_of_its_own_code(text_to_text, texts, expected):
    sources, answers = texts
    ids = text_to_text.source_tokenizer.encode(sources).to_tensor(1)
    np.testing.assert_array_equal(ids, expected["source"])
    assert text_to_text(sources) == answers


@pytest.mark.slow
@pytest.mark.once
def test_saved_model_answers_the_same(text_to_text, texts, tmp_path):
    sources, answers = texts
    path = export_saved_model(
        text_to_text,
        tmp_path / "1",
        signatures=["serving_default", "score"],
        proof_texts=sources[:3],
    )
    serve = tf.saved_model.load(path).signatures["serving_default"]
    received = serve(text=tf.constant(sources))["text"].numpy()
    assert [text.decode() for text in received] == answers


@pytest.mark.once
def test_ctranslate2_answers_the_same(text_to_text, texts, tmp_path):
    sources, answers = texts
    path = export_ctranslate2(text_to_text, tmp_path / "model")
    translator = ctranslate2.Translator(str(path))
    results = translator.translate_batch(
        [source.split() for source in sources],
        beam_size=1,
        max_decoding_length=LENGTH,
    )
    assert [" ".join(result.hypotheses[0]) for result in results] == answers


@pytest.mark.slow
def test_a_map_in_the_docs_reads_it(shared_data, expected):
    page = Path(__file__).resolve().parents[1] / "docs" / "pretrained.md"
    (block,) = re.findall(
        r"^```python\n(def from_tutorial.*?)^```$", page.read_text(), re.M | re.S
    )
    names = {}
    exec(block, names)
    with np.load(shared_data / "annalog" / "weights.npz") as arrays:
        model = names["from_tutorial"](dict(arrays))
    generator = Generator(model, start_id=2, end_id=3, padding_id=1)
    ids = generator(expected["source"], LENGTH)
    greedy = expected["greedy"][:, 1:]
    assert len(greedy) == 16
    np.testing.assert_array_equal(ids[:, : greedy.shape[1]], greedy)
