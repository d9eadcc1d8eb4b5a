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
    _MaskReader(found.append)(x)
    return found[0]


class _MaskReader(keras.layers.Layer):
    """Tells the mask that Keras gives to a layer with its input."""

    def __init__(self, tell):
        super().__init__(name="mask_reader", autocast=False)
        self._tell, self.supports_masking = tell, True

    def call(self, x, mask=None):
        self._tell(mask)
        return x

    def compute_output_spec(self, x, mask=None):
        # Which Keras asks where there are no values.
        return self.call(x, mask)
