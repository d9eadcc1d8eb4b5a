"""Averages of weights: moving ones for evaluation, and means over checkpoints."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_encdec.annotations import AnyPath, KerasModel
from keras_encdec.backend import assign, inner_optimizer
from keras_encdec.training.checkpoint_files import read_checkpoint
from keras_encdec.training.checkpoints import numbered


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
        assign(variable, value)
    try:
        yield
    finally:
        for (variable, _), value in zip(pairs, before, strict=True):
            assign(variable, value)


def average_weights(paths: Sequence[AnyPath], model: KerasModel) -> None:
    """Sets what a model learned to its mean over some checkpoints.

    Args:
        paths: Checkpoints of `Checkpoints`, of the training of this model.
        model: The model that was trained with `fit`, or one built alike.

    Raises:
        ValueError: If there is no checkpoint, or one is damaged, or of another model.

    Example:
        ```python
        import tempfile
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.training import Checkpoints, average_weights

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        model.compile("adam", TokenCrossEntropy())
        checkpoints = Checkpoints(tempfile.mkdtemp(), keep=2, monitor="loss")
        ids, shifted = np.array([[5, 7, 2]]), np.array([[1, 5, 7]])
        options = {"callbacks": [checkpoints], "verbose": 0}
        model.fit((ids, shifted), ids, epochs=3, **options)
        average_weights(checkpoints.paths, model)
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, section 6.1.
    """
    trained = {id(variable) for variable in model.trainable_variables}
    state = numbered("model", model.variables)
    names = {name: v for name, v in state.items() if id(v) in trained}
    paths = list(paths)
    if not paths:
        raise ValueError(
            "A mean needs at least one checkpoint; received none. Train first."
        )
    sums: dict[str, Any] = dict.fromkeys(names, 0.0)
    for path in paths:
        _, arrays = read_checkpoint(path)
        for name, variable in names.items():
            if name not in arrays or arrays[name].shape != tuple(variable.shape):
                raise ValueError(
                    "Checkpoints must be of the training of this model; "
                    f"{str(path)!r} has no {name} of shape {tuple(variable.shape)}. "
                    "Build the model as it was trained."
                )
            sums[name] = sums[name] + arrays[name].astype("float64")
    for name, variable in names.items():
        # Summed in float64, which JAX has not.
        assign(variable, (sums[name] / len(paths)).astype(arrays[name].dtype))
