"""When a beam search is done with a source.

Legend of shapes: B sources, K beams.
"""

from collections.abc import Callable
from typing import Literal

from keras import ops

from keras_encdec.annotations import Tensor
from keras_encdec.generation.samplers.hypotheses import NEVER


def is_done(
    rule: bool | Literal["heuristic", "never"],
    live: Tensor,
    ended: Tensor,
    length: Tensor,
    longest: Tensor,
    number: int,
    penalty: Callable[[Tensor], Tensor],
) -> Tensor:
    """Returns which sources are done.

    Args:
        rule: `early_stopping` of a `BeamSampler`.
        live: The sums of log-probabilities of live hypotheses `(B, K)`, float32.
        ended: The scores of ended ones `(B, K)`, float32.
        length: The number of tokens that the live ones have, a scalar, int32.
        longest: The largest number that one is expected to have `(B,)`, int32.
        number: How many of them are wanted, an int.
        penalty: A monotone function from numbers of tokens, float32, to what sums are
            divided by.

    Returns:
        `(B,)`, bool.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.samplers.stop_rules import is_done

        live, ended = ops.array([[-9.0]]), ops.array([[-1.0]])
        length, longest = ops.array(3), ops.array([8])
        print(is_done(False, live, ended, length, longest, 1, lambda n: n))
        ```
    """
    best = ops.max(live, axis=1)
    dead = best == NEVER
    if rule == "never":
        return dead
    if rule == "heuristic":
        now = best / penalty(ops.cast(length, "float32"))
        return ops.logical_or(dead, now <= ops.min(ended, axis=1))
    if rule:
        return ops.logical_or(dead, ops.all(ended > NEVER, axis=1))
    # Sums only fall, coverage only costs, and the penalty is monotone: nothing exceeds
    # the better of ending at the next step and at the last one that is expected.
    soon = ops.cast(length + 1, "float32")
    late = ops.maximum(ops.cast(longest, "float32"), soon)
    bound = ops.maximum(best / penalty(soon), best / penalty(late))
    ranked = ops.flip(ops.sort(ended, axis=1), axis=1)
    return ops.logical_or(dead, bound <= ranked[:, number - 1])
