"""Attention masks: boolean, True = attend.

Legend of shapes: B batch, T target, S source, L any length.
"""

from keras import ops

from keras_encdec.layers.positions import positions_from


def padding_mask(ids, padding_id=0):
    """Returns the mask that lets every query attend to the tokens, not the padding.

    Args:
        ids: Token ids `(B, L)`, integer. `(B, S)` gives the source padding mask,
            `(B, T)` the target padding mask.
        padding_id: The id of the padding token.

    Returns:
        `(B, 1, 1, L)`, bool.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import padding_mask

        print(padding_mask(ops.array([[5, 7, 0]])))
        ```
    """
    return attend_to(ops.not_equal(ids, padding_id))


def attend_to(mask):
    """Reshapes a Keras mask into a mask of attention.

    Args:
        mask: `(B, L)`, bool, True = a token, as `compute_mask` returns it; or, as
            Keras's own attention takes it, `(B, T, S)`, the same for all heads.

    Returns:
        `(B, 1, 1, L)`, or `(B, 1, T, S)`, bool; a 4D mask as it is.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import attend_to

        print(attend_to(ops.array([[True, False]])).shape)
        ```
    """
    mask = ops.cast(mask, "bool")
    axes = {2: (1, 2), 3: (1,), 4: ()}[len(mask.shape)]
    return ops.expand_dims(mask, axes) if axes else mask


def look_ahead_mask(length):
    """Returns the mask that lets position t attend to positions 0 to t.

    Args:
        length: The target length T, an int or an int32 scalar.

    Returns:
        `(1, 1, T, T)`, bool.

    Example:
        ```python
        from keras_encdec.layers import look_ahead_mask

        print(look_ahead_mask(3)[0, 0])
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, section 3.2.3.
    """
    positions = ops.arange(length, dtype="int32")
    return ops.expand_dims(positions[:, None] >= positions[None, :], (0, 1))


def step_mask(index, length, steps=1):
    """Returns the look-ahead mask's rows for a step of cached decoding.

    Args:
        index: The step's first position, an int or an int32 scalar; or `(B,)`, that of
            each row.
        length: The length L of the cache, an int or an int32 scalar.
        steps: The number of positions T decoded at once, an int or an int32 scalar.

    Returns:
        `(1, 1, T, L)`, or `(B, 1, T, L)`, bool: row t is True up to and including
        `index + t`.

    Example:
        ```python
        from keras_encdec.layers import step_mask

        print(step_mask(1, 4)[0, 0, 0])
        ```
    """
    positions = ops.expand_dims(positions_from(index, steps), -1)
    mask = ops.arange(length, dtype="int32") <= positions
    return ops.expand_dims(mask, 1 if len(mask.shape) == 3 else (0, 1))


def combine_masks(*masks):
    """Returns the conjunction of masks, leaving out those that are None.

    Args:
        *masks: Boolean masks that broadcast to `(B, N, T, S)`, or None. A padding
            mask `(B, 1, 1, T)` and a look-ahead mask `(1, 1, T, T)` give the combined
            target mask `(B, 1, T, T)`, which broadcasts over heads.

    Returns:
        The combined mask, bool, or None if there is none.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import combine_masks, look_ahead_mask, padding_mask

        padding = padding_mask(ops.array([[5, 7, 0]]))
        print(combine_masks(padding, look_ahead_mask(3)).shape)
        ```
    """
    combined = None
    for mask in masks:
        if mask is not None:
            combined = mask if combined is None else ops.logical_and(combined, mask)
    return combined


def tokens_mask(mask):
    """Returns the part of an explicit mask that an output may carry on.

    Args:
        mask: `(B, L)` of tokens, a 3D or 4D mask of attention, or None.

    Returns:
        The mask of tokens, or None: a mask of attention says nothing of tokens.
    """
    return mask if mask is not None and len(mask.shape) == 2 else None
