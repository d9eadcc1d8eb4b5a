"""The dense layers that attention and feed-forward networks are made of."""

import keras


def built_dense(layer, units, name, input_shape):
    """Returns a built `Dense` of a layer's `use_bias` and dtype policy.

    Args:
        layer: The `keras.layers.Layer` it is made for.
        units: The size of its outputs.
        name: Its name.
        input_shape: The shape of its inputs, `(..., D)`.

    Example:
        ```python
        from keras_encdec import FeedForward
        from keras_encdec.layers.dense import built_dense

        print(built_dense(FeedForward(32), 8, "output", (None, 16)).kernel.shape)
        ```
    """
    dense = keras.layers.Dense(
        units, use_bias=layer.use_bias, dtype=layer.dtype_policy, name=name
    )
    dense.build(input_shape)
    return dense
