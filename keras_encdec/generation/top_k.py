"""The largest of many values, found in two stages.

Legend of shapes: V values, k largest ones, G groups of W.
"""

from keras import ops


def top_k(x, k):
    """Returns the k largest values and their places, as `keras.ops.top_k` does.

    Of a vocabulary a sort of all candidates takes longer than the rest of a beam's
    step. The k largest values lie within the k groups of largest maxima, and a maximum
    is read at the speed of memory.

    Args:
        x: `(..., V)`, float32.
        k: How many, an int from 1 to V.

    Returns:
        The values `(..., k)`, the largest first, and their places `(..., k)`, int32; of
        equals the first ones, but on PyTorch any.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.top_k import top_k

        print(top_k(ops.array([[0.1, 0.7, 0.2]]), 2)[1])
        ```
    """
    size = x.shape[-1]
    width = _width(size, k)
    groups = -(-size // width)
    if size < 1000 or groups <= k:
        values, places = ops.top_k(x, k)
        return values, ops.cast(places, "int32")
    outer = tuple(ops.shape(x))[:-1]
    x = ops.reshape(x, (-1, size))
    if groups * width > size:
        fill = [[0, 0], [0, groups * width - size]]
        x = ops.pad(x, fill, constant_values=-float("inf"))
    x = ops.reshape(x, (-1, groups, width))
    best = ops.top_k(ops.max(x, axis=-1), k)[1]
    # In order, so that of equals the first one stays the first one.
    best = ops.sort(ops.cast(best, "int32"), axis=-1)  # (rows, k)
    candidates = ops.take_along_axis(x, best[..., None], axis=1)  # (rows, k, W)
    values, places = ops.top_k(ops.reshape(candidates, (-1, k * width)), k)
    places = ops.cast(places, "int32")
    groups = ops.take_along_axis(best, places // width, axis=-1)
    places = groups * width + places % width
    shape = (*outer, k)
    return ops.reshape(values, shape), ops.reshape(places, shape)


def _width(size, k):
    """The width of groups: about that which leaves the fewest values to be sorted."""
    best = max(1, round((size / k) ** 0.5))
    near = range(max(1, best // 2), 2 * best + 1)
    # One that divides the size, if there is any: filling up would copy all values.
    return min(near, key=lambda width: (size % width > 0, abs(width - best)))
