"""Losses and metrics that cannot be meant for a model of token ids."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras
from keras import tree

from keras_encdec.annotations import KerasModel


def check_measures(model: KerasModel, arguments: Mapping[str, Any]) -> None:
    """Refuses losses and metrics of probabilities, and of a padding that is another.

    Args:
        model: An `EncoderDecoder`, or any model with its `target_vocabulary_size` and
            `padding_id`.
        arguments: What `compile` is given, by its names.

    Raises:
        ValueError: If a measure is such a one.
    """
    for name, get in (
        ("loss", keras.losses.get),
        ("metrics", keras.metrics.get),
        ("weighted_metrics", keras.metrics.get),
    ):
        for each in tree.flatten(arguments.get(name)):
            # These names Keras resolves by the shapes, later.
            if each in ("crossentropy", "ce") and name == "loss":
                measure = keras.losses.sparse_categorical_crossentropy
            else:
                measure = None if each in ("accuracy", "acc") else get(each)
            if measure is not None:
                _check_measure(model, name, each, measure)


def _check_measure(model: KerasModel, name: str, given: Any, measure: Any) -> None:
    ignored = getattr(measure, "ignore_class", None)
    size = model.target_vocabulary_size
    if ignored is not None and ignored != model.padding_id and 0 <= ignored < size:
        raise ValueError(
            "The label to leave out must be the model's padding id, or no id of "
            f"its vocabulary; received {name} with ignore_class={ignored} for a "
            f"model with padding_id={model.padding_id}. Give "
            f"ignore_class={model.padding_id}."
        )
    if _takes_probabilities(measure):
        raise ValueError(
            f"The model gives logits, not probabilities; received {name}={given!r} "
            "with from_logits=False. Give TokenCrossEntropy(), or "
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
        )


def _takes_probabilities(measure: Any) -> bool:
    """Whether a loss or a metric takes what it is given for probabilities."""
    if inspect.isfunction(measure):
        parameters = inspect.signature(measure).parameters
        found = (
            parameters["from_logits"].default if "from_logits" in parameters else None
        )
    elif isinstance(measure, keras.losses.Loss | keras.metrics.Metric):
        found = measure.get_config().get("from_logits")
    else:
        found = None
    return found is False
