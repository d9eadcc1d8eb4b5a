"""Labels as Hugging Face's collators give them, where -100 is left out, and ours."""

from typing import Any

import numpy as np

IGNORED = -100


def labels_from_hugging_face(labels: Any, padding_id: int) -> np.ndarray:
    """Returns labels in which what the loss leaves out is padding, and not -100.

    `teacher_forcing` makes of them what `fit` takes; the target is then what
    transformers' `shift_tokens_right` gives, if the start id is its
    `decoder_start_token_id`, or for mBART-25 the target's language.

    Args:
        labels: Ids, integers `(B, T)`, and -100 behind them, as in a batch of
            `DataCollatorForSeq2Seq`.
        padding_id: The model's id of padding, which is left out where it stands
            already.

    Returns:
        A NumPy array `(B, T)`, int32.

    Raises:
        TypeError: If they are no integers.
        ValueError: If they are not of rank 2, hold another negative number, or -100
            before ids, or the padding id is negative.

    Example:
        ```python
        from keras_encdec import labels_from_hugging_face

        print(labels_from_hugging_face([[8, 9, 2], [7, 2, -100]], padding_id=0))
        ```
    """
    labels = _checked(labels, padding_id, IGNORED)
    real = (labels != IGNORED) & (labels != padding_id)
    broken = np.any(real[:, 1:] & ~real[:, :-1], axis=1)
    if broken.any():
        raise ValueError(
            f"What labels leave out must stand at the end of a row; row "
            f"{int(broken.argmax())} has it before other ids. Give such labels by "
            "weights of 0, as `sample_weight` of `fit`."
        )
    return np.where(real, labels, padding_id).astype("int32")


def labels_to_hugging_face(labels: Any, padding_id: int) -> np.ndarray:
    """Returns labels in which padding is -100, as transformers' losses leave it out.

    Args:
        labels: Ids, integers `(B, T)`, padded, as `teacher_forcing` takes and gives.
        padding_id: The id of padding.

    Returns:
        A NumPy array `(B, T)`, int64, as PyTorch takes labels.

    Raises:
        TypeError: If they are no integers.
        ValueError: If they are not of rank 2, or a number is negative.

    Example:
        ```python
        from keras_encdec import labels_to_hugging_face

        print(labels_to_hugging_face([[8, 9, 2], [7, 2, 0]], padding_id=0))
        ```
    """
    labels = _checked(labels, padding_id, None)
    return np.where(labels == padding_id, IGNORED, labels).astype("int64")


def _checked(labels: Any, padding_id: int, ignored: int | None) -> np.ndarray:
    if padding_id < 0:
        raise ValueError(
            f"padding_id must be an id, 0 or more; received {padding_id}. Give that of "
            "the model, which transformers calls pad_token_id."
        )
    labels = np.asarray(labels)
    if labels.ndim != 2:
        raise ValueError(
            f"Labels must be of rank 2, a row for each text; received shape "
            f"{labels.shape}. Pad the rows to one length."
        )
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(
            f"Labels must be integer ids; received dtype {labels.dtype}. Cast them."
        )
    wrong = labels < 0
    if ignored is not None:
        wrong &= labels != ignored
    if wrong.any():
        row, column = map(int, np.argwhere(wrong)[0])
        but = "" if ignored is None else f", or {ignored} where they are left out"
        remedy = (
            "Give labels as labels_from_hugging_face returns them."
            if ignored is None
            else "Have the collator pad them with label_pad_token_id=-100."
        )
        raise ValueError(
            f"Labels must be ids, 0 or more{but}; received {labels[row, column]} at "
            f"row {row}, column {column}. {remedy}"
        )
    return labels
