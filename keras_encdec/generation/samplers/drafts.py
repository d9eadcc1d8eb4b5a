"""Drafts: tokens that somebody proposes, several of which the model checks in one step.

Legend of shapes: R target rows, d proposed tokens, T positions, at most d + 1, L
largest length, V vocabulary.
"""

import dataclasses
from typing import Any, NamedTuple

from keras import ops

from keras_encdec.annotations import Tensor
from keras_encdec.backend import take_of_each, write_at
from keras_encdec.generation.random_numbers import uniform
from keras_encdec.generation.samplers.interface import (
    Sampler,
    State,
    settled,
    without_nan,
)
from keras_encdec.generation.samplers.token_samplers import PerRowSampler
from keras_encdec.generation.task import Generated, Task
from keras_encdec.option_checks import require_positive
from keras_encdec.protocol import facts_of


class Drafting(NamedTuple):
    """The state of a loop, and what proposes the next tokens."""

    state: State  # Its index is `(R,)` where rows advance each by itself.
    drafter: Any

    @property
    def index(self) -> Tensor:
        """The number of tokens of the longest row that goes on, an int32 scalar."""
        index, finished = self.state.index, self.state.finished
        return ops.max(ops.where(finished, 0, index)) if len(index.shape) else index

    @property
    def finished(self) -> Tensor:
        """Which rows have ended, `(R,)`, bool."""
        return self.state.finished

    @property
    def ids(self) -> Tensor:
        """The rows so far, `(R, L + d + 1)`, int32."""
        return self.state.ids


class DraftSampler(Sampler):
    """The base of samplers that check drafts; a subclass writes who proposes them.

    The model gives the logits of all proposed tokens in one step, and the sampler picks
    from these with the same random numbers: the tokens up to the first that differs are
    what it would have picked one by one. Each row advances by what it had accepted; all
    by what the least lucky one had, where processors or phrases, or a model that does
    not say that it `steps_by_row`, are told of one number of tokens.
    """

    sampler: Sampler
    num_draft_tokens: int

    def __post_init__(self) -> None:
        if (
            not self.sampler.one_token_a_step
            or self.sampler.extra_positions
            or isinstance(self.sampler, PerRowSampler)
        ):
            raise ValueError(
                "A draft needs a sampler that picks token by token; received "
                f"{self.sampler!r}. Use GreedySampler or a RandomSampler."
            )
        require_positive(num_draft_tokens=self.num_draft_tokens)

    @property
    def extra_positions(self) -> int:
        """How many positions beyond the largest length the loop decodes."""
        return self.num_draft_tokens

    def rows_per_source(self, num_return_sequences: int) -> int:
        """Returns what the sampler returns."""
        return self.sampler.rows_per_source(num_return_sequences)

    def advances_by_row(self, task: Task) -> bool:
        """Whether each row advances by itself.

        Args:
            task: A `Task`.
        """
        one_number = bool(task.processors) or task.phrases is not None
        return not one_number and bool(facts_of(task.model).steps_by_row)

    def start_state(self, task: Task) -> State:
        """Returns the state before the first step, without what proposes."""
        # Room for a step at the last position, and for one of a row that has ended.
        wide = dataclasses.replace(
            task, max_length=task.max_length + self.num_draft_tokens + 1
        )
        state: State = self.sampler.start(wide)
        if self.advances_by_row(task):
            state = state._replace(index=ops.zeros_like(state.tokens))
        return state

    def number_settled(self, state: Drafting) -> Tensor:
        """Returns how many tokens all rows have, or have ended, an int32 scalar."""
        index, length = state.state.index, state.ids.shape[1]
        if not len(index.shape):
            return index
        return ops.min(ops.where(state.finished, length, index))

    def checked(self, task: Task, old: State, drafts: Tensor | None) -> State:
        """Returns the state after a step that checks drafts.

        Args:
            task: A `Task`.
            old: The state before.
            drafts: The proposed ids `(R, d)`, int32, -1 for none; or None of all rows.
        """
        index, before, tokens = old.index, old.finished, old.tokens[:, None]
        if drafts is not None:
            known = ops.where(drafts < 0, task.padding_id, drafts)
            tokens = ops.concatenate([tokens, known], axis=1)
        steps = tokens.shape[1]
        logits, cache = task.step(tokens, first_place(old), old.cache)
        places = places_of(old, steps)
        logits = without_nan(self.processed(task, old, tokens, logits, places))
        picked = self.pick(task, logits, places)
        ended = before[:, None], task.limits[:, None]
        found = settled(task, places, ended[1], ended[0], picked, logits)
        kept = ops.logical_not(ended[0])
        if drafts is not None:
            on = ops.logical_not(found.finished[:, :-1])
            on = ops.logical_and(on, found.tokens[:, :-1] == drafts)
            on = ops.cumprod(ops.cast(on, "int32"), axis=1) > 0
            kept = ops.concatenate([kept, on], axis=1)
        number = ops.cast(ops.sum(ops.cast(kept, "int32"), axis=1), "int32")
        if not len(index.shape):
            ends = ops.any(ops.logical_and(kept, found.finished), axis=1)
            ends = ops.logical_or(ends, before)
            number = ops.min(ops.where(ends, steps, number))
            kept = ops.logical_and(kept, ops.arange(steps, dtype="int32") < number)
        ends = ops.any(ops.logical_and(kept, found.finished), axis=1)
        finished = ops.logical_or(before, ends)
        last = ops.broadcast_to(ops.maximum(number - 1, 0), ops.shape(before))
        last_token = take_of_each(found.tokens, last[:, None])[:, 0]
        written = ops.where(kept, found.written, task.padding_id)
        token_scores = old.token_scores
        if task.return_scores:
            scores = ops.where(kept, found.scores, 0.0)
            token_scores = write_at(token_scores, index, scores)
        return State(
            index=index + number,
            tokens=ops.where(finished, task.padding_id, last_token),
            finished=finished,
            ids=write_at(old.ids, index, written),
            token_scores=token_scores,
            cache=cache,
        )

    def processed(
        self, task: Task, old: State, tokens: Tensor, logits: Tensor, places: Tensor
    ) -> Tensor:
        """Returns the logits with -inf for tokens that must not follow.

        Args:
            task: A `Task`.
            old: The state before.
            tokens: What the positions are given, `(R, T)`, int32.
            logits: Theirs, `(R, T, V)`.
            places: How many tokens came before each, `(R, T)`, int32.
        """
        if self.advances_by_row(task):
            return task.process(old.ids, logits, places)
        index, ids, each = old.index, old.ids, []
        for i in range(tokens.shape[1]):
            if i:
                ids = write_at(ids, index + (i - 1), tokens[:, i : i + 1])
            each.append(task.process(ids, logits[:, i], index + i))
        return ops.stack(each, axis=1)

    def pick(self, task: Task, logits: Tensor, places: Tensor) -> Tensor:
        """Returns what the sampler picks at several places.

        Args:
            task: A `Task`.
            logits: `(R, T, V)`, float32.
            places: `(R, T)`, int32.

        Returns:
            `(R, T)`, int32.
        """
        rows = ops.reshape(logits, (-1, ops.shape(logits)[-1]))
        numbers = ops.reshape(uniform(task.seeds[:, None], places), (-1,))
        return ops.reshape(self.sampler(rows, numbers), (-1, logits.shape[1]))

    def finish(self, task: Task, state: Drafting) -> Generated:
        """Returns what the last state holds, a `Generated`."""
        found = state.state
        token_scores = found.token_scores
        if task.return_scores:
            token_scores = token_scores[:, : task.max_length]
        ids = found.ids[:, : task.max_length]
        found = found._replace(ids=ids, token_scores=token_scores)
        return self.sampler.finish(task, found)


def first_place(state: State) -> Tensor:
    """Returns where a step writes, `(R,)` or a scalar: of an ended row, anywhere."""
    index = state.index
    return ops.where(state.finished, 0, index) if len(index.shape) else index


def places_of(state: State, steps: int) -> Tensor:
    """Returns the number of tokens before each of some positions, `(R, T)`, int32."""
    index, finished = state.index, state.finished
    places = ops.expand_dims(index, -1) + ops.arange(steps, dtype="int32")
    return ops.broadcast_to(places, (ops.shape(finished)[0], steps))
