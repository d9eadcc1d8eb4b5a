"""What the two stacks of a Transformer have in common: how their parts are built."""

import inspect

import keras

from keras_encdec.backend import policy_config
from keras_encdec.layers import (
    EncoderBlock,
    RelativePositionBias,
    TokenEmbedding,
    checks,
    make_normalization,
)
from keras_encdec.layers.activations import get_activation
from keras_encdec.model.functional import FunctionalModel

# The options of blocks with their defaults, as the blocks say them; a stack says
# whether its attention is rotary by its positions.
_OF_BLOCKS = {
    name: parameter.default
    for name, parameter in inspect.signature(EncoderBlock.__init__).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name != "rotary"
}
_OF_BIAS = {"num_buckets": 32, "max_distance": 128, "bias_per_block": False}

# The options of a stack, and of a model of two, with their defaults.
OPTIONS = {
    "positions": "sinusoidal",
    "max_length": None,
    **_OF_BIAS,
    "scale_embeddings": True,
    "embedding_norm": False,
    **_OF_BLOCKS,
    "dropout": 0.1,
    "padding_id": 0,
    "freeze_padding": False,
}


def complete_options(kind, given):
    """Returns all the options of a stack, those that are not given by their defaults.

    Args:
        kind: What has them, for the error.
        given: A dict of some of them.

    Raises:
        TypeError: If there is no such option.
    """
    if unknown := given.keys() - OPTIONS.keys():
        raise TypeError(
            f"{kind} takes the options {', '.join(OPTIONS)}; received "
            f"{', '.join(sorted(unknown))}, which it does not know."
        )
    return {**OPTIONS, **given}


def shows_options(init):
    """Shows the options of a stack in the signature of what takes them as `**options`.

    Args:
        init: The constructor.
    """
    signature = inspect.signature(init)
    *parameters, _ = signature.parameters.values()
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in OPTIONS.items()
    ]

    init.__signature__ = signature.replace(parameters=parameters)
    return init


class Stack(FunctionalModel):
    """An embedding, blocks one upon the other, and a normalization at the end.

    `Encoder` and `Decoder` say in what order they are called. The weights of a stack
    have the names that they have within `EncoderDecoder`.

    Attributes:
        embedding: The `TokenEmbedding`.
        relative_biases: A list of the `RelativePositionBias` that all blocks share, or
            of one for each block; empty with other positions.
        blocks: The list of blocks.
        norm: The normalization after the last block, or None.
    """

    def _prepared(self, config):
        """Checks the arguments of a constructor; returns its config and dtype policy.

        Args:
            config: What `locals()` is where the constructor begins.
        """
        given = config["options"]
        config = {**config, **complete_options(type(self).__name__, given)}
        del config["self"], config["options"]
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
        of_bias = [name for name in _OF_BIAS if config[name] != OPTIONS[name]]
        if of_bias and positions != "relative":
            raise ValueError(
                f"{', '.join(of_bias)} are given with positions='relative' and not "
                f"otherwise; received positions={positions!r}. Leave them out."
            )
        policy = keras.dtype_policies.get(
            config["dtype"] or keras.config.dtype_policy()
        )
        config["dtype"] = policy_config(policy)
        config["activation"] = get_activation(config["activation"])
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
        positions, depth = config["positions"], config["num_layers"]
        of_attention = positions in ("rotary", "relative")
        bias_names = []
        if positions == "relative":
            bias_names = [f"{name}_bias"]
        if config["bias_per_block"]:
            bias_names = [f"{name}_bias_{i}" for i in range(depth)]
        return {
            "embedding": TokenEmbedding(
                config["vocabulary_size"],
                config["hidden_dim"],
                positions=None if of_attention else positions,
                max_length=config["max_length"],
                scale=config["scale_embeddings"],
                normalization=config["normalization"]
                if config["embedding_norm"]
                else None,
                epsilon=config["epsilon"],
                dropout=config["dropout"],
                padding_id=config["padding_id"],
                freeze_padding=config["freeze_padding"],
                dtype=policy,
                name=f"{ids}_embedding",
                **embedding_options,
            ),
            "relative_biases": [
                RelativePositionBias(
                    config["num_heads"],
                    num_buckets=config["num_buckets"],
                    max_distance=config["max_distance"],
                    bidirectional=bidirectional,
                    dtype=policy,
                    name=bias_name,
                )
                for bias_name in bias_names
            ],
            "blocks": [
                block(
                    config["num_heads"],
                    config["intermediate_dim"],
                    **{option: config[option] for option in _OF_BLOCKS},
                    rotary=positions == "rotary",
                    dtype=policy,
                    name=f"{name}_block_{i}",
                )
                for i in range(depth)
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

    def _biases(self, bias_of):
        """Returns the bias of attention for each block, None where there is none.

        Args:
            bias_of: A function from a `RelativePositionBias` to what it gives.
        """
        biases = [bias_of(layer) for layer in self.relative_biases] or [None]
        return biases if len(biases) > 1 else biases * len(self.blocks)

    @property
    def max_length(self):
        """The largest length, of learned positions; else None."""
        return getattr(self.embedding.position_layer, "max_length", None)

    @property
    def padding_id(self):
        """The id of padding."""
        return self.embedding.padding_id

    @property
    def vocabulary_size(self):
        """The number of ids."""
        return self.embedding.vocabulary_size
