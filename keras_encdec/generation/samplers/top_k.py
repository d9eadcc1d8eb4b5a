"""The largest of many values, found in two stages.

The largest values lie within the groups of largest maxima, and maxima are read at the
speed of memory. What is done to all values of a vocabulary, a sort or a search for
their places, takes longer than the rest of a small model's step.

Legend of shapes: V values, k largest ones, G groups of W.
"""

from keras import ops

from keras_encdec.annotations import Tensor
from keras_encdec.backend import first_of_largest, take_of_each


def top_k(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Returns the k largest values and their places, as `keras.ops.top_k` does.

    Args:
        x: `(..., V)`, float32.
        k: How many, an int from 1 to V.

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
    if size is None or size < 1000 or size <= k * _width(size, k):
        values, places = ops.top_k(x, k)
        return values, ops.cast(places, "int32")
    width = _width(size, k)
    outer = tuple(ops.shape(x))[:-1]
    x = _in_groups(x, width)
    best = ops.top_k(ops.max(x, axis=-1), k)[1]
    # In order, so that of equals the first one stays the first one.
    best = ops.sort(ops.cast(best, "int32"), axis=-1)  # (rows, k)
    candidates = take_of_each(x, best)  # (rows, k, W)
    values, places = ops.top_k(ops.reshape(candidates, (-1, k * width)), k)
    places = ops.cast(places, "int32")
    groups = take_of_each(best, places // width)
    places = groups * width + places % width
    shape = (*outer, k)
    return ops.reshape(values, shape), ops.reshape(places, shape)


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
    if size is None or size < 1000:
        return ops.max(x, axis=-1)
    # The operations of `argmax`, each of which is then done once.
    maxima = ops.max(_in_groups(x, _width(size, 1)), axis=-1)
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
    if size is None or size < 1000:
        tokens = first_of_largest(logits, largest(logits)[..., None])
        return ops.cast(tokens, "int32")
    outer = tuple(ops.shape(logits))[:-1]
    width = _width(size, 1)
    groups = _in_groups(logits, width)
    maxima = ops.max(groups, axis=-1)
    highest = ops.max(maxima, axis=-1, keepdims=True)
    group = first_of_largest(maxima, highest)
    candidates = take_of_each(groups, group[:, None])[:, 0]
    tokens = group * width + first_of_largest(candidates, highest)
    return ops.cast(ops.reshape(tokens, outer), "int32")


def _in_groups(x: Tensor, width: int) -> Tensor:
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
    # PyTorch takes the maxima of groups of less than 32 many times as slowly.
    least = max(32, round((size / k) ** 0.5))
    # One that divides the size, if there is any: filling up would copy all values.
    near = (width for width in range(least, 2 * least) if size % width == 0)
    return next(near, least)
