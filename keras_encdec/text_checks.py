"""Checks that tokenizers fit a model, and texts its positions."""

from collections.abc import Sequence
from typing import Literal

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
    places = [i for i, n in enumerate(lengths) if largest is not None and n > largest]
    if places:
        more = f", and in {len(places) - 1:,} more" if places[1:] else ""
        place, total = first + places[0] + 1, first + len(lengths)
        raise ValueError(
            f"A {side} text must not have more tokens than the model has positions, "
            f"{largest}; received {lengths[places[0]]} in text {place} of "
            f"{total:,}{more}: {texts[places[0]]!r:.80}. {remedy}"
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
