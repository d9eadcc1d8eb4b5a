"""Processors against repetition: of tokens, of n-grams, of the source's n-grams.

Legend of shapes: R rows, L largest length, V vocabulary.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras import ops

from keras_encdec.annotations import Tensor
from keras_encdec.generation.processors.tokens import (
    Processor,
    forbid,
    one_of,
    recent_tokens,
    registered,
    require_ids,
    vocabulary_of,
)
from keras_encdec.option_checks import require_positive

if TYPE_CHECKING:
    from keras_encdec.generation.task import Step


def _holds(logits: Tensor, ids: Tensor, valid: Tensor) -> Tensor:
    """Which ids of the vocabulary are among each row's valid ids: `(R, V)`, bool."""
    hits = ops.logical_and(ids[..., None] == vocabulary_of(logits), valid[..., None])
    return ops.any(hits, axis=1)


@registered
class RepetitionPenalty(Processor):
    """Makes tokens that a row already has less likely.

    Args:
        penalty: What their logits are divided by, or multiplied by below 0; above 1
            to discourage, below 1 to encourage.
        also: Ids that count as there from the beginning, such as the start id.

    Raises:
        ValueError: If the penalty is not above 0 and finite, or `also` are no ids.

    Example:
        ```python
        from keras_encdec.generation import RepetitionPenalty

        print(RepetitionPenalty(1.2))
        ```

    Reference:
        Keskar et al. 2019, CTRL, section 4.1.
    """

    penalty: float
    also: Sequence[int] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "also", tuple(self.also))
        require_ids("also", self.also)
        if not 0 < self.penalty < float("inf"):
            raise ValueError(
                f"penalty must be above 0 and finite; received {self.penalty!r}."
            )

    def __call__(self, ids: Tensor, logits: Tensor, step: "Step") -> Tensor:
        """Returns the logits `(R, V)`."""
        there = _holds(
            logits, ids, ops.arange(ids.shape[1], dtype="int32")[None] < step.index
        )
        there = ops.logical_or(there, one_of(logits, self.also))
        less = ops.where(logits < 0, logits * self.penalty, logits / self.penalty)
        return ops.where(there, less, logits)


def _followers(
    logits: Tensor, ids: Tensor, count: Tensor, recent: Tensor, n: int
) -> Tensor:
    """Which tokens stand in ids, of `count` valid ones, after the recent n - 1."""
    length = ops.shape(ids)[1]
    starts = ops.arange(length, dtype="int32")
    same = (starts + n <= count) & ops.ones_like(ids, dtype="bool")
    for i in range(n - 1):
        shifted = ops.take(ids, ops.minimum(starts + i, length - 1), axis=1)
        same = ops.logical_and(same, shifted == recent[:, i : i + 1])
    after = ops.take(ids, ops.minimum(starts + n - 1, length - 1), axis=1)
    return _holds(logits, after, same)


@dataclasses.dataclass(frozen=True)
class _NGram(Processor):
    n: int

    def __post_init__(self) -> None:
        require_positive(n=self.n)

    def _forbid_repeats(
        self, ids: Tensor, logits: Tensor, step: "Step", text: Tensor, count: Tensor
    ) -> Tensor:
        """Forbids what would make the rows' ids repeat an n-gram of a text."""
        recent = recent_tokens(ids, step.index, self.n - 1) if self.n > 1 else ids
        seen = _followers(logits, text, count, recent, self.n)
        return forbid(logits, ops.logical_and(seen, step.index >= self.n - 1))


@registered
class NoRepeatNGram(_NGram):
    """Forbids tokens that would make a row hold an n-gram twice.

    Args:
        n: The number of tokens of an n-gram.

    Raises:
        ValueError: If n is not a positive integer.

    Example:
        ```python
        from keras_encdec.generation import NoRepeatNGram

        print(NoRepeatNGram(3))
        ```

    Reference:
        Paulus et al. 2018, A Deep Reinforced Model for Abstractive Summarization.
    """

    def __call__(self, ids: Tensor, logits: Tensor, step: "Step") -> Tensor:
        """Returns the logits `(R, V)`."""
        return self._forbid_repeats(ids, logits, step, ids, step.index)


@registered
class EncoderNoRepeatNGram(_NGram):
    """Forbids n-grams of the source, for a vocabulary that both sides share.

    Args:
        n: The number of tokens of an n-gram.

    Raises:
        ValueError: If n is not a positive integer.

    Example:
        ```python
        from keras_encdec.generation import EncoderNoRepeatNGram

        print(EncoderNoRepeatNGram(3))
        ```
    """

    def __call__(self, ids: Tensor, logits: Tensor, step: "Step") -> Tensor:
        """Returns the logits `(R, V)`."""
        tokens = ops.cast(step.source != step.padding_id, "int32")
        count = ops.sum(tokens, axis=1, keepdims=True)
        return self._forbid_repeats(ids, logits, step, step.source, count)
