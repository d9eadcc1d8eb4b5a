"""Hypotheses of a beam search, live or ended, and the best of them.

Legend of shapes: B batch, S source, L largest length, K beams, M candidates.
"""

from typing import Any, NamedTuple

from keras import ops, tree

from keras_encdec.backend import first_true, take_of_each

NEVER = -float("inf")


class Hypotheses(NamedTuple):
    """Hypotheses of each source, live or ended; a score of -inf is an empty place."""

    scores: Any  # (B, K): of live ones the sum, of ended ones with the penalties
    ids: Any  # (B, K, L)
    token_scores: Any  # (B, K, L), or ()
    coverage: Any  # (B, K, S): the attention each source position got; or ()


def select_best(hypotheses, order, number):
    """Returns the best hypotheses.

    Args:
        hypotheses: `Hypotheses`, M of each source.
        order: What they are ordered by `(B, M)`, float32, the largest first.
        number: How many to return, an int.
    """
    return gather_hypotheses(hypotheses, top_indices(order, number))


def top_indices(order, number):
    """Returns the places of the largest values, `(B, number)`, int32."""
    return ops.cast(ops.top_k(order, number)[1], "int32")


def gather_hypotheses(hypotheses, places):
    """Returns the hypotheses at some places of each source, `(B, M)`, int32."""
    return tree.map_structure(lambda x: take_of_each(x, places), hypotheses)


def in_parents_places(parents):
    """Returns an order of children in which parents' places are their own children's.

    What the model keeps of a parent then stays where it is, and is copied for its
    second and later children alone, to places of parents without any.

    Args:
        parents: The place of each child's parent `(B, K)`, int32, 0 to K - 1.

    Returns:
        The child at each place `(B, K)`, int32.
    """
    places = ops.arange(parents.shape[1], dtype="int32")
    own = parents[:, None, :] == places[:, None]  # (B, place, child)
    kept = ops.any(own, axis=-1)
    siblings = parents[:, None, :] == parents[:, :, None]
    younger = ops.any(ops.logical_and(siblings, places < places[:, None]), axis=-1)
    # The places left are filled up in turn.
    left = ops.logical_not(kept)
    turns = _count(younger)[:, None, :] == _count(left)[..., None]
    fills = ops.logical_and(younger[:, None, :], left[..., None])
    # Not `where`, which runtimes of ONNX lack for booleans.
    return first_true(ops.logical_or(own, ops.logical_and(fills, turns)))


def _count(flags):
    return ops.cumsum(ops.cast(flags, "int32"), axis=1)
