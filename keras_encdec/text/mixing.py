"""Several sequences of pairs as one, some of them more often than others."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_encdec.text.corpora import PairsOfIds


class MixedPairs:
    """Pairs of several sequences, each of which a pass takes a number of times.

    A pass over a mixture of `a` three times and `b` once takes each pair of `a` three
    times and each of `b` once, in one order of all of them that numbers give, as it is
    given to the pairs of one. Nothing is copied.

    Args:
        parts: Sequences of pairs, such as `Corpus`, of the same tokenizers.
        times: How many times a pass takes each of them, numbers of at least 1: of 2.5
            it takes every second pair once more, the same ones in each pass.

    Raises:
        ValueError: If there are no parts, or not as many numbers, or one is not
            positive.

    Example:
        ```python
        import tempfile
        from keras_encdec import ByteTokenizer, Corpus, encode_corpus
        from keras_encdec.text import MixedPairs

        tokenizer, parts = ByteTokenizer(), []
        for pairs in ([("one", "eno")], [("two", "owt"), ("six", "xis")]):
            folder = tempfile.mkdtemp() + "/corpus"
            encode_corpus(pairs, tokenizer, tokenizer, folder)
            parts.append(Corpus(folder))
        print(len(MixedPairs(parts, times=[3, 1])))  # 5
        ```
    """

    def __init__(self, parts: Sequence[PairsOfIds], times: Sequence[float]) -> None:
        sound = all(1 <= n < np.inf for n in times)
        if len(parts) != len(times) or not parts or not sound:
            raise ValueError(
                "A mixture has at least one part, and for each how many times a pass "
                f"takes it, 1 or more; received {len(parts)} parts and {times!r}."
            )
        self.parts, self.times = list(parts), list(times)
        sizes = [round(len(x) * n) for x, n in zip(parts, times, strict=True)]
        self._ends = np.cumsum(sizes)

    @property
    def digest(self) -> str:
        """That of the parts and their numbers, if they have one."""
        digests = [getattr(part, "digest", len(part)) for part in self.parts]
        return hashlib.sha256(repr((digests, self.times)).encode()).hexdigest()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def lengths(self) -> np.ndarray:
        """Returns the numbers of ids of each source and target, `(N, 2)`."""
        sizes = np.diff(self._ends, prepend=0)
        return np.concatenate([
            part.lengths()[_rows(np.arange(size), size, len(part))]
            for part, size in zip(self.parts, sizes, strict=True)
        ])  # fmt: skip

    def ids(self, side: str, rows: Sequence[int]) -> list[Any]:
        """Returns the ids of some pairs.

        Args:
            side: `"source"` or `"target"`.
            rows: The numbers of the pairs, from 0 on.

        Returns:
            A list of arrays.
        """
        found: list[Any] = [None] * len(rows)
        numbers = np.asarray(rows)
        part_of = np.searchsorted(self._ends, numbers, side="right")
        for number in np.unique(part_of):
            part, places = self.parts[number], np.flatnonzero(part_of == number)
            begin = self._ends[number - 1] if number else 0
            size = self._ends[number] - begin
            its = _rows(numbers[places] - begin, size, len(part))
            for place, ids in zip(places, part.ids(side, its), strict=True):
                found[place] = ids
        return found


def times_by_temperature(sizes: Sequence[int], temperature: float) -> list[float]:
    """Returns how often to take corpora so that small ones are not drowned.

    Each has then a share of `size ** (1 / temperature)` of all, and the largest is
    taken once.

    Args:
        sizes: Their numbers of pairs.
        temperature: At least 1, by which shares are those of the sizes; the higher, the
            more they are alike.

    Returns:
        A number of at least 1 for each, as `MixedPairs` takes them.

    Raises:
        ValueError: If the temperature is below 1 or not finite, or a size not positive.

    Example:
        ```python
        from keras_encdec.text import times_by_temperature

        print(times_by_temperature([1000, 100_000], temperature=5))  # [39.8, 1.0]
        ```

    Reference:
        Arivazhagan et al. 2019, Massively Multilingual Neural Machine Translation in
        the Wild, section 4.
    """
    if not 1 <= temperature < np.inf or not len(sizes) or min(sizes) < 1:
        raise ValueError(
            "Corpora of at least one pair are mixed by a temperature of at least 1; "
            f"received {temperature!r} for sizes of {sizes!r:.200}. Raise it."
        )
    largest = max(sizes)
    return [(largest / size) ** (1 - 1 / temperature) for size in sizes]


def _rows(places: np.ndarray, size: int, number: int) -> np.ndarray:
    """Which of a number of rows stand at places among so many times of them."""
    whole = size // number * number
    rest = max(size - whole, 1)
    # What is left over is spread among all of them.
    return np.where(places < whole, places % number, (places - whole) * number // rest)
