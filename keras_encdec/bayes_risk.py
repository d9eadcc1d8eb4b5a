"""The candidate that is nearest to all others: minimum Bayes risk decoding.

Whoever has samples chooses among them; a decoder draws them itself.

Legend of shapes: C different candidates of a source, G different n-grams.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from keras_encdec.annotations import Text
from keras_encdec.option_checks import require_one_of, require_positive

if TYPE_CHECKING:
    from keras_encdec.generation import Sampler
    from keras_encdec.text_to_text import EncodedTexts, TextToText

# From a hypothesis and a reference to how good the one is if the other is right.
Utility: TypeAlias = Callable[[str, str], float]

UTILITIES = "chrf", "bleu", "token_accuracy", "character_accuracy"
_CHRF_ORDER, _CHRF_BETA = 6, 2
# Rows that are drawn at once, for each has a cache and logits of its own.
_ROWS = 512


def minimum_bayes_risk(
    candidates: Sequence[Sequence[str]],
    utility: str | Utility = "chrf",
    *,
    weights: Sequence[Sequence[float]] | None = None,
    return_utilities: bool = False,
) -> list[Any]:
    """Returns for each source the candidate of the largest expected utility.

    A candidate's utility is the mean of how good it would be if each of the candidates
    were right. Of samples drawn without truncation the mean stands for that over the
    model's distribution; a text that was drawn twice counts twice.

    Args:
        candidates: For each source a list of texts: samples, or an n-best list, as
            `TextToText` gives with `num_return_sequences`.
        utility: `"chrf"`, sacrebleu's chrF2; `"bleu"`, its BLEU of sentences with
            exponential smoothing; `"token_accuracy"` or `"character_accuracy"`, minus
            the edits from one to the other, of words or characters, as a share of the
            reference's; or a function of a hypothesis and a reference, larger being
            better.
        weights: For each source how much each candidate counts as a reference, such as
            its probability; by default all count the same.
        return_utilities: Whether to return each text with its expected utility.

    Returns:
        A list of texts, or of pairs `(text, utility)`. Of equally good ones it is the
        first.

    Raises:
        TypeError: If candidates are a single text, or of a single source.
        ValueError: If a source has none, the utility is unknown, or the weights are not
            a number of at least 0 for each candidate, with a positive sum.

    Example:
        ```python
        from keras_encdec import minimum_bayes_risk

        print(minimum_bayes_risk([["a cat", "a cat sat", "the dog"]]))
        ```

    Reference:
        Eikema and Aziz 2020, Is MAP Decoding All You Need? The Inadequacy of the Mode
        in Neural Machine Translation, section 6.
    """
    _check(candidates)
    utilities = _pairwise(utility)
    given = [None] * len(candidates) if weights is None else weights
    if len(given) != len(candidates):
        raise ValueError(
            "There must be weights for the candidates of each source; received "
            f"{len(given)} for {len(candidates)} sources. Give a list for each."
        )
    chosen: list[Any] = []
    for texts, each in zip(candidates, given, strict=True):
        shares: dict[str, float] = {}
        for text, weight in zip(texts, _weights_of(texts, each), strict=True):
            shares[text] = shares.get(text, 0.0) + weight
        different = list(shares)
        references = np.array(list(shares.values()))
        expected = utilities(different) @ (references / references.sum())
        # Rounding must not choose between equals.
        best = int(np.argmax(expected >= expected.max() - 1e-9 * abs(expected.max())))
        text = different[best]
        chosen.append((text, float(expected[best])) if return_utilities else text)
    return chosen


class MinimumBayesRiskDecoder:
    """Answers with the sample that is nearest to all others, `minimum_bayes_risk`.

    Args:
        text_to_text: A `TextToText`.
        utility: As in `minimum_bayes_risk`.
        num_samples: The number of samples for each text.
        sampler: What draws them, as in `Generator`: by default without truncation, so
            that they stand for the model's distribution. Beams give the best of an
            n-best list.

    Attributes:
        text_to_text: The `TextToText`, with that sampler.

    Call arguments:
        texts: A list of source texts, as in `TextToText`.
        max_length: As in `TextToText`.
        seed: Likewise: a text's answer depends on the seed and on its place, not on
            other texts.
        batch_size: Likewise; by default as many as have 512 samples together.
        return_scores: Whether to return each text with its expected utility.

    Returns:
        A list of `str`, or of pairs `(text, utility)`.

    Raises:
        TypeError: As `TextToText` does.
        ValueError: As `TextToText` does; or if the utility is unknown, or the sampler
            gives fewer samples.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, MinimumBayesRiskDecoder, build

        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        text_to_text = build(ByteTokenizer(), ByteTokenizer(), **small)
        decoder = MinimumBayesRiskDecoder(text_to_text, num_samples=8)
        print(decoder(["one", "two"], max_length=4, return_scores=True))
        ```

    Reference:
        As in `minimum_bayes_risk`.
    """

    def __init__(
        self,
        text_to_text: "TextToText",
        utility: str | Utility = "chrf",
        num_samples: int = 64,
        *,
        sampler: "Sampler | str" = "random",
    ) -> None:
        require_positive(num_samples=num_samples)
        _pairwise(utility)  # Refuses what is none.
        self.text_to_text = text_to_text.with_sampler(sampler)
        self.text_to_text.sampler.rows_per_source(num_samples)
        self.utility = utility
        self.num_samples = num_samples

    def __call__(self, texts: Sequence[Text], **call: Any) -> list[Any]:
        """Returns the answers."""
        return [*self.generate(self.text_to_text.encode(texts), **call)]

    def generate(
        self,
        texts: "Iterable[Text] | EncodedTexts",
        *,
        batch_size: int | None = None,
        return_scores: bool = False,
        **call: Any,
    ) -> Iterator[Any]:
        """Yields what a call returns, in turn, for any number of texts.

        Args:
            texts: As in `TextToText.generate`.
            batch_size: As in a call.
            return_scores: As in a call.
            **call: `first`, `max_length`, `seed` and `progress` of
                `TextToText.generate`.

        Yields:
            A `str` for each text, or a pair.
        """
        if batch_size is None:
            batch_size = max(1, _ROWS // self.num_samples)
        drawn = self.text_to_text.generate(
            texts, batch_size=batch_size, num_return_sequences=self.num_samples, **call
        )
        return (
            minimum_bayes_risk(
                [candidates], self.utility, return_utilities=return_scores
            )[0]
            for candidates in drawn
        )


def _check(candidates: Sequence[Sequence[str]]) -> None:
    for texts in [candidates, *candidates]:
        if isinstance(texts, str | bytes):
            raise TypeError(
                "Candidates are a list of texts for each source; received "
                f"{candidates!r:.200}. Put those of one source into a list of lists."
            )
        if not len(texts) and texts is not candidates:
            raise ValueError(
                "Each source needs at least one candidate; received none for one of "
                f"{len(candidates)}. Draw some, or leave the source out."
            )


def _weights_of(texts: Sequence[str], weights: Sequence[float] | None) -> np.ndarray:
    found = np.ones(len(texts)) if weights is None else np.asarray(weights, "float64")
    valid = found.shape == (len(texts),) and np.all(np.isfinite(found) & (found >= 0))
    if not valid or not found.sum() > 0:
        raise ValueError(
            "Candidates count by numbers of at least 0, one of them by more; "
            f"received {weights!r:.200} for {len(texts)} candidates."
        )
    return found


def _pairwise(utility: str | Utility) -> Callable[[list[str]], np.ndarray]:
    """Returns a function from texts to the utility of each for each, `(C, C)`."""
    if callable(utility):
        return lambda texts: _of_each_pair(texts, utility)
    require_one_of(UTILITIES, utility=utility)
    if utility == "chrf":
        return chrf_of_pairs
    if utility == "bleu":
        from sacrebleu import BLEU

        metric = BLEU(effective_order=True)
        return lambda texts: _of_each_pair(
            texts,
            lambda text, reference: metric.sentence_score(text, [reference]).score,
        )
    split = str.split if utility == "token_accuracy" else list
    return lambda texts: _negative_error_rates([split(text) for text in texts])


def _of_each_pair(texts: list[str], utility: Utility) -> np.ndarray:
    return np.array([[float(utility(x, y)) for y in texts] for x in texts])


def chrf_of_pairs(texts: Sequence[str]) -> np.ndarray:
    """Returns the chrF2 of each text, if each of them is right, as sacrebleu counts.

    Args:
        texts: A list of C texts.

    Returns:
        `(C, C)`, float64, in percent: by hypothesis and reference.

    Example:
        ```python
        from keras_encdec.bayes_risk import chrf_of_pairs

        print(chrf_of_pairs(["a cat", "a cat sat"]).round(1))
        ```

    Reference:
        Popović 2015, chrF: character n-gram F-score for automatic MT evaluation.
    """
    characters = ["".join(text.split()) for text in texts]
    shape = len(texts), len(texts)
    precision, recall, orders = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for order in range(1, _CHRF_ORDER + 1):
        counts = _count_ngrams(characters, order)
        matches = np.array([np.minimum(row, counts).sum(-1) for row in counts])
        totals = counts.sum(-1)
        both = (totals[:, None] > 0) & (totals[None, :] > 0)
        least_one = np.maximum(totals, 1)
        precision += both * matches / least_one[:, None]
        recall += both * matches / least_one[None, :]
        orders += both
    precision, recall = (x / np.maximum(orders, 1) for x in (precision, recall))
    factor = _CHRF_BETA**2
    below = factor * precision + recall
    above = 100 * (1 + factor) * precision * recall
    return np.divide(above, below, out=np.zeros(shape), where=below > 0)


def _count_ngrams(texts: Sequence[str], order: int) -> np.ndarray:
    """Returns how often each text has each of the n-grams of all of them, `(C, G)`."""
    places: dict[str, int] = {}
    each = []
    for text in texts:
        found = Counter(text[i : i + order] for i in range(len(text) - order + 1))
        each.append({places.setdefault(x, len(places)): n for x, n in found.items()})
    counts = np.zeros((len(texts), len(places)), "int32")
    for row, found_at in zip(counts, each, strict=True):
        row[list(found_at)] = list(found_at.values())
    return counts


def _negative_error_rates(rows: list[list[str]]) -> np.ndarray:
    """Returns minus the edits from each row to each, by the lengths of the latter."""
    from keras_encdec.text.error_rates import edit_distances

    edits = edit_distances([(left, right) for left in rows for right in rows])
    lengths = np.array([max(len(row), 1) for row in rows], "float64")
    return -edits.reshape(len(rows), len(rows)) / lengths
