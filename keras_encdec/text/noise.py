"""Noise of texts' ids, which a model that is trained on it learns to see through.

Each kind is a function of the ids of a text, without those around it, and of random
numbers, to ids that are not more.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from keras_encdec.annotations import Ids
from keras_encdec.text.interface import Tokenizer

# From ids `(L,)` and random numbers to other ids.
Noise: TypeAlias = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclasses.dataclass(frozen=True)
class MaskTokens:
    """Puts an id in the place of some tokens: dropout of words.

    Args:
        rate: The probability of each token, above 0 and at most 1.
        mask_id: The id, such as a tokenizer's `unknown_id`.

    Call arguments:
        ids: Those of a text, a NumPy array `(L,)` of integers.
        random: A `numpy.random.Generator`.

    Returns:
        As many ids.

    Raises:
        ValueError: If the rate is out of range.

    Example:
        ```python
        import numpy as np
        from keras_encdec.text import MaskTokens

        ids, random = np.arange(10, 20), np.random.default_rng(0)
        print(MaskTokens(0.3, mask_id=3)(ids, random))
        ```

    Reference:
        Iyyer et al. 2015, Deep Unordered Composition Rivals Syntactic Methods for Text
        Classification; Lewis et al. 2020, BART, section 2.2.
    """

    rate: float
    mask_id: int

    def __post_init__(self) -> None:
        _require_rate(self.rate)

    def __call__(self, ids: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns the ids with some of them masked."""
        return np.where(random.random(len(ids)) < self.rate, self.mask_id, ids)


@dataclasses.dataclass(frozen=True)
class DeleteTokens:
    """Leaves some tokens out, but one at least stays.

    Args:
        rate: The probability of each token, above 0 and at most 1.

    Call arguments:
        ids: Those of a text, a NumPy array `(L,)` of integers.
        random: A `numpy.random.Generator`.

    Returns:
        The ids that are left, in their order.

    Raises:
        ValueError: If the rate is out of range.

    Example:
        ```python
        import numpy as np
        from keras_encdec.text import DeleteTokens

        print(DeleteTokens(0.3)(np.arange(10, 20), np.random.default_rng(0)))
        ```

    Reference:
        Lewis et al. 2020, BART, section 2.2.
    """

    rate: float

    def __post_init__(self) -> None:
        _require_rate(self.rate)

    def __call__(self, ids: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns the ids without some of them."""
        kept = random.random(len(ids)) >= self.rate
        if len(ids) and not kept.any():
            kept[random.integers(len(ids))] = True
        return ids[kept]


@dataclasses.dataclass(frozen=True)
class InfillSpans:
    """Puts one id in the place of some runs of tokens, whose lengths it hides.

    Args:
        rate: The share of tokens in such runs, above 0 and at most 1.
        mask_id: The id that stands for each run.
        mean_length: The mean of their lengths, which are Poisson's but at least 1: no
            text becomes longer.

    Call arguments:
        ids: Those of a text, a NumPy array `(L,)` of integers.
        random: A `numpy.random.Generator`.

    Returns:
        The ids; between two that stand for a run is at least one of the text, where as
        many are left.

    Raises:
        ValueError: If the rate is out of range, or the mean length is not above 0.

    Example:
        ```python
        import numpy as np
        from keras_encdec.text import InfillSpans

        ids, random = np.arange(10, 30), np.random.default_rng(0)
        print(InfillSpans(0.3, mask_id=3)(ids, random))
        ```

    Reference:
        Lewis et al. 2020, BART, section 2.2, where runs of no token are added too.
    """

    rate: float
    mask_id: int
    mean_length: float = 3.0

    def __post_init__(self) -> None:
        _require_rate(self.rate)
        if not 0 < self.mean_length < np.inf:
            raise ValueError(
                "Runs of tokens must have a mean length above 0; received "
                f"{self.mean_length!r}. Raise it."
            )

    def __call__(self, ids: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns the ids with an id for each run."""
        hidden = int(self.rate * len(ids) + random.random())
        lengths: list[int] = []
        while (left := hidden - sum(lengths)) > 0:
            lengths.append(min(max(1, int(random.poisson(self.mean_length))), left))
        # Before each token that stays, or behind the last.
        places = len(ids) - hidden + 1
        if len(lengths) > places:
            lengths[places - 1 :] = [sum(lengths[places - 1 :])]
        gaps = np.sort(random.choice(places, len(lengths), replace=False))
        found, stays = ids.copy(), np.ones(len(ids), bool)
        begun = 0
        for gap, length in zip(gaps, random.permutation(lengths), strict=True):
            start = gap + begun
            found[start] = self.mask_id
            stays[start + 1 : start + length] = False
            begun += length
        return found[stays]


@dataclasses.dataclass(frozen=True)
class ShuffleTokens:
    """Puts tokens in another order, none of them far from where it was.

    Args:
        distance: The most places that a token moves by, 1 or more.

    Call arguments:
        ids: Those of a text, a NumPy array `(L,)` of integers.
        random: A `numpy.random.Generator`.

    Returns:
        The same ids in another order.

    Raises:
        ValueError: If the distance is not a positive integer.

    Example:
        ```python
        import numpy as np
        from keras_encdec.text import ShuffleTokens

        print(ShuffleTokens(3)(np.arange(10, 20), np.random.default_rng(0)))
        ```

    Reference:
        Lample et al. 2018, Unsupervised Machine Translation Using Monolingual Corpora
        Only, section 2.3.
    """

    distance: int

    def __post_init__(self) -> None:
        if not (isinstance(self.distance, int) and self.distance >= 1):
            raise ValueError(
                "Tokens move by a positive number of places; received "
                f"distance={self.distance!r}. Raise it."
            )

    def __call__(self, ids: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns the ids in another order."""
        places = np.arange(len(ids)) + random.uniform(0, self.distance + 1, len(ids))
        return ids[np.argsort(places, kind="stable")]


def with_noise(
    rows: Ids,
    tokenizer: Tokenizer,
    noise: Sequence[Noise],
    random: np.random.Generator,
) -> np.ndarray:
    """Returns padded rows of ids with noise between their prefix and suffix ids.

    Args:
        rows: Padded ids, an array `(B, L)`.
        tokenizer: The `Tokenizer` that they are of.
        noise: What is done to each row, one after another.
        random: The random numbers.

    Returns:
        An array of the same shape; a row that would become longer than it stays as it
        was.

    Example:
        ```python
        import numpy as np
        from keras_encdec.text import ByteTokenizer, DeleteTokens
        from keras_encdec.text.noise import with_noise

        tokenizer, random = ByteTokenizer(), np.random.default_rng(0)
        rows = tokenizer(["some text"]).numpy()
        print(with_noise(rows, tokenizer, [DeleteTokens(0.5)], random))
        ```
    """
    found = np.full_like(rows, tokenizer.padding_id)
    first, last = len(tokenizer.prefix_ids), len(tokenizer.suffix_ids)
    for row, place in zip(np.asarray(rows), found, strict=True):
        ids = row[row != tokenizer.padding_id]
        end = len(ids) - last
        text = ids[first:end]
        for each in noise:
            text = each(text, random)
        changed = np.concatenate([ids[:first], text, ids[max(first, end) :]])
        if len(changed) > len(row):
            changed = ids
        place[: len(changed)] = changed
    return found


def _require_rate(rate: float) -> None:
    if not 0 < rate <= 1:
        raise ValueError(
            "The share of tokens that noise changes must be above 0 and at most 1; "
            f"received {rate!r}. Leave the noise out for none."
        )
