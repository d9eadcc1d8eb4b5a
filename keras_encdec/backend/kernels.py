"""Operations for which each backend has its own."""

from typing import Any

import keras
from keras import ops

from keras_encdec.annotations import Nested, Tensor
from keras_encdec.backend.environment import by_tensorflow, by_xla, on_cpu
from keras_encdec.backend.rematerialization import running_draws
from keras_encdec.backend.shortcuts import take


def write_at(
    cache: Tensor, index: int | Tensor, entry: Tensor, axis: int = 1
) -> Tensor:
    """Writes one time step, or several in turn, into a cache.

    On PyTorch the cache is written in place; the other backends return a new tensor,
    which their compilers write in place.

    Args:
        cache: Of any shape and dtype, L long along the axis.
        index: The first time step to write, an int or an int32 scalar,
            `0 <= index <= L - T`; or of each row `(R,)`, int32.
        entry: As the cache, but T long along the axis, or broadcasts to it.
        axis: The axis of time, positive.

    Returns:
        The written cache.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import write_at

        print(write_at(ops.zeros((1, 3)), 1, ops.ones((1, 1))))
        ```
    """
    entry = ops.cast(entry, cache.dtype)
    steps = ops.shape(entry)[axis]
    if len(getattr(index, "shape", ())):
        return _written_by_row(cache, index, entry, axis, steps)
    if by_xla() or by_tensorflow() or keras.config.backend() == "torch":
        shape = ops.shape(cache)
        shape = (*shape[:axis], steps, *shape[axis + 1 :])
        entry = ops.broadcast_to(entry, shape)
    if keras.config.backend() == "torch":
        import torch

        # An index that stays a tensor can be traced.
        places = torch.arange(steps, device=cache.device) + index
        # Rows repeated from a single one have no memory of their own.
        return cache.contiguous().index_copy_(axis, places, entry)
    if by_xla():
        if axis > 1 and cache.shape[0] == 1:
            # As `while_loop` has it, so that this is no copy.
            return write_at(cache[0], index, entry[0], axis - 1)[None]
        starts = [index * 0] * len(cache.shape)
        starts[axis] = index
        return ops.slice_update(cache, starts, entry)
    if by_tensorflow():
        return take(
            "tensorflow-writes",
            lambda: _written_in_place(cache, index, entry, axis, steps),
            lambda: _written_anew(cache, index, entry, axis, steps),
        )
    return _written_anew(cache, index, entry, axis, steps)


def _written_by_row(
    cache: Tensor, index: Tensor, entry: Tensor, axis: int, steps: int
) -> Tensor:
    if keras.config.backend() == "jax":
        import jax

        def write(cache: Tensor, index: Tensor, entry: Tensor) -> Tensor:
            return jax.lax.dynamic_update_slice_in_dim(cache, entry, index, axis - 1)

        return jax.vmap(write)(cache, index, entry)
    places = index[:, None] + ops.arange(steps, dtype="int32")  # (R, T)
    if keras.config.backend() == "torch":
        wide = (-1, *[1] * (axis - 1), steps, *[1] * (len(cache.shape) - axis - 1))
        places = places.long().reshape(wide).expand(entry.shape)
        return cache.contiguous().scatter_(axis, places, entry)
    step = ops.arange(ops.shape(cache)[axis], dtype="int32") - index[:, None]  # (R, L)
    here = ops.logical_and(step >= 0, step < steps)
    if entry.shape[axis] != 1:
        # Heads stand between rows and steps.
        entry = ops.moveaxis(entry, axis, 1)
        entry = take_of_each(entry, ops.clip(step, 0, steps - 1))
        entry = ops.moveaxis(entry, 1, axis)
    wide = (-1, *[1] * (axis - 1), ops.shape(step)[1])
    here = ops.reshape(here, (*wide, *[1] * (len(cache.shape) - axis - 1)))
    return ops.where(here, entry, cache)


def _written_in_place(
    cache: Tensor, index: int | Tensor, entry: Tensor, axis: int, steps: int
) -> Tensor:
    import tensorflow as tf

    # Not `slice_update`: it becomes XlaDynamicUpdateSlice, which a TF Serving without
    # XLA cannot run.
    before = [0] * axis
    whole = 2**axis - 1  # A bit for each axis before.
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=cache,
        begin=[*before, index],
        end=[*before, index + steps],
        strides=[1] * (axis + 1),
        value=entry,
        begin_mask=whole,
        end_mask=whole,
    )


def _written_anew(
    cache: Tensor, index: int | Tensor, entry: Tensor, axis: int, steps: int
) -> Tensor:
    # What every runtime has.
    step = ops.arange(ops.shape(cache)[axis]) - index
    here = ops.logical_and(step >= 0, step < steps)
    if entry.shape[axis] != 1:
        entry = ops.take(entry, ops.clip(step, 0, steps - 1), axis=axis)
    here = ops.reshape(here, (-1,) + (1,) * (len(cache.shape) - axis - 1))
    return ops.where(here, entry, cache)


def move_rows(cache: Nested, sources: Tensor) -> Nested:
    """Copies rows of a cache to the places of others.

    On CPUs PyTorch and XLA copy in place, and the rows that move alone.

    Args:
        cache: Nested tensors of R rows each, of any shapes and dtypes.
        sources: The row that each place gets `(R,)`, int32. A row that any place gets
            stays in its own: `sources[sources] == sources`.

    Returns:
        The cache with its rows in their new places.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import move_rows

        print(move_rows((ops.array([[1], [2], [3]]),), ops.array([0, 0, 2], "int32")))
        ```
    """
    places = ops.arange(ops.shape(sources)[0], dtype="int32")
    if keras.config.backend() == "torch" and sources.is_cpu:
        moved = (sources != places).nonzero()[:, 0]
        given = sources.index_select(0, moved)

        def copy_moved(x: Tensor) -> Tensor:
            return x.contiguous().index_copy_(0, moved, x.index_select(0, given))

        return keras.tree.map_structure(copy_moved, cache)
    if by_xla() and on_cpu():

        def move(cache: Nested, sources: Tensor) -> tuple[Nested, Tensor]:
            moves = ops.cast(sources != places, "int32")
            place = ops.cast(ops.argmax(moves), "int32")

            def copy(x: Tensor) -> Tensor:
                rest = [0] * (len(x.shape) - 1)
                row = ops.slice(x, [sources[place], *rest], (1, *ops.shape(x)[1:]))
                return ops.slice_update(x, [place, *rest], row)

            cache = keras.tree.map_structure(copy, cache)
            return cache, ops.where(places == place, place, sources)

        return ops.while_loop(
            lambda cache, sources: ops.any(sources != places), move, (cache, sources)
        )[0]
    return keras.tree.map_structure(lambda x: ops.take(x, sources, axis=0), cache)


def take_of_each(x: Tensor, places: Tensor) -> Tensor:
    """Takes entries of each of several sequences.

    Args:
        x: `(..., N, *rest)`, of any dtype.
        places: Which entries `(..., M)`, int, from 0 to N - 1: others are not looked
            for, which `keras.ops.take_along_axis` does in several operations.

    Returns:
        The entries `(..., M, *rest)`.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import take_of_each

        print(take_of_each(ops.array([[1, 2], [3, 4]]), ops.array([[1], [0]])))
        ```
    """
    axis = len(places.shape) - 1
    rest = [1] * (len(x.shape) - axis - 1)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(x, places, axis=axis, batch_dims=axis)
    if keras.config.backend() == "jax":
        import jax

        places = places.reshape(*places.shape, *rest)
        return jax.numpy.take_along_axis(x, places, axis, mode="promise_in_bounds")
    import torch

    index = places.long().reshape(*places.shape, *rest)
    return torch.gather(x, axis, index.expand(*places.shape, *x.shape[axis + 1 :]))


def first_true(flags: Tensor) -> Tensor:
    """Returns the place of the first True, 0 if there is none.

    Args:
        flags: `(..., V)`, bool.

    Returns:
        `(...,)`, int32.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import first_true

        print(first_true(ops.array([[False, True, True]])))
        ```
    """
    # Of integers: of floats Keras's argmax tells zeros by their signs, with an op that
    # runtimes beside TensorFlow do not have, and ONNX has none of booleans.
    return ops.cast(ops.argmax(ops.cast(flags, "int32"), axis=-1), "int32")


def first_of_largest(x: Tensor, largest: Tensor) -> Tensor:
    """Returns the places of the largest values, of equals the first.

    Args:
        x: `(..., N)`, floating point.
        largest: The largest of them, `(..., 1)`.

    Returns:
        The places `(...,)`, int32, on PyTorch int64.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import first_of_largest

        x = ops.array([[0.1, 0.7, 0.7]])
        print(first_of_largest(x, ops.max(x, axis=-1, keepdims=True)))
        ```
    """
    if keras.config.backend() == "torch":
        # Which says of itself that it finds the first: in one operation of four.
        return x.argmax(-1)
    return first_true(x == largest)


def maxima_want_distance() -> bool:
    """Whether maxima of a few neighbours each take longer than of values far apart.

    Where they do, no order of equal values is promised.

    Example:
        ```python
        from keras_encdec.backend import maxima_want_distance

        print(maxima_want_distance())
        ```
    """
    return keras.config.backend() == "torch"


def log_sum_exp(x: Tensor, best: Tensor, without: int | None = None) -> Tensor:
    """Returns the logarithm of the sum of exponentials, in the fewest passes.

    Args:
        x: `(..., V)`, float32.
        best: The place of the largest value `(...,)`, int32; of those that count.
        without: A place that does not count, an int, or None.

    Returns:
        `(...,)`, float32; nan where a value is, or where none is finite.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import log_sum_exp

        print(log_sum_exp(ops.array([[0.0, 9.0, 0.0]]), ops.array([0]), without=1))
        ```
    """
    largest = take_of_each(x, best[..., None])
    if by_xla():
        # XLA makes one pass of this, but another one of a mask. What does not count is
        # at most 1, and the rest at least 1, so that taking it away loses no digits.
        total = ops.sum(ops.exp(ops.minimum(x - largest, 0.0)), axis=-1)
        if without is not None:
            extra = x[..., without] - largest[..., 0]
            total = total - ops.exp(ops.minimum(extra, 0.0))
        return largest[..., 0] + ops.log(total)
    if without is None:
        logarithms = ops.log_softmax(x)
    elif keras.config.backend() == "torch":
        # A mask takes longer than the rest. What is in its place is put back.
        x = (
            x.contiguous()
        )  # Rows repeated from a single one have no memory of their own.
        import torch

        place = torch.tensor([without], device=x.device)
        kept = x.index_select(-1, place)
        x.index_fill_(-1, place, -float("inf"))
        logarithms = ops.log_softmax(x)
        x.index_copy_(-1, place, kept)
    else:
        places = ops.arange(ops.shape(x)[-1], dtype="int32")
        logarithms = ops.log_softmax(ops.where(places == without, -float("inf"), x))
    return (largest - take_of_each(logarithms, best[..., None]))[..., 0]


def replace_nan(x: Tensor, value: float) -> Tensor:
    """Replaces what is nan or infinite upwards.

    Args:
        x: Of any shape, floating point.
        value: What comes in its place.

    Returns:
        As `x`.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import replace_nan

        print(replace_nan(ops.array([0.1, -float("inf"), float("nan")]), 9.0))
        ```
    """
    if keras.config.backend() == "torch":
        # In one pass, a seventh of the time of comparing and choosing.
        import torch

        return torch.nan_to_num(x, nan=value, posinf=value, neginf=-float("inf"))
    # Not that which is nan or infinite: TensorFlow makes "not less" "greater or equal".
    return ops.where(x < float("inf"), x, value)


def fused_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Attends by the fastest kernel of the running backend.

    Args:
        queries: `(B, N, T, H)`, float.
        keys: `(B, N, S, H)`, float.
        values: `(B, N, S, H)`, float.
        mask: Bool, True = attend, broadcasts to `(B, N, T, S)`, or None.
        bias: Added to the scores, likewise, in the place of a mask, or None.

    Returns:
        `(B, N, T, H)`, in the dtype of the values. For a query whose keys are all
        masked it has no meaning.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import fused_attention

        x = ops.ones((1, 2, 3, 4))
        print(fused_attention(x, x, x).shape)
        ```
    """
    if keras.config.backend() == "torch":
        import torch

        # On CPUs its kernel takes single queries head by head.
        slow = queries.is_cpu and queries.shape[2] == 1 and keys.numel() >= 2**17
        if not slow:
            if bias is not None:
                mask = ops.cast(bias, queries.dtype)
            mask = mask if mask is None else ops.convert_to_tensor(mask)
            return torch.nn.functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask
            )
    lengths = queries.shape[2], keys.shape[2]
    # For short ones XLA's own products are faster than cuDNN's kernel.
    if keras.config.backend() == "jax" and not on_cpu() and max(lengths) > 64:
        # cuDNN's kernel takes no broadcast mask and, with one, no odd length.
        mask, bias = (
            x
            if x is None
            else ops.broadcast_to(x, (*(1, 1, *x.shape)[-4:-2], *lengths))
            for x in (mask, bias)
        )
        flash = None if all(length % 2 == 0 for length in lengths) else False
        # The transpositions vanish in the compiled program.
        queries, keys, values = (
            ops.transpose(x, (0, 2, 1, 3)) for x in (queries, keys, values)
        )
        y = ops.dot_product_attention(
            queries, keys, values, bias=bias, mask=mask, flash_attention=flash
        )
        return ops.transpose(y, (0, 2, 1, 3))
    tensors = queries, keys, values, mask, bias
    if by_tensorflow() and keras.backend.standardize_dtype(values.dtype) == "float32":
        return take(
            "tensorflow-short-attention",
            lambda: _attention_by_length(*tensors),
            lambda: _attention(*tensors),
        )
    return _attention(*tensors)


def _attention_by_length(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
) -> Tensor:
    import tensorflow as tf

    # The kernels of oneDNN, which TensorFlow takes in the place of its own, are faster
    # once they have started, which takes them most of a step's time.
    tensors = queries, keys, values, mask, bias
    length = ops.shape(queries)[2]  # A tensor where it is not known.
    if isinstance(length, int):
        return _attention(*tensors, few_queries=length < 8)
    return tf.cond(
        length < 8,
        lambda: _attention(*tensors, few_queries=True),
        lambda: _attention(*tensors),
    )


def _attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    few_queries: bool = False,
) -> Tensor:
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf
    if few_queries:
        scores = tf.raw_ops.BatchMatMulV3(
            x=queries, y=keys, Tout=tf.float32, adj_y=True
        )
    else:
        scores = ops.einsum("bnth,bnsh->bnts", queries, keys)
    scores = ops.cast(scores, "float32") * queries.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + ops.cast(bias, "float32")
    if mask is not None:
        scores = ops.where(mask, scores, -1e30)
    if few_queries:
        weights = tf.exp(tf.nn.log_softmax(scores))
        return tf.raw_ops.BatchMatMulV3(x=weights, y=values, Tout=tf.float32)
    if keras.config.backend() != "jax":
        on_torch = keras.config.backend() == "torch"
        weights = scores.softmax(-1) if on_torch else tf.nn.softmax(scores)
        return ops.matmul(ops.cast(weights, values.dtype), values)
    weights = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))
    y = ops.matmul(ops.cast(weights, values.dtype), values)
    return y / ops.cast(ops.sum(weights, axis=-1, keepdims=True), y.dtype)


def drop_out(x: Tensor, rate: float, seed: Any) -> Tensor:
    """Sets elements to 0 with a probability, and scales the others so that means stay.

    Where it is faster, a draw of 16 bits decides, and the probability is rounded to a
    multiple of 2**-16.

    Args:
        x: Of any shape, float.
        rate: The probability.
        seed: A `keras.random.SeedGenerator`; PyTorch draws from its own generator.

    Returns:
        As `x`.

    Example:
        ```python
        import keras
        from keras_encdec.backend import drop_out

        print(drop_out(keras.ops.ones((2, 4)), 0.5, keras.random.SeedGenerator(0)))
        ```
    """
    draws = running_draws()
    dropped = round(rate * 2**16)
    if dropped == 2**16:
        return ops.zeros_like(x)
    scale = 2**16 / (2**16 - dropped)
    if draws is not None and keras.config.backend() != "torch":
        seed = draws.seed(seed)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        shape = tf.shape(x)
        size = tf.reduce_prod(shape)
        words = tf.random.stateless_uniform(
            [(size + 1) // 2], tf.cast(seed.next(), "int32"), None, None, "int32"
        )
        bits = tf.reshape(tf.bitcast(words, "uint16"), [-1])[:size]
        kept = tf.reshape(bits, shape) >= tf.constant(dropped, "uint16")
        return tf.where(kept, x * tf.cast(scale, x.dtype), tf.cast(0, x.dtype))
    if keras.config.backend() == "torch":
        import torch

        if not x.is_cpu and draws is None:
            # GPUs do all of it in one kernel.
            return torch.nn.functional.dropout(x, rate)

        def draw() -> Tensor:
            size = (x.numel() + 3) // 4
            words = torch.randint(-(2**63), 2**63 - 1, (size,), device=x.device)
            bits = words.view(torch.int16)[: x.numel()]
            return bits.reshape(x.shape) >= dropped - 2**15

        kept = draw() if draws is None else draws.kept(draw)
        return x * kept.to(x.dtype).mul_(scale)
    # XLA draws 32 bits within the loop that drops, in no more time.
    return keras.random.dropout(x, rate, seed=seed)
