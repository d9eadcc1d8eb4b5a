"""Checks that texts are no longer than a model has positions."""

from collections.abc import Sequence
from typing import Literal

from keras_encdec.annotations import KerasModel, Text
from keras_encdec.protocol import facts_of


def check_lengths(
    model: KerasModel,
    side: Literal["source", "target"],
    lengths: Sequence[int],
    texts: Sequence[Text],
    remedy: str = "Shorten or split it.",
) -> None:
    """Refuses texts of more tokens than a model has positions.

    Args:
        model: A model, as in `Generator`.
        side: Whose texts these are, `"source"` or `"target"`.
        lengths: The number of tokens of each text, a sequence of ints.
        texts: The texts, a list.
        remedy: What to do about it, a sentence.

    Raises:
        ValueError: If a text is too long.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.length_checks import check_lengths

        model = EncoderDecoder(260, 16, 32, 2, 1, positions="learned", max_length=8)
        check_lengths(model, "source", [4, 8], ["one", "1234567"])
        ```
    """
    facts = facts_of(model)
    largest = facts.max_source_length if side == "source" else facts.max_length
    places = [i for i, n in enumerate(lengths) if largest is not None and n > largest]
    if places:
        more = f", and in {len(places) - 1:,} more" if places[1:] else ""
        raise ValueError(
            f"A {side} text must not have more tokens than the model has positions, "
            f"{largest}; received {lengths[places[0]]} in text {places[0] + 1} of "
            f"{len(lengths):,}{more}: {texts[places[0]]!r:.80}. {remedy}"
        )
