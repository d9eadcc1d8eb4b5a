"""What `train` learns from: pairs of texts, or corpora of ids, one or mixed."""

from collections.abc import Sequence
from typing import Any

from keras_encdec.cli.arguments import read_some_pairs


def training_pairs(
    source: str | None,
    target: str | None,
    corpus: Sequence[tuple[str, int]] | None,
    mixing_temperature: float | None,
) -> tuple[Any, Any]:
    """Returns sources and targets, as `run.train` takes them.

    Args:
        source: The path of the texts, or None.
        target: That of their targets, or None.
        corpus: In their place, the folders of corpora and how often to take each.
        mixing_temperature: By what to take the smaller ones more often, or None.

    Raises:
        ValueError: If there are no texts, or a corpus is damaged.
    """
    from keras_encdec.text import Corpus, MixedPairs, times_by_temperature

    if source is not None:
        return read_some_pairs("A training", source, target)
    parts = [Corpus(place) for place, _ in corpus or ()]
    times: Sequence[float] = [times for _, times in corpus or ()]
    if mixing_temperature is not None:
        times = times_by_temperature([*map(len, parts)], mixing_temperature)
    return MixedPairs(parts, times), ()
