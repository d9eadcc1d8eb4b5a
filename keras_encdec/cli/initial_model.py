"""What the model of `train --initial` has already, and what it may have otherwise."""

from typing import TYPE_CHECKING, Any

from keras_encdec.annotations import KerasModel
from keras_encdec.cli.checks import refuse_with_initial
from keras_encdec.cli.model_arguments import MODEL_OPTIONS

if TYPE_CHECKING:
    from keras_encdec.text_to_text import TextToText


def as_asked_for(
    text_to_text: "TextToText", recipe: dict[str, Any], *, adapted: bool = False
) -> "TextToText":
    """Returns the model of `--initial` with the options that it was asked for.

    Args:
        text_to_text: The `TextToText` of `--initial`.
        recipe: What was asked for, by the names of the arguments.
        adapted: Whether adapters alone will learn, which they do beside int8 too.

    Returns:
        It, or another one with other dropout, dtype or fewer blocks, or with floats for
        weights that are int8 and would learn.

    Raises:
        ValueError: If anything is asked for that would take other weights.
    """
    from keras_encdec.model import Encoder
    from keras_encdec.model.other_options import FREE_OPTIONS, LAYERS
    from keras_encdec.text import SentencePieceTokenizer

    its = _options_of(text_to_text.model)
    other = [
        name
        for name in MODEL_OPTIONS
        if name in recipe and name in its and its[name] != [recipe[name]]
    ]
    free = {name: recipe[name] for name in other if name in FREE_OPTIONS}
    for name in LAYERS.values():
        if name in other and recipe[name] < its[name][0]:
            free[name] = recipe[name]
    wrong = [
        f"{name}={recipe[name]!r} where it has {' and '.join(map(repr, its[name]))}"
        for name in other
        if name not in free
    ]
    if "vocabulary" in recipe:
        proto = SentencePieceTokenizer(recipe["vocabulary"]).proto
        sides = text_to_text.source_tokenizer, text_to_text.target_tokenizer
        if any(getattr(each, "proto", None) != proto for each in sides):
            wrong.append(f"vocabulary={recipe['vocabulary']!r} where it has another")
    refuse_with_initial(wrong)
    # Of an encoder of another kind it is told what can learn.
    known = isinstance(getattr(text_to_text.model, "encoder", None), Encoder)
    weights = text_to_text.model.weights if known and not adapted else []
    quantized = any(x.dtype == "int8" for x in weights)
    return text_to_text.with_options(**free) if free or quantized else text_to_text


def _options_of(model: KerasModel) -> dict[str, list[Any]]:
    """Returns the options of a model, lists: its two sides may have two of one name."""
    from keras_encdec.model import Encoder, EncoderDecoder

    if not isinstance(model, EncoderDecoder):
        return {}
    sides = [model.decoder.options()]
    if isinstance(model.encoder, Encoder):
        sides.insert(0, model.encoder.options())
    found: dict[str, list[Any]] = {}
    for name in MODEL_OPTIONS:
        values = [_as_typed(side[name]) for side in sides if name in side]
        found[name] = list(dict.fromkeys(values))
    of_sides = [side["num_layers"] for side in sides]
    found |= {"num_layers": of_sides[:1], "num_decoder_layers": of_sides[-1:]}
    return {**found, "dtype": [model.dtype_policy.name]}


def _as_typed(value: Any) -> Any:
    """Returns an option of a model as it would be typed, positions by their kind."""
    if not isinstance(value, dict):
        return value
    kind = value["class_name"]
    if not kind.endswith("Position"):
        return kind
    return kind.removesuffix("Position").lower()
