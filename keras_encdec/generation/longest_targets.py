"""How long a target may be for its source, by which an exact beam search ends sooner.

Legend of shapes: B sources, S source, F features, N pairs.
"""

import numpy as np
from keras import ops

from keras_encdec.annotations import Tensor

# Tokens that any target may have, and a factor with so many digits behind the point.
TOKENS, DIGITS = 10, 2


def require_longest_targets(longest: tuple[float, float] | None) -> None:
    """Raises unless a factor and a number of tokens are that, or None.

    Args:
        longest: What is checked.

    Raises:
        ValueError: If it is no pair of finite numbers, not below 0 and not both 0.
    """
    if longest is None:
        return
    pair = isinstance(longest, tuple) and len(longest) == 2
    if not (pair and all(0 <= x < float("inf") for x in longest) and any(longest)):
        raise ValueError(
            "longest_targets is a factor of the source's tokens and a number of tokens "
            f"more, neither below 0, such as (1.5, 10); received {longest!r:.200}."
        )


def longest_targets(
    source: Tensor, limits: Tensor, longest: tuple[float, float], padding_id: int
) -> Tensor:
    """Returns the largest length that the target of each source may have, int32.

    Args:
        source: Source ids `(B, S)`, int32, or features `(B, S, F)`, float.
        limits: The largest number of tokens of each `(B,)`, int32.
        longest: A factor of the source's tokens and a number of tokens more.
        padding_id: The id of padding.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.longest_targets import longest_targets

        source, limits = ops.array([[5, 7, 2, 0]]), ops.array([64])
        print(longest_targets(source, limits, (1.5, 10), padding_id=0))  # 14
        ```
    """
    factor, tokens = longest
    there = source != padding_id
    if len(source.shape) == 3:
        there = ops.any(source != 0, axis=2)
    lengths = ops.sum(ops.cast(there, "int32"), axis=1)
    # Rounding does not take a token away.
    most = ops.floor(factor * ops.cast(lengths, "float32") + (tokens + 1e-3))
    return ops.minimum(limits, ops.cast(most, "int32"))


def longest_of_pairs(
    lengths: np.ndarray, before: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Returns what all of some pairs keep to: a factor, and ten tokens more.

    Args:
        lengths: The number of tokens of each source and target, with its end id,
            `(N, 2)`, int.
        before: What others kept to, and is to hold still, or None.

    Returns:
        A factor of the source's tokens and a number of tokens more.

    Example:
        ```python
        import numpy as np
        from keras_encdec.generation.longest_targets import longest_of_pairs

        print(longest_of_pairs(np.array([[4, 12], [9, 9]])))  # (0.5, 10)
        ```
    """
    sources, targets = np.maximum(lengths[:, 0], 1), lengths[:, 1]
    factor = np.max((targets - TOKENS) / sources, initial=0.0)
    scale = 10**DIGITS
    longest = float(np.ceil(factor * scale) / scale), TOKENS
    if before is None:
        return longest
    return max(longest[0], before[0]), max(longest[1], before[1])
