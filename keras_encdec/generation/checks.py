"""Checks of what a model computes, with one wording."""

import numpy as np

from keras_encdec.annotations import KerasModel
from keras_encdec.protocol import facts_of

# What stands in a row's ids where its logits are nan: a loop cannot raise.
BROKEN = -1


def require_generated(ids: np.ndarray, model: KerasModel) -> None:
    """Raises unless what a loop wrote are ids.

    Args:
        ids: What was generated, `(B, n, L)`, a NumPy array.
        model: The model that was asked for logits.

    Raises:
        ValueError: If a sampler picked what is no id.
        FloatingPointError: If logits were nan or infinite.
    """
    largest, size = ids.max(initial=0), facts_of(model).target_vocabulary_size
    if size is not None and largest >= size:
        raise ValueError(
            f"A sampler must pick ids from 0 to {size - 1}; received {largest} from "
            "it. Let its __call__ return places in the logits."
        )
    if ids.min(initial=0) < 0:
        require_finite_logits((ids == BROKEN).any(axis=1))


def require_finite_logits(broken: np.ndarray) -> None:
    """Raises if logits were nan or infinite.

    Args:
        broken: Whether those of each row and step were, `(B, L)`, a NumPy array.

    Raises:
        FloatingPointError: If some were.

    Example:
        ```python
        import numpy as np
        from keras_encdec.generation.checks import require_finite_logits

        require_finite_logits(np.array([[False, False]]))
        ```
    """
    if not broken.any():
        return
    rows = np.flatnonzero(broken.any(axis=1))
    raise FloatingPointError(
        f"The model's logits are nan or infinite for {len(rows)} of {len(broken)} rows,"
        f" since step {broken[rows[0]].argmax()} of row {rows[0]}. Its training has "
        "diverged, or its dtype overflows: load weights from before, train with a "
        "lower learning_rate or clip_norm, and compute in float32 or bfloat16 rather "
        "than in float16."
    )
