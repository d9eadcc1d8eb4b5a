"""A cache that grows in a few steps, for most rows end long before the largest length.

Legend of shapes: R target rows, L largest length.
"""

from typing import Any

from keras import ops, tree

from keras_encdec.annotations import KerasModel, Tensor


def cache_lengths(length: int) -> list[int]:
    """Returns the lengths that a cache has in turn, the last one being `length`.

    Every step reads the whole cache, and beams reorder it, whatever it holds so far; on
    the other hand a loop is compiled for each length.

    Args:
        length: The largest length L, an int.

    Returns:
        A list of ints.

    Example:
        ```python
        from keras_encdec.generation.cache_growth import cache_lengths

        print(cache_lengths(40), cache_lengths(100), cache_lengths(512))
        ```
    """
    lengths: list[int] = []
    size = 32
    while 2 * size <= length:
        lengths.append(size)
        size *= 2
    return [*lengths, length]


def extended_cache(
    cache: Any, model: KerasModel, rows: int | Tensor, length: int
) -> Any:
    """Returns a cache with room for more steps.

    Args:
        cache: What `model.new_cache` returned for a smaller length, filled by steps.
        model: The model it is of.
        rows: The number of its rows R, an int or an int32 scalar.
        length: The larger number of steps, an int.

    Returns:
        What `model.new_cache(rows, length)` returns, holding what the cache holds.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.generation.cache_growth import extended_cache

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        cache = extended_cache(model.new_cache(3, 4), model, 3, 8)
        print(cache[0][0].shape)
        ```
    """

    def fill_up(old: Tensor, new: Tensor) -> Tensor:
        # A size that only the running program knows is the number of rows.
        missing = [
            0 if None in sizes else sizes[1] - sizes[0]
            for sizes in zip(old.shape, new.shape, strict=True)
        ]
        return ops.pad(old, [(0, n) for n in missing]) if any(missing) else old

    return tree.map_structure(fill_up, cache, model.new_cache(rows, length))
