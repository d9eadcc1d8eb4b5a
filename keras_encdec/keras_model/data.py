"""What is given to the verbs of a Keras model: ids, weights, or nothing at all.

Shapes: B batch, T target.
"""

import warnings
from typing import Any

import keras
import numpy as np


def as_array(x: Any) -> np.ndarray | None:
    """Returns ids as a NumPy array, None if they are not to be looked at.

    Args:
        x: An array, a list, a tensor of any backend, or anything else.

    Returns:
        A NumPy array; None for what has no values yet, or gives them one by one.

    Raises:
        ValueError: If rows are of different lengths.

    Example:
        ```python
        from keras_encdec.keras_model import as_array

        print(as_array([[5, 7, 2]]).shape)
        ```
    """
    if hasattr(x, "detach"):
        x = x.detach().cpu()  # PyTorch's, wherever it is.
    if not isinstance(x, list | tuple) and not hasattr(x, "__array__"):
        return None
    if isinstance(x, keras.KerasTensor):
        return None
    try:
        return np.asarray(x)
    except NotImplementedError:  # TensorFlow's, within a graph.
        return None
    except ValueError as error:
        raise ValueError(
            "Rows of ids must have one length, to make an array; received rows of "
            f"different lengths. Pad them with the model's padding id. ({error})"
        ) from None


def source_and_target(x: Any) -> tuple[Any, Any]:
    """Returns the source and the target, None each if that is not what it is.

    Args:
        x: What a verb of Keras was given as `x`.
    """
    if isinstance(x, dict):
        return x.get("source"), x.get("target")
    if isinstance(x, tuple | list) and len(x) == 2:
        return x[0], x[1]
    return None, None


def refuse_nothing(data: Any) -> None:
    """Refuses no rows and no batches, which Keras misses when it looks for its logs.

    Args:
        data: What a verb of Keras was given: arrays, or batches of them.

    Raises:
        ValueError: If it has the length 0.
    """
    for x in (data, *source_and_target(data)):
        if isinstance(x, tuple | dict) or not hasattr(x, "__len__"):
            continue
        try:
            number = len(x)
        except TypeError:  # Of a pipeline that does not know it, or has no end.
            continue
        if number == 0:
            is_array = isinstance(x, list) or hasattr(x, "shape")
            raise ValueError(
                f"There must be at least one {'row' if is_array else 'batch'}; "
                f"received {f'shape {np.shape(x)}' if is_array else repr(x):.200}. "
                "Check what was read."
            )


def weights_of_tokens(weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the weight of each token, to be given to Keras as `sample_weight`.

    Args:
        weights: A weight for each row, `(B,)` or `(B, 1)`, or for each token, `(B, T)`.
        labels: `(B, T)`.

    Returns:
        `(B, T)`, always: TensorFlow keeps the graph of the first call.

    Raises:
        ValueError: If they have another shape, or are not finite.
    """
    if weights.shape == labels.shape[:1]:
        weights = weights[:, None]
    if weights.shape not in (labels.shape, (len(labels), 1)):
        raise ValueError(
            "sample_weight must have a weight for each row, (B,) or (B, 1), or for "
            f"each token, (B, T); received shape {weights.shape} for labels "
            f"{labels.shape}."
        )
    if not (weights.dtype.kind in "buifV" and np.isfinite(weights).all()):
        raise ValueError(
            "sample_weight must be finite numbers; received nan, infinity or what is "
            f"none, of dtype {weights.dtype}. Give what is not to count the weight 0."
        )
    return np.broadcast_to(weights, labels.shape)


def warn_of_no_shift(target: np.ndarray | None, labels: np.ndarray | None) -> None:
    """Warns of a target that is the labels, which are the target shifted left.

    Args:
        target: `(B, T)`, a NumPy array, or None.
        labels: Likewise.
    """
    if target is None or labels is None or target.size == 0:
        return
    if target.shape == labels.shape and np.array_equal(target, labels):
        warnings.warn(
            "The target equals the labels: the model learns to copy what it is shown, "
            "and can generate nothing. The target is the labels shifted right behind "
            "the start id, as teacher_forcing gives them.",
            stacklevel=3,
        )
