"""KerasHub's encoder-decoder: its BART, with sines for positions and one norm less.

All that runs is KerasHub's: the layers, the cached decoding of `BartSeq2SeqLM` and the
samplers. The backbone only leaves out the norm of the embeddings, which no other
contender has, and learned positions, which would be a table to train.
"""

import keras
import keras_hub
import numpy as np
from keras_hub.layers import (
    ReversibleEmbedding,
    SinePositionEncoding,
    TransformerDecoder,
    TransformerEncoder,
)
from sizes import PADDING, START

from contenders.ours import KerasTrainer, policy


@keras.saving.register_keras_serializable(package="benchmarks")
class Backbone(keras_hub.models.Backbone):
    """`BartBackbone` with the same names of its parts, which `BartSeq2SeqLM` uses."""

    def __init__(
        self,
        vocabulary_size,
        num_layers,
        num_heads,
        hidden_dim,
        intermediate_dim,
        epsilon,
        dropout,
        dtype=None,
        **kwargs,
    ):
        self.token_embedding = ReversibleEmbedding(
            vocabulary_size, hidden_dim, name="token_embedding"
        )
        for stack in ("encoder", "decoder"):
            parts = {
                "position_embedding": SinePositionEncoding(name=f"{stack}_positions"),
                "embeddings_add": keras.layers.Add(name=f"{stack}_add"),
                "embeddings_layer_norm": keras.layers.Identity(name=f"{stack}_none"),
                "embeddings_dropout": keras.layers.Dropout(
                    dropout, name=f"{stack}_dropout"
                ),
            }
            for name, part in parts.items():
                setattr(self, f"{stack}_{name}", part)
        options = {
            "num_heads": num_heads,
            "intermediate_dim": intermediate_dim,
            "layer_norm_epsilon": epsilon,
            "activation": "relu",
            "dropout": dropout,
        }
        self.encoder_transformer_layers = [
            TransformerEncoder(**options, name=f"encoder_{i}")
            for i in range(num_layers)
        ]
        self.decoder_transformer_layers = [
            TransformerDecoder(**options, name=f"decoder_{i}")
            for i in range(num_layers)
        ]

        inputs = {
            name: keras.Input((None,), dtype="int32", name=name)
            for name in (
                "encoder_token_ids",
                "encoder_padding_mask",
                "decoder_token_ids",
                "decoder_padding_mask",
            )
        }

        def embedded(stack):
            tokens = self.token_embedding(inputs[f"{stack}_token_ids"])
            positions = getattr(self, f"{stack}_position_embedding")(tokens)
            x = getattr(self, f"{stack}_embeddings_add")((tokens, positions))
            x = getattr(self, f"{stack}_embeddings_layer_norm")(x)
            return getattr(self, f"{stack}_embeddings_dropout")(x)

        x = embedded("encoder")
        for layer in self.encoder_transformer_layers:
            x = layer(x, padding_mask=inputs["encoder_padding_mask"])
        encoded, x = x, embedded("decoder")
        for layer in self.decoder_transformer_layers:
            x = layer(
                decoder_sequence=x,
                encoder_sequence=encoded,
                decoder_padding_mask=inputs["decoder_padding_mask"],
                encoder_padding_mask=inputs["encoder_padding_mask"],
            )
        super().__init__(
            inputs=inputs,
            outputs={"encoder_sequence_output": encoded, "decoder_sequence_output": x},
            dtype=dtype,
            **kwargs,
        )
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.epsilon = epsilon
        self.dropout = dropout

    def get_config(self):
        names = (
            "vocabulary_size",
            "num_layers",
            "num_heads",
            "hidden_dim",
            "intermediate_dim",
            "epsilon",
            "dropout",
        )
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
        }


def make_model(size, weights, dropout=0.0, mixed=False):
    keras.config.set_dtype_policy(policy(size, mixed))
    backbone = Backbone(
        size.vocabulary_size,
        size.num_layers,
        size.num_heads,
        size.hidden_dim,
        size.intermediate_dim,
        size.epsilon,
        dropout,
    )
    copy_weights(backbone, weights)
    return keras_hub.models.BartSeq2SeqLM(backbone, preprocessor=None)


def copy_weights(backbone, weights):
    def norm(layer, name):
        layer.set_weights([weights[f"{name}.gamma"], weights[f"{name}.beta"]])

    def dense(layer, name):
        # Attention has its heads on axes of their own.
        layer.set_weights(
            [
                weights[f"{name}.{part}"].reshape(variable.shape)
                for part, variable in zip(
                    ("kernel", "bias"), layer.weights, strict=True
                )
            ]
        )

    def attention(layer, name):
        dense(layer.query_dense, f"{name}.query")
        dense(layer.key_dense, f"{name}.key")
        dense(layer.value_dense, f"{name}.value")
        dense(layer.output_dense, f"{name}.output")

    for stack in ("encoder", "decoder"):
        for i, layer in enumerate(getattr(backbone, f"{stack}_transformer_layers")):
            name = f"{stack}.{i}"
            attention(layer._self_attention_layer, f"{name}.self")
            norm(layer._self_attention_layer_norm, f"{name}.self.norm")
            if stack == "decoder":
                attention(layer._cross_attention_layer, f"{name}.cross")
                norm(layer._cross_attention_layer_norm, f"{name}.cross.norm")
            dense(layer._feedforward_intermediate_dense, f"{name}.feed.inner")
            dense(layer._feedforward_output_dense, f"{name}.feed.outer")
            norm(layer._feedforward_layer_norm, f"{name}.feed.norm")
    backbone.token_embedding.set_weights([weights["embedding"]])


def make_decoder(variant, size, weights, source, beams, length):
    return _decoder(make_model(size, weights), source, beams, length)


def _decoder(model, source, beams, length):
    sampler = (
        keras_hub.samplers.GreedySampler()
        if beams == 1
        else keras_hub.samplers.BeamSampler(num_beams=beams)
    )
    model.compile(sampler=sampler)
    prompt = np.full((len(source), length + 1), PADDING, "int32")
    prompt[:, 0] = START
    inputs = {
        "encoder_token_ids": source,
        "encoder_padding_mask": (source != PADDING).astype("int32"),
        "decoder_token_ids": prompt,
        "decoder_padding_mask": (prompt != PADDING).astype("int32"),
    }
    inputs = {k: keras.ops.convert_to_tensor(v) for k, v in inputs.items()}

    def decode():
        found = model.generate(inputs, stop_token_ids=None)
        return keras.ops.convert_to_numpy(found["decoder_token_ids"])[:, 1:]

    return decode


def make_trainer(variant, size, weights, dropout):
    def inputs(source, target):
        return {
            "encoder_token_ids": source,
            "encoder_padding_mask": (source != PADDING).astype("int32"),
            "decoder_token_ids": target,
            "decoder_padding_mask": (target != PADDING).astype("int32"),
        }

    return KerasTrainer(make_model(size, weights, dropout, mixed=True), inputs)


# What a user waits for at the first answer.


def save_model(size, weights, folder):
    make_model(size, weights).save(folder / "model.keras")


def load_decoder(size, source, beams, length, folder):
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    return _decoder(model, source, beams, length)
