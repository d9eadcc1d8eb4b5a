"""A real trained model, in CTranslate2 and with the same weights in ours.

It writes Arabic names in Latin letters, letter by letter.
"""

import numpy as np

from keras_encdec import EncoderDecoder
from keras_encdec.layers import SinusoidalPosition


def load(folder):
    """Returns our model, the source and the target vocabulary."""
    folder = folder / "aren-transliteration"
    source, target = (
        (folder / f"{side}_vocabulary.txt").read_text("utf-8").split("\n")[:size]
        for side, size in (("source", 51), ("target", 43))
    )
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        return from_ctranslate2(dict(weights)), source, target


def from_ctranslate2(weights):
    """Returns an `EncoderDecoder` with the weights of a CTranslate2 model."""
    model = EncoderDecoder(
        51,
        32,
        128,
        num_heads=8,
        num_layers=6,
        target_vocabulary_size=43,
        positions=SinusoidalPosition(interleaved=False, endpoint=True, first=1),
        tie_embeddings=False,
        output_bias=True,
        dropout=0.0,
    )

    def norm(layer, name):
        layer.set_weights([weights[f"{name}/gamma"], weights[f"{name}/beta"]])

    def dense(name):
        return weights[f"{name}/weight"].T, weights[f"{name}/bias"]

    def attention(layer, name, fused):
        projections = [dense(f"{name}/linear_{i}") for i in range(fused)]
        kernel = np.concatenate([kernel for kernel, _ in projections], axis=1)
        bias = np.concatenate([bias for _, bias in projections])
        denses = layer.query_dense, layer.key_dense, layer.value_dense
        parts = np.split(kernel, 3, axis=1), np.split(bias, 3)
        for part, *values in zip(denses, *parts, strict=True):
            part.set_weights(values)
        layer.output_dense.set_weights(dense(f"{name}/linear_{fused}"))

    def stack(blocks, name):
        for i, block in enumerate(blocks):
            here = f"{name}/layer_{i}"
            norm(block.self_attention_norm, f"{here}/self_attention/layer_norm")
            attention(block.self_attention, f"{here}/self_attention", 1)
            if name == "decoder":
                norm(block.cross_attention_norm, f"{here}/attention/layer_norm")
                attention(block.cross_attention, f"{here}/attention", 2)
            norm(block.feed_forward_norm, f"{here}/ffn/layer_norm")
            for j, layer in enumerate(
                (
                    block.feed_forward.intermediate_dense,
                    block.feed_forward.output_dense,
                )
            ):
                layer.set_weights(dense(f"{here}/ffn/linear_{j}"))

    stack(model.encoder_blocks, "encoder")
    stack(model.decoder_blocks, "decoder")
    norm(model.encoder.norm, "encoder/layer_norm")
    norm(model.decoder.norm, "decoder/layer_norm")
    model.source_embedding.table.set_weights([weights["encoder/embeddings/weight"]])
    model.target_embedding.table.set_weights([weights["decoder/embeddings/weight"]])
    model.decoder.logits_dense.set_weights(dense("decoder/projection"))
    return model
