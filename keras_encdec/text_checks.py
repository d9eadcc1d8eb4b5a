"""Checks that tokenizers fit a model, and texts its positions."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from keras_encdec.annotations import KerasModel, Text
from keras_encdec.protocol import facts_of
from keras_encdec.text import Tokenizer
from keras_encdec.text.reading import SourceLines


def check_lengths(
    model: KerasModel,
    side: Literal["source", "target"],
    lengths: Sequence[int],
    texts: Sequence[Text] | SourceLines,
    remedy: str = "Shorten or split it.",
    *,
    first: int = 0,
) -> None:
    """Refuses texts of more tokens than a model has positions.

    Args:
        model: A model, as in `Generator`.
        side: Whose texts these are, `"source"` or `"target"`.
        lengths: The number of tokens of each text, a sequence of ints.
        texts: The texts, a list or `SourceLines`.
        remedy: What to do about it, a sentence.
        first: The number of texts that stood before these.

    Raises:
        ValueError: If a text is too long.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.text_checks import check_lengths

        model = EncoderDecoder(260, 16, 32, 2, 1, positions="learned", max_length=8)
        check_lengths(model, "source", [4, 8], ["one", "1234567"])
        ```
    """
    facts = facts_of(model)
    largest = facts.max_source_length if side == "source" else facts.max_length
    if largest is None:
        return
    places = np.flatnonzero(np.asarray(lengths) > largest).tolist()
    if places:
        more = f", and in {len(places) - 1:,} more" if places[1:] else ""
        place, total = first + places[0] + 1, first + len(lengths)
        raise ValueError(
            f"A {side} text must not have more tokens than the model has positions, "
            f"{largest}; received {lengths[places[0]]} in text {place} of "
            f"{total:,}{more}: {texts[places[0]]!r:.80}. {remedy}"
        )


def check_pairs(sources: Sequence[Any], targets: Sequence[Any]) -> None:
    """Refuses other than a target for each source.

    Args:
        sources: The source texts, or their ids.
        targets: The target texts, likewise.

    Raises:
        ValueError: If they are not as many.

    Example:
        ```python
        from keras_encdec.text_checks import check_pairs

        check_pairs(["one", "two"], ["eins", "zwei"])
        ```
    """
    if len(sources) != len(targets):
        raise ValueError(
            "There must be a target for each source; received "
            f"{len(sources)} sources and {len(targets)} targets. Pair them."
        )


def check_tokenizers(
    model: KerasModel, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer
) -> None:
    """Refuses a model that takes no ids, or not those of its tokenizers.

    Args:
        model: A model, as in `Generator`.
        source_tokenizer: A `Tokenizer`.
        target_tokenizer: A `Tokenizer`.

    Raises:
        ValueError: If the model takes features, or does not mask padding; or a
            tokenizer has more ids, or another one for padding.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, EncoderDecoder
        from keras_encdec.text_checks import check_tokenizers

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        check_tokenizers(model, tokenizer, tokenizer)
        ```
    """
    facts = facts_of(model)
    if facts.source_features is not None:
        raise ValueError(
            "The model of a TextToText must take ids; received one of "
            f"{facts.source_features} features for each position of its source. "
            "Call its Generator, and decode what it returns."
        )
    if facts.masks_padding is False:
        raise ValueError(
            "The model of a TextToText must mask padding, for texts have several "
            f"lengths; received {model!r}, which does not mask padding_id="
            f"{facts.padding_id} in its source. Build one whose encoder's output "
            "carries a mask."
        )
    padding_id = facts.padding_id
    if padding_id is None:
        padding_id = target_tokenizer.padding_id
    for side, tokenizer, size in (
        ("source", source_tokenizer, facts.source_vocabulary_size),
        ("target", target_tokenizer, facts.target_vocabulary_size),
    ):
        if size is not None and tokenizer.vocabulary_size > size:
            raise ValueError(
                f"The {side} tokenizer must not have more ids than the model's "
                f"{side} vocabulary; received {tokenizer.vocabulary_size} and "
                f"{size}. Build the model with the tokenizer's vocabulary_size."
            )
        if tokenizer.padding_id != padding_id:
            raise ValueError(
                f"The {side} tokenizer must pad with the id that the model masks "
                f"out; received padding_id={tokenizer.padding_id}, and the model's "
                f"is {padding_id}. Build the model with the tokenizer's "
                "padding_id, or the tokenizer with the model's."
            )


def check_same_ids(
    side: str, names: Sequence[str], tokenizers: Sequence[Tokenizer]
) -> None:
    """Refuses tokenizers that do not give a text the ids that the first one gives it.

    Those of one config do. Others must have the same special ids and tokens, and split
    alike texts that are made of all their tokens.

    Args:
        side: Whose texts these are, `"source"` or `"target"`.
        names: What each is called, such as its folder.
        tokenizers: As many `Tokenizer`s.

    Raises:
        ValueError: If one does not.

    Example:
        ```python
        from keras_encdec import WordTokenizer
        from keras_encdec.text_checks import check_same_ids

        tokenizers = [WordTokenizer(["a", "cat"]), WordTokenizer(["cat", "a"])]
        try:
            check_same_ids("source", ["mine", "yours"], tokenizers)
        except ValueError as error:
            print(error)
        ```
    """
    first, probes = tokenizers[0], list[str]()
    for name, tokenizer in zip(names, tokenizers, strict=True):
        if _config_of(tokenizer) == _config_of(first):
            continue
        probes = probes or _texts_of_all_tokens(first)
        how = _difference(first, tokenizer, probes)
        if how is not None:
            raise ValueError(
                "Models that answer or learn together need tokenizers that give the "
                f"same ids; received {names[0]} and {name}, whose {side} tokenizers "
                f"{how}. Train them with the same vocabulary."
            )


def _config_of(tokenizer: Tokenizer) -> tuple[Any, ...]:
    return type(tokenizer), tokenizer.get_config()


def _difference(first: Tokenizer, other: Tokenizer, probes: list[str]) -> str | None:
    """What tells two tokenizers apart, in words; None if nothing was found."""
    special, others = (Tokenizer.get_config(x) for x in (first, other))
    for name in special:
        if special[name] != others[name]:
            return f"have {name}={special[name]} and {others[name]}"
    sizes = first.vocabulary_size, other.vocabulary_size
    if sizes[0] != sizes[1]:
        return f"have {sizes[0]:,} and {sizes[1]:,} ids"
    ids, other_ids = (
        [row.tolist() for row in x.ids_of(probes)] for x in (first, other)
    )
    for text, row, other_row in zip(probes, ids, other_ids, strict=True):
        if row != other_row:
            return f"give {text!r:.40} the ids {row!s:.60} and {other_row!s:.60}"
    return None


def _texts_of_all_tokens(tokenizer: Tokenizer) -> list[str]:
    """Each token as a text of its own, and all in texts of several."""
    rows = [[number] for number in range(tokenizer.vocabulary_size)]
    tokens = tokenizer.texts_of(rows)
    several = (tokens[i : i + 8] for i in range(0, len(tokens), 8))
    return [*tokens, *("".join(x) for x in several)]
