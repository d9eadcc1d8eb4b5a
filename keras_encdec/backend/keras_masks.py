"""The mask that Keras hangs on a tensor, which has no public name."""

from keras.src.backend import get_keras_mask

from keras_encdec.annotations import Tensor


def carried_mask(x: Tensor) -> Tensor | None:
    """Returns the mask that a tensor carries, or None.

    JAX's arrays take no attributes: of them Keras keeps a table.

    Args:
        x: A tensor that a layer returned.

    Returns:
        Which positions are tokens, `(B, L)`, bool, or None.

    Example:
        ```python
        from keras import ops
        from keras_encdec import TokenEmbedding
        from keras_encdec.backend import carried_mask

        print(carried_mask(TokenEmbedding(10, 4)(ops.array([[5, 0]]))))
        ```
    """
    return get_keras_mask(x)
