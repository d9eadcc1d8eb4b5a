"""The mask that Keras hangs on a tensor, as it gives it to a layer."""

import keras


def carried_mask(x):
    """Returns the mask that a tensor carries, or None.

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
    found = []
    reader = keras.layers.Lambda(lambda x, mask=None: found.append(mask) or x)
    reader.supports_masking = True
    reader(x)
    return found[0]
