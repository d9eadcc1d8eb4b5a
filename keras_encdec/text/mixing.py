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
        times: How many times a pass takes each of them, positive integers.

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

    def __init__(self, parts: Sequence[PairsOfIds], times: Sequence[int]) -> None:
        if len(parts) != len(times) or not parts or any(n < 1 for n in times):
            raise ValueError(
                "A mixture has at least one part, and for each how many times a pass "
                f"takes it, 1 or more; received {len(parts)} parts and {times!r}."
            )
        self.parts, self.times = list(parts), list(times)
        self._ends = np.cumsum([len(x) * n for x, n in zip(parts, times, strict=True)])

    @property
    def digest(self) -> str:
        """That of the parts and their numbers, if they have one."""
        digests = [getattr(part, "digest", len(part)) for part in self.parts]
        return hashlib.sha256(repr((digests, self.times)).encode()).hexdigest()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def lengths(self) -> np.ndarray:
        """Returns the numbers of ids of each source and target, `(N, 2)`."""
        pairs = zip(self.parts, self.times, strict=True)
        return np.concatenate([np.tile(x.lengths(), (n, 1)) for x, n in pairs])

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
            its = (numbers[places] - begin) % len(part)
            for place, ids in zip(places, part.ids(side, its), strict=True):
                found[place] = ids
        return found
