"""The batches of a training, of texts or of stored ids, and their noise."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from keras_encdec.text import (
    Corpus,
    DeleteTokens,
    InfillSpans,
    MaskTokens,
    PairsOfIds,
    ShuffleTokens,
    TokenBatches,
    Tokenizer,
)
from keras_encdec.text.noise import Noise
from keras_encdec.text_checks import check_lengths
from keras_encdec.text_to_text import TextToText
from keras_encdec.training_options import TrainingOptions


def pair_batches(
    text_to_text: TextToText,
    sources: Sequence[str] | PairsOfIds,
    targets: Sequence[str],
    options: TrainingOptions,
    **more: Any,
) -> TokenBatches:
    """Returns the batches of pairs of texts, none longer than the model's positions.

    Args:
        text_to_text: The `TextToText` that learns from them.
        sources: The source texts, or pairs that are ids already.
        targets: The target texts; none beside ids.
        options: The training's options.
        **more: Further arguments of `TokenBatches`.

    Raises:
        ValueError: If a text is longer, or a corpus has other ids than its tokenizers.
    """
    stored = isinstance(sources, PairsOfIds) and not targets
    tokenizers = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    for each in getattr(sources, "parts", [sources]):
        if isinstance(each, Corpus):
            each.require_tokenizers(*tokenizers)
    batches = TokenBatches(
        sources,
        None if stored else targets,
        *tokenizers,
        options.batch_tokens,
        max_source_length=options.max_length,
        max_target_length=options.max_length,
        **more,
    )
    remedy = "Lower `max_length`, which cuts."
    of_sources, of_targets = batches.lengths.T
    texts: Any = batches.ids if stored else (sources, targets)
    check_lengths(text_to_text.model, "source", of_sources, texts[0], remedy)
    check_lengths(text_to_text.model, "target", of_targets, texts[1], remedy)
    return batches


def noise_of(options: TrainingOptions, tokenizer: Tokenizer) -> list[Noise]:
    """Returns what is done to each source, in the order of Lample et al. 2018.

    Args:
        options: The training's options.
        tokenizer: The `Tokenizer` of the sources.
    """
    mask = tokenizer.unknown_id
    wanted: list[tuple[Any, Callable[[Any], Noise]]] = [
        (options.source_shuffle, ShuffleTokens),
        (options.source_deletion, DeleteTokens),
        (options.source_infilling, functools.partial(InfillSpans, mask_id=mask)),
        (options.source_dropout, functools.partial(MaskTokens, mask_id=mask)),
    ]
    return [make(value) for value, make in wanted if value is not None]
