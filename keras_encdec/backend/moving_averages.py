"""Moving averages of weights, in memory of their own."""

import keras


def part_averages(optimizer):
    """Parts the moving averages of an optimizer from the weights they became.

    At the end of `fit` Keras gives the weights their averages, under JAX in the same
    buffers. The next step, which gives its buffers away, would give them away twice.

    Args:
        optimizer: A Keras optimizer, or None.

    Example:
        ```python
        import keras
        from keras_encdec.backend import part_averages

        part_averages(keras.optimizers.Adam(use_ema=True))
        ```
    """
    if keras.config.backend() != "jax":
        return
    # Mixed precision wraps the optimizer that averages.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    for average in getattr(optimizer, "_model_variables_moving_average", ()):
        if average is not None:
            average.assign(keras.ops.copy(average.value))
