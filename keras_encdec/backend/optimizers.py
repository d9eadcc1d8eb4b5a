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


def part_averages(model: Any) -> None:
    """Parts the moving averages of a model's optimizer from the weights they became.

    At the end of `fit` Keras gives the weights their averages, under JAX in the same
    buffers. The next step, which gives its buffers away, would give them away twice.

    Args:
        model: A `keras.Model`.

    Example:
        ```python
        import keras
        from keras_encdec.backend import part_averages

        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(use_ema=True), "mse")
        part_averages(model)
        ```
    """
    if keras.config.backend() != "jax":
        return
    weights = {id(weight.value) for weight in model.variables}
    for variable in getattr(model.optimizer, "variables", ()):
        if id(variable.value) in weights:
            variable.assign(keras.ops.copy(variable.value))
