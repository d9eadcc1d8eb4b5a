"""Hypotheses of a beam search, live or ended, and the best of them.

Legend of shapes: B batch, S source, L largest length, K beams, M candidates.
"""

from typing import Any, NamedTuple

from keras import ops, tree

from keras_encdec.annotations import Tensor
from keras_encdec.backend import first_true, take_of_each

NEVER = -float("inf")


class Hypotheses(NamedTuple):
    """Hypotheses of each source, live or ended; a score of -inf is an empty place."""

    scores: Tensor  # (B, K): of live ones the sum, of ended ones with the penalties
    ids: Tensor  # (B, K, L)
    token_scores: Tensor  # (B, K, L), or ()
    coverage: Tensor  # (B, K, S): the attention each source position got; or ()


class BeamState(NamedTuple):
    """The state of a beam search."""

    index: Tensor  # ()
    live: Hypotheses
    ended: Hypotheses
    done: Tensor  # (B,)
    broken: Tensor  # (B,): the step at which logits were nan, or -1
    cache: Any


def select_best(hypotheses: Hypotheses, order: Tensor, number: int) -> Hypotheses:
    """Returns the best hypotheses.

    Args:
        hypotheses: `Hypotheses`, M of each source.
        order: What they are ordered by `(B, M)`, float32, the largest first.
        number: How many to return, an int.
    """
    return gather_hypotheses(hypotheses, top_indices(order, number))


def without_repeats(hypotheses: Hypotheses) -> Hypotheses:
    """Returns hypotheses of which those with the ids of an earlier one are empty."""
    ids = hypotheses.ids
    same = ops.all(ids[:, :, None] == ids[:, None], axis=-1)
    places = ops.arange(ids.shape[1], dtype="int32")
    earlier = places[None, :] < places[:, None]
    again = ops.any(ops.logical_and(same, earlier), axis=-1)
    return hypotheses._replace(scores=ops.where(again, NEVER, hypotheses.scores))


def top_indices(order: Tensor, number: int) -> Tensor:
    """Returns the places of the largest values, `(B, number)`, int32."""
    return ops.cast(ops.top_k(order, number)[1], "int32")


def gather_hypotheses(hypotheses: Hypotheses, places: Tensor) -> Hypotheses:
    """Returns the hypotheses at some places of each source, `(B, M)`, int32."""
    return tree.map_structure(lambda x: take_of_each(x, places), hypotheses)


def in_parents_places(parents: Tensor) -> Tensor:
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


def _count(flags: Tensor) -> Tensor:
    return ops.cumsum(ops.cast(flags, "int32"), axis=1)
