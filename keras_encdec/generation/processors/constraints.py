"""Phrases that must appear: how far each row is, and what it must pick in time.

A constraint is one phrase or several alternatives, one of which must appear. Legend of
shapes: R rows, L largest length, V vocabulary, C constraints, A alternatives, W tokens
of a phrase; phrases are padded with -1.
"""

from typing import TYPE_CHECKING

from keras import ops

from keras_encdec.annotations import Tensor
from keras_encdec.backend import take_of_each
from keras_encdec.generation.processors.tokens import allow_only

if TYPE_CHECKING:
    from keras_encdec.generation.task import Step

_NEVER = -(2**20)  # Below any progress.


def phrase_progress(
    ids: Tensor, index: int | Tensor, phrases: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns how much of its phrases each row has.

    Args:
        ids: The rows so far, `(R, L)`, int32.
        index: The number of tokens of the rows, an int32 scalar.
        phrases: `(R, C, A, W)`, int32, padded with -1; sizes beside R known.

    Returns:
        A triple: the tokens that are missing `(R,)`, int32, if the phrase begun last
        goes on; the same if it breaks off; and the token it goes on with `(R,)`, int32.
    """
    _, constraints, alternatives, longest = phrases.shape
    lengths = ops.sum(ops.cast(phrases >= 0, "int32"), axis=-1)  # (R, C, A)
    starts = ops.arange(ids.shape[1], dtype="int32")
    # Whether the alternative stands at each place, (R, C, A, L).
    stands = starts + lengths[..., None] <= index
    last = ops.maximum(index - 1 - ops.arange(longest, dtype="int32"), 0)
    recent = ops.take(ids, last, axis=1)  # (R, W), the last token first
    begun = ops.zeros_like(lengths)
    for w in range(longest):
        places = ops.clip(starts + w, 0, ids.shape[1] - 1)
        shifted = ops.take(ids, places, axis=1)[:, None, None, :]
        same = ops.logical_or(
            shifted == phrases[..., w : w + 1], lengths[..., None] <= w
        )
        stands = ops.logical_and(stands, same)
        # Whether the alternative's first w + 1 tokens are the row's last.
        here = ops.flip(recent[:, : w + 1], axis=1)[:, None, None, :]
        ends = ops.all(phrases[..., : w + 1] == here, axis=-1)
        ends = ops.logical_and(ends, index > w)
        begun = ops.where(ends, w + 1, begun)
    present = lengths > 0
    met = ops.any(stands, axis=-1)
    met = ops.logical_or(
        ops.any(ops.logical_and(met, present), axis=-1),
        ops.logical_not(ops.any(present, axis=-1)),
    )  # (R, C)
    open_ = ops.logical_and(present, ops.logical_not(met)[..., None])
    shortest = ops.min(ops.where(present, lengths, -_NEVER), axis=-1)
    missing = ops.sum(ops.where(met, 0, shortest), axis=-1)
    # What it gains to go on, rather than begin the shortest alternative.
    gain = ops.where(open_, shortest[..., None] - (lengths - begun), _NEVER)
    flat = (-1, constraints * alternatives)
    gain = ops.reshape(gain, flat)
    best = ops.argmax(gain, axis=-1)[:, None]
    following = take_of_each(phrases, ops.minimum(begun, longest - 1)[..., None])
    following = take_of_each(ops.reshape(following, flat), best)
    gain = ops.maximum(take_of_each(gain, best)[:, 0], 0)
    return missing - gain, missing, following[:, 0]


def constrain(ids: Tensor, logits: Tensor, step: "Step", phrases: Tensor) -> Tensor:
    """Forbids the end before all phrases are there, and forces them in time.

    Args:
        ids: The rows so far, `(R, L)`, int32.
        logits: `(R, V)`, float32.
        step: A `Step`.
        phrases: `(R, C, A, W)`, int32.

    Returns:
        The logits `(R, V)`.
    """
    vocabulary = ops.arange(logits.shape[-1], dtype="int32")
    _, missing, following = phrase_progress(ids, step.index, phrases)
    wanting = (missing > 0)[:, None]
    for end_id in step.end_ids:
        early = ops.logical_and(wanting, vocabulary == end_id)
        logits = ops.where(early, -float("inf"), logits)
    # After any other token there must still be room for all phrases and the end.
    free = step.limits - 2 - step.index >= missing
    forced = ops.logical_and(wanting, ops.logical_not(free)[:, None])
    return ops.where(forced, allow_only(vocabulary == following[:, None]), logits)


def ranks_in_banks(scores: Tensor, missing: Tensor) -> Tensor:
    """Returns each candidate's rank among those that lack as many tokens.

    Beams that are filled rank by rank share their places evenly between the banks of
    candidates that lack the same number of tokens.

    Args:
        scores: `(B, M)`, float32.
        missing: The number of tokens that each candidate lacks, `(B, M)`, int32.

    Returns:
        `(B, M)`, int32: smaller for candidates to be chosen before others.

    Reference:
        Post and Vilar 2018, Fast Lexically Constrained Decoding with Dynamic Beam
        Allocation for Neural Machine Translation.
    """
    size = scores.shape[1]
    places = ops.arange(size, dtype="int32")
    better = ops.logical_or(
        scores[:, None, :] > scores[:, :, None],
        ops.logical_and(
            scores[:, None, :] == scores[:, :, None], places[None, :] < places[:, None]
        ),
    )
    same_bank = missing[:, None, :] == missing[:, :, None]
    rank = ops.sum(ops.cast(ops.logical_and(better, same_bank), "int32"), axis=-1)
    # Among equal ranks those that lack less come first.
    return rank * 2**12 + ops.minimum(missing, 2**12 - 1)
