"""What the two stacks of a Transformer have in common: how their parts are built."""

import keras

from keras_encdec.layers import (
    RelativePositionBias,
    TokenEmbedding,
    checks,
    make_normalization,
)
from keras_encdec.model.functional import FunctionalModel


class Stack(FunctionalModel):
    """An embedding, blocks one upon the other, and a normalization at the end.

    `Encoder` and `Decoder` say in what order they are called. The weights of a stack
    have the names that they have within `EncoderDecoder`.

    Attributes:
        embedding: The `TokenEmbedding`.
        relative_bias: The `RelativePositionBias` that the blocks share, or None.
        blocks: The list of blocks.
        norm: The normalization after the last block, or None.
        max_length: The largest length, for learned positions; else None.
        padding_id: The id of padding.
    """

    def _prepared(self, config):
        """Checks the arguments of a constructor; returns its config and dtype policy.

        Args:
            config: What `locals()` is where the constructor begins.
        """
        config = {**config, **config["block_options"]}
        del config["self"], config["block_options"]
        checks.require_positive(
            vocabulary_size=config["vocabulary_size"],
            hidden_dim=config["hidden_dim"],
            num_layers=config["num_layers"],
        )
        checks.require_id(config["vocabulary_size"], padding_id=config["padding_id"])
        positions = config["positions"]
        if isinstance(positions, keras.layers.Layer):
            config["positions"] = keras.saving.serialize_keras_object(positions)
        elif not isinstance(positions, dict):
            names = "sinusoidal", "learned", "rotary", "relative", None
            checks.require_one_of(names, positions=positions)
        policy = keras.dtype_policies.get(
            config["dtype"] or keras.config.dtype_policy()
        )
        config["dtype"] = keras.dtype_policies.serialize(policy)
        if "activation" in config:
            config["activation"] = keras.activations.get(config["activation"])
        return config, policy

    def _parts(
        self, config, policy, name, ids, block, bidirectional, **embedding_options
    ):
        """Returns the parts of a stack by their names.

        Args:
            config: The constructor's arguments.
            policy: The dtype policy.
            name: The prefix of the names of layers, `"encoder"` or `"decoder"`.
            ids: That of the embedding's, `"source"` or `"target"`.
            block: The class of the blocks.
            bidirectional: Whether positions also attend to later ones.
            **embedding_options: Arguments of `TokenEmbedding` beside those of both.
        """
        positions = config["positions"]
        of_attention = positions in ("rotary", "relative")
        of_stack = {
            *("vocabulary_size", "hidden_dim", "num_layers", "positions", "max_length"),
            *("scale_embeddings", "padding_id", "name", "dtype"),
            *("memory_dim", "tie_embeddings", "output_bias"),
        }
        block_options = {k: v for k, v in config.items() if k not in of_stack}
        return {
            "embedding": TokenEmbedding(
                config["vocabulary_size"],
                config["hidden_dim"],
                positions=None if of_attention else positions,
                max_length=config["max_length"],
                scale=config["scale_embeddings"],
                dropout=config["dropout"],
                padding_id=config["padding_id"],
                dtype=policy,
                name=f"{ids}_embedding",
                **embedding_options,
            ),
            "relative_bias": RelativePositionBias(
                config["num_heads"],
                bidirectional=bidirectional,
                dtype=policy,
                name=f"{name}_bias",
            )
            if positions == "relative"
            else None,
            "blocks": [
                block(
                    **block_options,
                    rotary=positions == "rotary",
                    dtype=policy,
                    name=f"{name}_block_{i}",
                )
                for i in range(config["num_layers"])
            ],
            "norm": make_normalization(
                config["normalization"],
                epsilon=config["epsilon"],
                dtype=policy,
                name=f"{name}_norm",
            )
            if config["normalize_first"]
            else None,
        }

    @property
    def vocabulary_size(self):
        """The number of ids."""
        return self.embedding.vocabulary_size
