"""What `train` learns from: pairs of texts, or turned around too, or corpora of ids."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_encdec.cli.arguments import read_some_pairs

if TYPE_CHECKING:
    from keras_encdec.text_to_text import TextToText


def training_pairs(
    source: str | None,
    target: str | None,
    corpus: Sequence[tuple[str, int]] | None,
    mixing_temperature: float | None,
    both_directions: Sequence[str] | None,
) -> tuple[Any, Any]:
    """Returns sources and targets, as `run.train` takes them.

    Args:
        source: The path of the texts, or None.
        target: That of their targets, or None.
        corpus: In their place, the folders of corpora and how often to take each.
        mixing_temperature: By what to take the smaller ones more often, or None.
        both_directions: None, or the tags of pairs as they are and turned around, which
            are then learned from too.

    Raises:
        ValueError: If there are no texts, or a corpus is damaged.
    """
    from keras_encdec.text import Corpus, MixedPairs, times_by_temperature

    if source is not None:
        sources, targets = read_some_pairs("A training", source, target)
        if both_directions is None:
            return sources, targets
        there, back = both_directions
        tagged = with_tag_before(there, sources) + with_tag_before(back, targets)
        return tagged, targets + sources
    parts = [Corpus(place) for place, _ in corpus or ()]
    times: Sequence[float] = [times for _, times in corpus or ()]
    if mixing_temperature is not None:
        times = times_by_temperature([*map(len, parts)], mixing_temperature)
    return MixedPairs(parts, times), ()


def validation_pairs(
    source: str | None, target: str | None, both_directions: Sequence[str] | None
) -> tuple[list[str], list[str]] | None:
    """Returns sources and targets to judge epochs by, or None.

    Args:
        source: The path of the texts, or None.
        target: That of their targets, or None.
        both_directions: As in `training_pairs`: pairs are judged as they are.

    Raises:
        ValueError: If there are no texts.
    """
    if source is None:
        return None
    sources, targets = read_some_pairs("A validation", source, target)
    if both_directions is not None:
        sources = with_tag_before(both_directions[0], sources)
    return sources, targets


def with_tag_before(tag: str, texts: Sequence[str]) -> list[str]:
    """Returns texts with a tag at the head of each.

    Args:
        tag: The tag.
        texts: A list of `str`.

    Example:
        ```python
        from keras_encdec.cli.training_pairs import with_tag_before

        print(with_tag_before("__de__", ["one"]))  # ['__de__ one']
        ```
    """
    return [f"{tag} {text}" for text in texts]


def check_both_directions(text_to_text: "TextToText", tags: Sequence[str]) -> None:
    """Refuses a model that cannot be told the direction, or has two vocabularies.

    Args:
        text_to_text: The `TextToText` to train.
        tags: Those of the two directions.

    Raises:
        ValueError: If it is one.
    """
    from keras_encdec.tags import tag_id

    source, target = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    if source.get_config() != target.get_config():
        raise ValueError(
            "What learns both directions has one vocabulary for sources and targets; "
            f"received {source!r:.80} and {target!r:.80}. Begin with "
            "--shared-vocabulary, or with a model that was."
        )
    for tag in tags:
        tag_id(source, tag)
