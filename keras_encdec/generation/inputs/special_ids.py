"""The ids that a generator gives a meaning: start, ends, padding."""

import numbers
from collections.abc import Iterable
from typing import Any

from keras_encdec.annotations import KerasModel
from keras_encdec.generation.task import as_tuple
from keras_encdec.protocol import facts_of


def padding_of(model: KerasModel, padding_id: int | None = None) -> int:
    """Returns the id of padding in a model's source and target.

    Args:
        model: A model.
        padding_id: The id, or None for that of the model, 0 if it has none.

    Raises:
        ValueError: If it is another one than the model's.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.generation.inputs.special_ids import padding_of

        print(padding_of(EncoderDecoder(20, 16, 32, 2, 1, padding_id=3)))
        ```
    """
    of_model = facts_of(model).padding_id
    if padding_id is None:
        return 0 if of_model is None else of_model
    if of_model is not None and padding_id != of_model:
        raise ValueError(
            "padding_id must be the model's, which masks it; received padding_id="
            f"{padding_id!r} and a model with padding_id={of_model!r}. Leave it out, "
            "or build the model with that padding_id."
        )
    return padding_id


def start_of(padding_id: int, start_id: int | None = None) -> int:
    """Returns the id that a model's target begins with.

    Args:
        padding_id: The id of padding.
        start_id: The id, or None for 1.

    Raises:
        ValueError: If it is not given, and 1 is padding.

    Example:
        ```python
        from keras_encdec.generation.inputs.special_ids import start_of

        print(start_of(padding_id=0), start_of(padding_id=1, start_id=1))
        ```
    """
    if start_id is None and padding_id == 1:
        raise ValueError(
            "start_id must be given where padding_id=1, for it would be padding by "
            "default; received none. Give the tokenizer's, or start_id=1 for a model "
            "trained to begin with padding."
        )
    return 1 if start_id is None else start_id


def require_special_ids(
    model: KerasModel, start_id: int, end_id: int | Iterable[int], padding_id: int
) -> None:
    """Raises unless a model can generate with special ids.

    Args:
        model: A model.
        start_id: The id that the target begins with.
        end_id: The id that ends a row, or a list of several.
        padding_id: The id of padding.

    Raises:
        ValueError: If an id is none of the model's target ids, there is no end id, or
            one is padding.
    """
    end_ids: tuple[Any, ...]
    try:
        end_ids = as_tuple(end_id)
    except TypeError:
        end_ids = (end_id,)
    size = facts_of(model).target_vocabulary_size
    named: list[tuple[str, Any]] = [("start_id", start_id), ("padding_id", padding_id)]
    for name, token in [*named, *(("end_id", token) for token in end_ids)]:
        whole = isinstance(token, numbers.Integral) and not isinstance(token, bool)
        if not whole or token < 0 or size is not None and token >= size:
            highest = "0 or more" if size is None else f"from 0 to {size - 1}"
            raise ValueError(
                f"{name} must be a target id of the model, {highest}; received "
                f"{token!r}. Give the tokenizer's."
            )
    if not end_ids:
        raise ValueError(
            f"end_id must be an id, or a list of at least one; received {end_id!r}. "
            "Without one no row would end before max_length."
        )
    if padding_id in end_ids:
        raise ValueError(
            "end_id must not be padding, which fills up a row after its end; received "
            f"end_id={end_id!r} with padding_id={padding_id}. Give the tokenizer's."
        )


def require_draft(model: KerasModel, draft_model: KerasModel) -> None:
    """Raises unless a draft model has the ids of the model it proposes tokens to.

    Args:
        model: A model.
        draft_model: The draft model.

    Raises:
        ValueError: If paddings or vocabularies differ, as far as they are known.
    """
    both = facts_of(model), facts_of(draft_model)
    names = "padding_id", "source_vocabulary_size", "target_vocabulary_size"
    for name in (*names, "source_features"):
        ours, theirs = (getattr(facts, name) for facts in both)
        if None not in (ours, theirs) and ours != theirs:
            raise ValueError(
                "A draft model must have the ids of the model; received a draft model "
                f"with {name}={theirs} for a model with {name}={ours}. Train one with "
                "the same tokenizers."
            )
