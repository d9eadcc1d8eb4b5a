"""A model of other options that has the weights of another."""

import math
import re
from typing import Any

import numpy as np

from keras_encdec.annotations import KerasModel
from keras_encdec.model.encoder import Encoder
from keras_encdec.model.encoder_decoder import EncoderDecoder
from keras_encdec.model.weights import (
    canonical_shapes,
    canonical_weights,
    set_canonical_weights,
)

# The options that leave each weight its shape.
FREE_OPTIONS = (
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "remat",
    "dtype",
)
LAYERS = {"encoder": "num_layers", "decoder": "num_decoder_layers"}


def with_options(model: KerasModel, **options: Any) -> EncoderDecoder:
    """Returns a model of some other options with the weights of a trained one.

    It goes on with more dropout, in another dtype or with fewer blocks, as a faster
    model for a distillation: those are kept that are spread evenly from the first to
    the last, of which one is the first. int8 weights become floats, adapters of LoRA
    are merged, and all of it is trainable.

    Args:
        model: An `EncoderDecoder`, its encoder an `Encoder`; it stays as it is.
        **options: Arguments of `EncoderDecoder` under which a weight is what it was:
            `dropout`, `attention_dropout`, `activation_dropout`, `remat`, `dtype`; and
            `num_layers` of the encoder and `num_decoder_layers`, of what it has at
            most. What is None stays as it is.

    Returns:
        The `EncoderDecoder`.

    Raises:
        ValueError: If an option is another one, the model has not so many blocks, its
            encoder is of another kind, its weights are of less than eight bits, or
            positions of your own have weights.
        TypeError: If it is no `EncoderDecoder`.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, with_options

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=4)
        faster = with_options(model, num_decoder_layers=1, dropout=0.2)
        print(len(faster.decoder.blocks))  # 1
        ```

    Reference:
        Shleifer and Rush 2020, Pre-trained Summarization Distillation, for the blocks.
    """
    if not isinstance(model, EncoderDecoder):
        raise TypeError(
            "The model must be an EncoderDecoder; received "
            f"{type(model).__name__}. Give the model of a TextToText, its .model."
        )
    if not isinstance(model.encoder, Encoder):
        raise ValueError(
            "A model has other options if its encoder is an Encoder; received "
            f"encoder={model.encoder!r}. Build one with an encoder of other options, "
            "and set its weights; or train adapters beside those it has, by `lora`."
        )
    known = (*FREE_OPTIONS, *LAYERS.values())
    if unknown := sorted(options.keys() - {*known}):
        raise ValueError(
            f"A model with the weights of another may have other {', '.join(known)}; "
            f"received {', '.join(unknown)}. Leave that out, or train a new model."
        )
    options = {name: value for name, value in options.items() if value is not None}
    weights = canonical_weights(model)
    for side, name in LAYERS.items():
        if name in options:
            weights = _kept(weights, side, name, options[name])
            options[name] = int(options[name])
    other = type(model).from_config(_changed_config(model, options))
    shapes = canonical_shapes(other)
    unnamed = other.count_params() - sum(map(math.prod, shapes.values()))
    if unnamed:
        raise ValueError(
            "A model has the weights of another that have canonical names; received "
            f"{unnamed} numbers that have none, such as those of positions of your "
            "own. Build the model with other options, and set its weights."
        )
    # A bias of each block, where there is one block, is that of all blocks.
    names = {
        name: name
        if name in shapes
        else name.replace(".blocks.0.relative", ".relative")
        for name in weights
    }
    set_canonical_weights(other, {names[k]: weights[k] for k in weights})
    return other


def _kept(
    weights: dict[str, np.ndarray], side: str, option: str, number: int
) -> dict[str, np.ndarray]:
    """Returns the weights without the blocks of a side that are too many."""
    found = {k: re.match(rf"{side}\.blocks\.(\d+)\.", k) for k in weights}
    has = 1 + max(int(match[1]) for match in found.values() if match)
    if not isinstance(number, int | np.integer) or not 1 <= number <= has:
        raise ValueError(
            f"A model keeps some of the blocks that it has, {has}; received "
            f"{option}={number!r}. Give fewer, or train a new model."
        )
    places = np.linspace(0, has - 1, number).round().astype(int).tolist()
    kept = {}
    for name, match in found.items():
        if match is None:
            kept[name] = weights[name]
        elif int(match[1]) in places:
            place = places.index(int(match[1]))
            kept[f"{side}.blocks.{place}.{name[match.end() :]}"] = weights[name]
    return kept


def _changed_config(model: EncoderDecoder, options: dict[str, Any]) -> dict[str, Any]:
    """Returns the config of a model with other options, of parts that it has too."""
    config = model.get_config()
    config.pop("parts", None)
    free = {k: v for k, v in options.items() if k in FREE_OPTIONS}
    if "encoder" not in config:
        has = {LAYERS[side]: len(getattr(model, side).blocks) for side in LAYERS}
        return {**config, **has, **options}
    for side, name in LAYERS.items():
        its = {**config[side]["options"], **free}
        if name in options:
            its["num_layers"] = options[name]
        config[side] = {**config[side], "options": its}
    return config
