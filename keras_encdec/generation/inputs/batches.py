"""Batches of sources of like lengths, of few shapes, each of which is a program."""

from collections.abc import Iterator, Sequence

# Positions of the sources of a batch: enough that the cores are busy, and few enough
# that a long row keeps few short ones waiting.
BATCH_TOKENS = 2048
# Of a batch, however short they are.
MOST_ROWS = 64


def batches_by_length(
    lengths: Sequence[int], batch_size: int | None = None
) -> Iterator[list[int]]:
    """Yields which sources make up a batch, from the longest sources down.

    The widest batches come first, so that too little memory is met at once. A batch has
    as many rows as fit in `BATCH_TOKENS` positions, padding included, and no two of one
    width differ by more than a row.

    Args:
        lengths: The number of tokens of each source.
        batch_size: The number of rows, in the place of one that depends on the lengths.

    Yields:
        Lists of places in `lengths`, each of which is in one of them.

    Example:
        ```python
        from keras_encdec.generation.inputs.batches import batches_by_length

        print([*batches_by_length([3, 9, 5, 4], batch_size=2)])  # [[1, 2], [3, 0]]
        ```
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    while order:
        most = batch_size or _rows_of(lengths[order[0]])
        # As even as can be: a last batch of few rows would be a program of its own.
        number = -(-len(order) // most)
        rows = most if batch_size else -(-len(order) // number)
        yield order[:rows]
        order = order[rows:]


def _rows_of(length: int) -> int:
    """The rows of a batch, a power of two, whose longest source has so many tokens."""
    rows = MOST_ROWS
    while rows > 1 and rows * length > BATCH_TOKENS:
        rows //= 2
    return rows
