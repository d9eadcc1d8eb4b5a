"""Hypotheses of a beam search, live or ended, and the best of them.

Legend of shapes: B batch, S source, L largest length, K beams, M candidates.
"""

from typing import Any, NamedTuple

from keras import ops, tree

NEVER = -float("inf")


class Hypotheses(NamedTuple):
    """Hypotheses of each source, live or ended; a score of -inf is an empty place."""

    scores: Any  # (B, K): of live ones the sum, of ended ones with the penalties
    ids: Any  # (B, K, L)
    token_scores: Any  # (B, K, L), or ()
    coverage: Any  # (B, K, S): the attention each source position got; or ()


def best_of(hypotheses, order, number):
    """Returns the best hypotheses and their places.

    Args:
        hypotheses: `Hypotheses`, M of each source.
        order: What they are ordered by `(B, M)`, float32, the largest first.
        number: How many to return, an int.

    Returns:
        A pair: `Hypotheses` and their places `(B, number)`, int32.
    """
    places = ops.cast(ops.top_k(order, number)[1], "int32")

    def take(x):
        index = places[..., None] if len(x.shape) == 3 else places
        return ops.take_along_axis(x, index, axis=1)

    return tree.map_structure(take, hypotheses), places
