"""The largest of many values, found in two stages.

The largest values lie within the groups of largest maxima, and maxima are read at the
speed of memory. What is done to all values of a vocabulary, a sort or a search for
their places, takes longer than the rest of a small model's step.

Legend of shapes: V values, k largest ones, G groups of W.
"""

import numpy as np
from keras import ops

from keras_encdec.annotations import Tensor
from keras_encdec.backend import first_of_largest, maxima_want_distance, take_of_each

# Fewer are searched at once.
FEWEST = 1000


def top_k(x: Tensor, k: int, without: int | None = None) -> tuple[Tensor, Tensor]:
    """Returns the k largest values and their places, as `keras.ops.top_k` does.

    Args:
        x: `(..., V)`, float32.
        k: How many, an int from 1 to V.
        without: A place that is taken to hold -inf, an int, or None: here that costs
            nothing, where masking costs a pass over all values.

    Returns:
        The values `(..., k)`, the largest first, and their places `(..., k)`, int32; of
        equals the first ones, but on PyTorch any.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.samplers.top_k import top_k

        print(top_k(ops.array([[0.1, 0.7, 0.2]]), 2)[1])
        ```
    """
    size = x.shape[-1]  # None of a shortlist within a graph.
    if size is None or size < FEWEST or size <= k * _width(size, k):
        if without is not None:
            x = ops.where(ops.arange(size) == without, -float("inf"), x)
        values, places = ops.top_k(x, k)
        return values, ops.cast(places, "int32")
    width, outer = _width(size, k), tuple(ops.shape(x))[:-1]
    number = size // width
    x, in_groups = ops.reshape(x, (-1, size)), number * width
    apart = maxima_want_distance()
    shape = (width, number) if apart else (number, width)
    groups = ops.reshape(x[:, :in_groups], (-1, *shape))  # (rows, G, W)
    places = np.arange(in_groups, dtype="int32").reshape(shape)  # (G, W)
    if apart:
        groups, places = ops.swapaxes(groups, 1, 2), places.T
    maxima = ops.max(groups, axis=-1)  # (rows, G)
    if without is not None and without < in_groups:
        ((group, _),) = np.argwhere(places == without)
        others = ops.where(places[group] == without, -float("inf"), groups[:, group])
        others = ops.max(others, axis=-1, keepdims=True)
        maxima = ops.where(np.arange(number) == group, others, maxima)
    best = ops.top_k(maxima, k)[1]
    # In order, so that of equals the first one stays the first one.
    best = ops.sort(ops.cast(best, "int32"), axis=-1)  # (rows, k)
    candidates = ops.reshape(take_of_each(groups, best), (-1, k * width))
    places = ops.reshape(ops.take(places, best, axis=0), (-1, k * width))
    if in_groups < size:
        # Too few for a group.
        left = np.arange(in_groups, size, dtype="int32")
        left = ops.broadcast_to(left, (ops.shape(x)[0], len(left)))
        candidates = ops.concatenate([candidates, x[:, in_groups:]], axis=-1)
        places = ops.concatenate([places, left], axis=-1)
    if without is not None:
        candidates = ops.where(places == without, -float("inf"), candidates)
    values, best = ops.top_k(candidates, k)
    places = take_of_each(places, ops.cast(best, "int32"))
    return ops.reshape(values, (*outer, k)), ops.reshape(places, (*outer, k))


def largest(x: Tensor) -> Tensor:
    """Returns the largest values.

    Args:
        x: `(..., V)`, floating point.

    Returns:
        `(...,)`; in a compiled function `argmax` finds them in no further time.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.samplers.top_k import largest

        print(largest(ops.array([[0.1, 0.7, 0.2]])))
        ```
    """
    size = x.shape[-1]
    if size is None or size < FEWEST:
        return ops.max(x, axis=-1)
    # The operations of `argmax`, each of which is then done once.
    maxima = ops.max(_filled_up(x, _width(size, 1)), axis=-1)
    highest = ops.max(maxima, axis=-1, keepdims=True)
    return ops.reshape(highest, tuple(ops.shape(x))[:-1])


def argmax(logits: Tensor) -> Tensor:
    """Returns the tokens of the largest logits, the first of equals.

    Args:
        logits: `(..., V)`, floating point.

    Returns:
        `(...,)`, int32.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.samplers.top_k import argmax

        print(argmax(ops.array([[0.1, 0.7, 0.7]])))
        ```
    """
    size = logits.shape[-1]
    if size is None or size < FEWEST:
        tokens = first_of_largest(logits, largest(logits)[..., None])
        return ops.cast(tokens, "int32")
    outer = tuple(ops.shape(logits))[:-1]
    width = _width(size, 1)
    groups = _filled_up(logits, width)
    maxima = ops.max(groups, axis=-1)
    highest = ops.max(maxima, axis=-1, keepdims=True)
    group = first_of_largest(maxima, highest)
    candidates = take_of_each(groups, group[:, None])[:, 0]
    tokens = group * width + first_of_largest(candidates, highest)
    return ops.cast(ops.reshape(tokens, outer), "int32")


def _filled_up(x: Tensor, width: int) -> Tensor:
    """Values `(..., V)` as `(rows, G, W)`, the last group filled up with -inf."""
    size = x.shape[-1]
    groups = -(-size // width)
    x = ops.reshape(x, (-1, size))
    if groups * width > size:
        fill = [[0, 0], [0, groups * width - size]]
        x = ops.pad(x, fill, constant_values=-float("inf"))
    return ops.reshape(x, (-1, groups, width))


def _width(size: int, k: int) -> int:
    """The width of groups: about that which leaves the fewest values to be sorted."""
    best = max(32, round((size / k) ** 0.5))

    def left(width: int) -> float:
        return size / width + k * width

    # One that divides the size, if there is any near: with others values are copied.
    near = (width for width in range(16, 8 * best) if size % width == 0)
    width = min(near, key=left, default=best)
    return width if left(width) < 4 * left(best) else best
