"""The families of transformers whose models are ours, and what tells them apart."""

from typing import Any, NamedTuple


class Architecture(NamedTuple):
    """A model in our words.

    Attributes:
        family: Its `model_type` in transformers, such as `"marian"`.
        encoder: The arguments of `Encoder`.
        decoder: The arguments of `Decoder`, but for the table.
        shares_table: Whether source and target have one table.
        scales_logits: Whether theirs divides the logits by the root of the width.
    """

    family: str
    encoder: dict[str, Any]
    decoder: dict[str, Any]
    shares_table: bool = True
    scales_logits: bool = False

    @property
    def is_t5(self) -> bool:
        """Whether its tensors are named as T5's, and not as BART's."""
        return self.family in T5_LIKE


class BartLike(NamedTuple):
    """What a config does not say of a family."""

    name: str
    positions: str
    normalize_first: bool
    embedding_norm: bool = False
    logits_bias: bool = True
    scales: bool = False
    activation: str = "gelu"


BART_LIKE = {
    "marian": BartLike("MarianMTModel", "sinusoidal", False),
    "m2m_100": BartLike(
        "M2M100ForConditionalGeneration",
        "sinusoidal behind padding",
        True,
        logits_bias=False,
        scales=True,
        activation="relu",
    ),
    "bart": BartLike(
        "BartForConditionalGeneration", "learned behind 2", False, embedding_norm=True
    ),
    "mbart": BartLike(
        "MBartForConditionalGeneration", "learned behind 2", True, embedding_norm=True
    ),
    "pegasus": BartLike("PegasusForConditionalGeneration", "sinusoidal", True),
    "blenderbot": BartLike("BlenderbotForConditionalGeneration", "learned", True),
}


class T5Like(NamedTuple):
    """What a config may leave out of a family, and what it does not say."""

    name: str
    feed_forward: str = "gated-gelu"
    bias_per_block: bool = False
    scales_logits: bool = False


T5_LIKE = {
    "t5": T5Like("T5ForConditionalGeneration", "relu", scales_logits=True),
    "mt5": T5Like("MT5ForConditionalGeneration"),
    "umt5": T5Like(
        "UMT5ForConditionalGeneration", bias_per_block=True, scales_logits=True
    ),
}

FAMILIES = (*BART_LIKE, *T5_LIKE)

# Their names of activations, and ours.
ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_fast": "gelu_new",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "mish": "mish",
    "relu6": "relu6",
    "linear": "linear",
}
