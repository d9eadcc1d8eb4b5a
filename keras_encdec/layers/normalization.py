"""Normalization of each position's features."""

import keras

from keras_encdec.layers.checks import require_number, require_one_of


def make_normalization(kind, *, epsilon=1e-5, **kwargs):
    """Returns the layer that normalizes each position's features.

    Args:
        kind: `"layer"` for `keras.layers.LayerNormalization` or `"rms"` for
            `keras.layers.RMSNormalization`.
        epsilon: Added to the variance.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Returns:
        A Keras layer that keeps the mask of its input.

    Raises:
        ValueError: If `kind` is unknown.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import make_normalization

        print(make_normalization("rms")(ops.ones((1, 2, 4))))
        ```
    """
    require_one_of(("layer", "rms"), normalization=kind)
    require_number(0, 1, epsilon=epsilon)
    if kind == "layer":
        return keras.layers.LayerNormalization(epsilon=epsilon, **kwargs)
    layer = keras.layers.RMSNormalization(epsilon=epsilon, **kwargs)
    layer.supports_masking = True  # Keras's layer drops the mask, with a warning.
    return layer
