"""Checks of arguments and of ids, with one wording."""

import numbers

import numpy as np

from keras_encdec.option_checks import (  # noqa: F401, for all are asked for here.
    require_number,
    require_one_of,
    require_positive,
)


def require_id(vocabulary_size, **options):
    """Raises unless every named option is an id of a vocabulary.

    Args:
        vocabulary_size: The number of ids.
        **options: Argument names and their values.

    Raises:
        ValueError: If a value is no integer, or out of the vocabulary.

    Example:
        ```python
        from keras_encdec.layers.checks import require_id

        require_id(20, padding_id=0)
        ```
    """
    for name, value in options.items():
        is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not is_integer or not 0 <= value < vocabulary_size:
            raise ValueError(
                f"{name} must be an id of the vocabulary, from 0 to "
                f"{vocabulary_size - 1}; received {name}={value!r}."
            )


def require_ids(name, ids, vocabulary_size, max_length=None):
    """Raises unless an array holds ids of a vocabulary.

    Args:
        name: What to call the ids in the error.
        ids: A NumPy array.
        vocabulary_size: The number of ids, or None if it is not known.
        max_length: The largest length, or None.

    Raises:
        ValueError: If the array is not 2D, not integer, holds other ids or is too long.

    Example:
        ```python
        import numpy as np
        from keras_encdec.layers.checks import require_ids

        require_ids("source", np.array([[5, 7, 2]]), vocabulary_size=10)
        ```
    """
    if ids.ndim != 2:
        raise ValueError(
            f"{name} must be 2D, a row of ids for each sequence; received shape "
            f"{ids.shape}. Pad the rows to one length, or add a batch dimension."
        )
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"{name} must be integer token ids; received dtype {ids.dtype}. Encode the "
            "text with a tokenizer, or cast the ids."
        )
    if ids.size and not 0 <= ids.min() <= ids.max() < (vocabulary_size or np.inf):
        known = "0 or more"
        if vocabulary_size is not None:
            known = f"from 0 to {vocabulary_size - 1}"
        raise ValueError(
            f"{name} ids must be {known}, below the size of the model's vocabulary; "
            f"received ids from {ids.min()} to {ids.max()}. Check that the tokenizer "
            "is the one the model was made for."
        )
    if max_length is not None and ids.shape[1] > max_length:
        raise ValueError(
            f"{name} must not be longer than the model's positions, "
            f"max_length={max_length}; received length {ids.shape[1]}. Shorten it, or "
            "build the model with a larger max_length."
        )


def require_features(name, features, number):
    """Raises unless an array holds a vector of features for each position.

    Args:
        name: What to call them in the error.
        features: A NumPy array.
        number: The number of features of each position.

    Raises:
        ValueError: If the array is not 3D, not of floats, of another width, or holds
            nan or infinity.

    Example:
        ```python
        import numpy as np
        from keras_encdec.layers.checks import require_features

        require_features("source", np.ones((2, 5, 80), "float32"), 80)
        ```
    """
    if features.ndim != 3 or features.shape[2] != number:
        raise ValueError(
            f"{name} must be 3D, {number} features for each position of each sequence; "
            f"received shape {features.shape}. Pad the sequences to one length, or add "
            "a batch dimension."
        )
    if not np.issubdtype(features.dtype, np.floating):
        raise ValueError(
            f"{name} must be features, floats; received dtype {features.dtype}. Cast "
            "them to float32."
        )
    # Also in float32, in which they are computed with.
    if not (np.abs(features) <= np.finfo("float32").max).all():
        raise ValueError(
            f"{name} must be finite in float32; received features with nan, infinity "
            "or larger numbers. Look for silence or constant features that were "
            "normalized."
        )


def require_labels(labels, vocabulary_size, padding_id=0, ignore_class=None):
    """Raises unless an array holds labels: ids of a vocabulary, or one to leave out.

    Args:
        labels: A NumPy array.
        vocabulary_size: The number of ids.
        padding_id: The id of padding, for the remedy.
        ignore_class: A label that may be no id, or None.

    Raises:
        ValueError: If the array is not 2D, not integer or holds other ids.

    Example:
        ```python
        import numpy as np
        from keras_encdec.layers.checks import require_labels

        require_labels(np.array([[7, 2, -100]]), 10, ignore_class=-100)
        ```
    """
    counted = labels
    if ignore_class is not None and labels.dtype.kind in "iu":
        counted = np.where(labels == ignore_class, padding_id, labels)
    if counted.size and counted.dtype.kind in "iu" and counted.min() < 0:
        least = counted.min()
        raise ValueError(
            f"labels must be ids from 0 to {vocabulary_size - 1}; received {least}. "
            f"Give what is not to count the padding id {padding_id}, or compile with "
            f"TokenCrossEntropy(ignore_class={least})."
        )
    require_ids("label", counted, vocabulary_size)


def require_same_rows(**arrays):
    """Raises unless arrays of ids have the same number of rows.

    Args:
        **arrays: Their names and NumPy arrays.

    Raises:
        ValueError: If the numbers differ.

    Example:
        ```python
        import numpy as np
        from keras_encdec.layers.checks import require_same_rows

        require_same_rows(source=np.zeros((2, 3)), target=np.zeros((2, 5)))
        ```
    """
    if len({len(ids) for ids in arrays.values()}) > 1:
        shapes = " and ".join(str(ids.shape) for ids in arrays.values())
        raise ValueError(
            f"{' and '.join(arrays)} must have a row each for every pair; received "
            f"shapes {shapes}."
        )


def require_same_shape(target, labels):
    """Raises unless there is a label for each position of the target.

    Args:
        target: A NumPy array, or None if it is not known.
        labels: Likewise.

    Raises:
        ValueError: If the shapes differ.

    Example:
        ```python
        import numpy as np
        from keras_encdec.layers.checks import require_same_shape

        require_same_shape(target=np.zeros((2, 3)), labels=np.zeros((2, 3)))
        ```
    """
    if target is not None and labels is not None and target.shape != labels.shape:
        raise ValueError(
            "labels must have a label for each position of the target; received "
            f"shapes {labels.shape} and {target.shape}. teacher_forcing makes a "
            "target of labels."
        )
