"""Rows in buckets, by their lengths, so that little of them is padding."""

from typing import Any

import numpy as np

_CHUNK = 2**20


def buckets_of(
    lengths: np.ndarray, batch_tokens: int, num_shapes: int
) -> list[np.ndarray]:
    """Splits rows into buckets where that saves most padding, by either length.

    Args:
        lengths: Those of the source and the target of each row, integers `(N, 2)`.
        batch_tokens: The most tokens of a batch, on the longer side; each bucket fills
            one at least.
        num_shapes: The most buckets.

    Returns:
        For each bucket the numbers of its rows, an int32 array.

    Example:
        ```python
        import numpy as np
        from keras_encdec.text.buckets import buckets_of

        lengths = np.array([[2, 2], [9, 8]] * 4)
        print(buckets_of(lengths, batch_tokens=8, num_shapes=4))
        ```
    """
    # Rows of the same two lengths are never parted: how many there are is enough.
    width = int(lengths[:, 1].max()) + 1
    small = (int(lengths[:, 0].max()) + 1) * width < 2**31
    kind_of = lengths[:, 0].astype("int32" if small else "int64")
    kind_of *= width
    kind_of += lengths[:, 1]
    found, counts = np.unique(kind_of, return_counts=True)
    kinds = np.stack(np.divmod(found, width), axis=1)
    buckets: list[Any] = [np.arange(len(kinds))]
    sides: list[tuple[int, ...]] = [()]  # By which each was parted, one after another.
    splits = [_best_split(kinds, counts, buckets[0], batch_tokens)]
    while len(buckets) < num_shapes:
        most = max(range(len(buckets)), key=lambda i: splits[i][0])
        saved, side, parts = splits[most]
        if saved <= 0:
            break
        buckets[most : most + 1] = parts
        sides[most : most + 1] = [(*sides[most], side)] * 2
        splits[most : most + 1] = [
            _best_split(kinds, counts, part, batch_tokens) for part in parts
        ]
    bucket_of_kind = np.empty(len(kinds), "int32")
    for number, bucket in enumerate(buckets):
        bucket_of_kind[bucket] = number
    bucket_of = np.empty(len(lengths), "int32")
    for first in range(0, len(lengths), _CHUNK):  # Places in `found` take more memory.
        some = slice(first, first + _CHUNK)
        bucket_of[some] = bucket_of_kind[np.searchsorted(found, kind_of[some])]
    members = []
    for number, parted in enumerate(sides):
        rows = np.flatnonzero(bucket_of == number).astype("int32")
        # Each parting sorts, and keeps the order of equals.
        for side in parted:
            rows = rows[np.argsort(lengths[rows, side], kind="stable")]
        members.append(rows)
    return members


def _best_split(kinds: Any, counts: Any, bucket: Any, batch_tokens: int) -> Any:
    """The tokens of padding that a split of a bucket saves, its side, and two parts."""
    best, by, parts = 0, None, None
    for side in (0, 1):
        ranked = bucket[np.argsort(kinds[bucket, side], kind="stable")]
        ordered, number = kinds[ranked].astype("int64"), np.cumsum(counts[ranked])
        # The longest of each side in every beginning, and in every rest.
        begun = np.maximum.accumulate(ordered)[:-1]
        rest = np.maximum.accumulate(ordered[::-1])[::-1][1:]
        sizes = number[:-1], number[-1] - number[:-1]
        saved = number[-1] * ordered.max(axis=0).sum() - sum(
            size * longest.sum(axis=1)
            for size, longest in zip(sizes, (begun, rest), strict=True)
        )
        # Equal lengths stay together, and each part fills a batch.
        allowed = ordered[:-1, side] < ordered[1:, side]
        for size, longest in zip(sizes, (begun, rest), strict=True):
            allowed &= size * longest.max(axis=1) >= batch_tokens
        saved = np.where(allowed, saved, 0)
        if saved.max(initial=0) > best:
            best, by, place = saved.max(), side, saved.argmax() + 1
            parts = ranked[:place], ranked[place:]
    return best, by, parts
