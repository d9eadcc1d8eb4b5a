"""Moving averages of weights: used for evaluation, put aside for training."""

import contextlib
from collections.abc import Iterator

import keras

from keras_encdec.annotations import KerasModel
from keras_encdec.backend import inner_optimizer


@contextlib.contextmanager
def averaged_weights(model: KerasModel) -> Iterator[None]:
    """Gives a model the moving averages of its weights, as long as the block runs.

    Without `use_ema=True` in the optimizer, nothing is changed. Unlike
    `keras.callbacks.SwapEMAWeights`, which adds and subtracts, it brings back the very
    same weights, so that evaluation leaves no trace in training.

    Args:
        model: A compiled `keras.Model`.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.training import averaged_weights

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        optimizer = keras.optimizers.Adam(use_ema=True, ema_momentum=0.9)
        model.compile(optimizer, TokenCrossEntropy())
        ids, shifted = np.array([[5, 7, 2]]), np.array([[1, 5, 7]])
        model.fit((ids, shifted), ids, verbose=0)
        with averaged_weights(model):
            print(model.evaluate((ids, shifted), ids, verbose=0))
        ```

    Reference:
        Polyak and Juditsky 1992, Acceleration of Stochastic Approximation by Averaging.
    """
    optimizer = inner_optimizer(model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    averages = optimizer._model_variables_moving_average
    pairs = list(zip(optimizer._trainable_variables, averages, strict=True))
    # Copies: JAX gives away the buffers of what it trains or evaluates.
    before, values = (
        [keras.ops.convert_to_numpy(variable).copy() for variable in variables]
        for variables in zip(*pairs, strict=True)
    )
    for (variable, _), value in zip(pairs, values, strict=True):
        variable.assign(value)
    try:
        yield
    finally:
        for (variable, _), value in zip(pairs, before, strict=True):
            variable.assign(value)
