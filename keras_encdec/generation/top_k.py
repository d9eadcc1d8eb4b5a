"""The largest of many values, found in two stages.

The largest values lie within the groups of largest maxima, and maxima are read at the
speed of memory. What is done to all values of a vocabulary, a sort or a search for
their places, takes longer than the rest of a small model's step.

Legend of shapes: V values, k largest ones, G groups of W.
"""

from keras import ops


def top_k(x, k):
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
        from keras_encdec.generation.top_k import top_k

        print(top_k(ops.array([[0.1, 0.7, 0.2]]), 2)[1])
        ```
    """
    size = x.shape[-1]
    width = _divisor_near((size / k) ** 0.5, size)
    if size < 1000 or size <= k * width:
        values, places = ops.top_k(x, k)
        return values, ops.cast(places, "int32")
    outer = tuple(ops.shape(x))[:-1]
    # A group is a column: to take the maxima of short rows is many times as slow.
    x = _folded(x, width)  # (rows, W, G)
    groups = x.shape[-1]
    best = ops.top_k(ops.max(x, axis=1), k)[1]
    # In order, so that of equals the first one stays the first one.
    best = ops.sort(ops.cast(best, "int32"), axis=-1)  # (rows, k)
    candidates = ops.take_along_axis(x, best[:, None, :], axis=2)  # (rows, W, k)
    values, places = ops.top_k(ops.reshape(candidates, (-1, width * k)), k)
    places = ops.cast(places, "int32")
    columns = ops.take_along_axis(best, places % k, axis=-1)
    places = places // k * groups + columns
    shape = (*outer, k)
    return ops.reshape(values, shape), ops.reshape(places, shape)


def likeliest(logits):
    """Returns the tokens of the largest logits, the first of equals.

    Args:
        logits: `(..., V)`, floating point.

    Returns:
        `(...,)`, int32.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.top_k import likeliest

        print(likeliest(ops.array([[0.1, 0.7, 0.7]])))
        ```
    """
    size = logits.shape[-1]
    if size < 1000:
        return first_true(logits == ops.max(logits, axis=-1, keepdims=True))
    outer = tuple(ops.shape(logits))[:-1]
    groups = _folded(logits, _divisor_near(size**0.5, size))  # (rows, G, W)
    maxima = ops.max(groups, axis=-1)
    highest = ops.max(maxima, axis=-1, keepdims=True)
    group = first_true(maxima == highest)
    candidates = ops.take_along_axis(groups, group[:, None, None], axis=1)[:, 0]
    tokens = group * groups.shape[-1] + first_true(candidates == highest)
    return ops.reshape(tokens, outer)


def first_true(flags):
    """Returns the place of the first True, 0 if there is none.

    Args:
        flags: `(..., V)`, bool.

    Returns:
        `(...,)`, int32.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.top_k import first_true

        print(first_true(ops.array([[False, True, True]])))
        ```
    """
    # Of integers: of floats Keras's argmax tells zeros by their signs, with an op that
    # runtimes beside TensorFlow do not have, and ONNX has none of booleans.
    return ops.cast(ops.argmax(ops.cast(flags, "int32"), axis=-1), "int32")


def _folded(x, parts):
    """Values `(..., V)` in a number of equal parts, `(rows, parts, V / parts)`.

    If need be they are filled up with -inf.
    """
    size = x.shape[-1]
    length = -(-size // parts)
    x = ops.reshape(x, (-1, size))
    if parts * length > size:
        fill = [[0, 0], [0, parts * length - size]]
        x = ops.pad(x, fill, constant_values=-float("inf"))
    return ops.reshape(x, (-1, parts, length))


def _divisor_near(number, size):
    """The whole number nearest to another one, if any, that divides a size."""
    best = max(1, round(number))
    near = range(max(1, best // 2), 2 * best + 1)
    # Where there is none, all values are copied to be filled up.
    return min(near, key=lambda divisor: (size % divisor > 0, abs(divisor - best)))
