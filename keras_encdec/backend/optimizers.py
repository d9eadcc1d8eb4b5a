"""What is inside of Keras's optimizers: one that is wrapped, averages of weights."""

from typing import Any

import keras


def inner_optimizer(optimizer: Any) -> Any:
    """Returns the optimizer that accumulates and averages: mixed precision wraps it.

    Args:
        optimizer: A Keras optimizer, or None.

    Example:
        ```python
        import keras
        from keras_encdec.backend import inner_optimizer

        wrapped = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
        print(inner_optimizer(wrapped).name)
        ```
    """
    return getattr(optimizer, "inner_optimizer", optimizer)


def part_averages(optimizer: Any) -> None:
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
    averaging = inner_optimizer(optimizer)
    for average in getattr(averaging, "_model_variables_moving_average", ()):
        if average is not None:
            average.assign(keras.ops.copy(average.value))
