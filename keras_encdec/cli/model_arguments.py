"""The arguments that say what a new model is like."""

import argparse
from typing import Any

from keras_encdec.cli.arguments import positive, share
from keras_encdec.cli.configuration import MODEL_SIZE
from keras_encdec.named_sizes import SIZES

MODEL_OPTIONS = (
    "hidden_dim",
    "intermediate_dim",
    "num_heads",
    "num_layers",
    "num_decoder_layers",
    "positions",
    "activation",
    "normalize_first",
    "dropout",
    "attention_dropout",
    "remat",
    "dtype",
)


class _StandsForOthers(argparse.Action):
    """An option that the parser has put others in the place of."""

    def __call__(self, *args: Any) -> None:
        """Keeps nothing."""


def add_sizes(group: argparse._ActionsContainer) -> None:
    """Adds the sizes and options of a model, `MODEL_OPTIONS`.

    Args:
        group: A parser, or a group of it.
    """
    group.add_argument(
        MODEL_SIZE,
        action=_StandsForOthers,
        default=argparse.SUPPRESS,
        choices=SIZES,
        help="sizes by name, in the place of the defaults of the next five; those if "
        "not given",
    )
    for option, default, words in (
        ("--hidden-dim", 256, "size of embeddings and hidden states"),
        ("--intermediate-dim", 1024, "size in the middle of feed-forward layers"),
        ("--num-heads", 4, "attention heads"),
        ("--num-layers", 3, "encoder blocks, and decoder blocks"),
    ):
        group.add_argument(option, type=positive, default=default, help=words)
    group.add_argument(
        "--num-decoder-layers",
        type=positive,
        help="decoder blocks; --num-layers if not given",
    )
    group.add_argument(
        "--positions",
        choices=("sinusoidal", "rotary", "relative"),
        default="sinusoidal",
        help="how a model knows them",
    )
    group.add_argument("--activation", default="relu", help="or gelu, silu ...")
    group.add_argument(
        "--post-norm",
        dest="normalize_first",
        action="store_false",
        help="normalize after each residual connection, not before each sublayer",
    )
    group.add_argument(
        "--dropout", type=share, default=0.1, help="of embeddings and sublayers"
    )
    group.add_argument(
        "--attention-dropout", type=share, default=0.0, help="of attention weights"
    )
    group.add_argument(
        "--remat",
        action="store_true",
        help="compute each block again for the gradient: less memory, more time",
    )
    group.add_argument(
        "--dtype",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        default="float32",
        help="of what is computed; weights are float32",
    )
