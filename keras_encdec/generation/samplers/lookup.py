"""Prompt lookup decoding: drafts that are copied, and cost no model.

Legend of shapes: R target rows, S source, L largest length, d proposed tokens, N
places of a text: those of a source and of what was written.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import keras
from keras import ops

from keras_encdec.annotations import Tensor
from keras_encdec.backend import first_of_largest, take_of_each, while_loop
from keras_encdec.generation.samplers.drafts import Drafting, DraftSampler
from keras_encdec.generation.samplers.interface import Sampler, State
from keras_encdec.generation.samplers.token_samplers import GreedySampler
from keras_encdec.generation.task import Generated, Task
from keras_encdec.option_checks import require_positive
from keras_encdec.protocol import facts_of


class Lookup(NamedTuple):
    """What was found for the next step."""

    drafts: Tensor  # (R, d), int32, -1 for none.
    trusted: Tensor  # (R,): whether the first token of the last draft was right.
    wanted: Tensor  # (): whether to check them.


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class LookupSampler(DraftSampler):
    """Gives what its sampler gives, in fewer steps where targets copy their sources.

    The last tokens of a row are looked up in its source and in what it has written so
    far; what followed them there is proposed, and the model checks it in one step: a
    text that is corrected mostly is a copy. The place with the longest n-gram is taken;
    of such in the source the one that is nearest to as many tokens from its beginning,
    else the last one. Sources are looked at where they have as many ids as targets,
    which then should be the same: what is proposed changes the time alone.

    A step of several tokens takes longer than one of a single token: it is made where
    half of the rows that go on, or more, have a draft and had the first token of their
    last one right, which costs nothing to see.

    Args:
        num_draft_tokens: The largest number d of tokens proposed at a time.
        ngram: The largest number of last tokens that are looked up.
        max_rows: The largest number of target rows of a batch for which drafts are
            checked. With more, a CPU takes longer for a step of several tokens than it
            saves, and the sampler within goes on by itself.
        sampler: A `Sampler` that picks row by row, greedily by default.

    Raises:
        ValueError: If a number is not a positive integer, or the sampler does not pick
            token by token.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, Generator
        from keras_encdec.generation import LookupSampler

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        generator = Generator(model, LookupSampler(num_draft_tokens=4))
        print(generator([[5, 7, 2]], max_length=6))
        ```

    Reference:
        Saxena 2023, Prompt Lookup Decoding; Sun et al. 2021, Instantaneous Grammatical
        Error Correction with Shallow Aggressive Decoding.
    """

    num_draft_tokens: int = 8
    ngram: int = 3
    max_rows: int = 8
    sampler: Sampler = dataclasses.field(default_factory=GreedySampler)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(ngram=self.ngram, max_rows=self.max_rows)

    def get_config(self) -> dict[str, Any]:
        """Returns the options."""
        sampler = keras.saving.serialize_keras_object(self.sampler)
        names = "num_draft_tokens", "ngram", "max_rows"
        return {**{name: getattr(self, name) for name in names}, "sampler": sampler}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds a sampler from its options."""
        sampler = keras.saving.deserialize_keras_object(config["sampler"])
        return cls(**{**config, "sampler": sampler})

    def run(self, task: Task) -> Generated:
        """Returns what the whole loop generates, a `Generated`."""
        if isinstance(task.rows, int) and task.rows > self.max_rows:
            return self.sampler.run(task)
        return super().run(task)

    def start(self, task: Task) -> Drafting:
        """Returns the state before the first step."""
        state = self.start_state(task)
        return self._looked_up(task, state, ops.zeros_like(state.finished))

    def grow(self, task: Task, state: Drafting, length: int) -> Drafting:
        """Returns the state with a cache that has room for `length` steps."""
        return state._replace(state=self.sampler.grow(task, state.state, length))

    def repeat(
        self, task: Task, state: Drafting, goes_on: Callable[[Drafting, Task], Tensor]
    ) -> Drafting:
        """Returns the state after steps, as long as they go on.

        Loops in turn are of steps with drafts and of steps without: a condition in one
        of them would have compilers copy the cache.
        """

        def phase(state: Drafting, task: Task, drafted: bool) -> Drafting:
            def in_phase(state: Drafting, task: Task) -> Tensor:
                wanted = state.drafter.wanted
                wanted = wanted if drafted else ops.logical_not(wanted)
                return ops.logical_and(wanted, goes_on(state, task))

            return while_loop(
                in_phase,
                lambda state, task: self._step(task, state, drafted),
                state,
                task,
            )

        return while_loop(
            goes_on,
            lambda state, task: phase(phase(state, task, False), task, True),
            state,
            task,
        )

    def step(self, task: Task, state: Drafting) -> Drafting:
        """Returns the next state."""
        return ops.cond(
            state.drafter.wanted,
            lambda: self._step(task, state, True),
            lambda: self._step(task, state, False),
        )

    def _step(self, task: Task, state: Drafting, drafted: bool) -> Drafting:
        old, (drafts, trusted, _) = state
        new = self.checked(task, old, drafts if drafted else None)
        place = ops.broadcast_to(old.index, ops.shape(old.finished))
        right = take_of_each(new.ids, place[:, None])[:, 0] == drafts[:, 0]
        trusted = ops.where(drafts[:, 0] < 0, trusted, right)
        return self._looked_up(task, new, trusted)

    def _looked_up(self, task: Task, state: State, trusted: Tensor) -> Drafting:
        """The state with the drafts of the rows, and whether they are worth a step."""
        drafts, going = self.drafts(task, state), ops.logical_not(state.finished)
        hopeful = ops.logical_and(trusted, drafts[:, 0] >= 0)
        number, all_rows = (
            ops.sum(ops.cast(x, "int32"))
            for x in (ops.logical_and(hopeful, going), going)
        )
        wanted = ops.logical_and(number > 0, 2 * number >= all_rows)
        wanted = ops.logical_and(wanted, task.rows <= self.max_rows)
        return Drafting(state, Lookup(drafts, trusted, wanted))

    def drafts(self, task: Task, state: State) -> Tensor:
        """Returns what followed the last tokens of each row, where they stood before.

        Args:
            task: A `Task`.
            state: The state.

        Returns:
            Ids `(R, d)`, int32, -1 for none.
        """
        text, offset = _texts(task, state.ids)
        places = ops.arange(text.shape[1] or ops.shape(text)[1], dtype="int32")
        # How many tokens each row has with its start, and where the last one stands.
        count = ops.broadcast_to(state.index, ops.shape(state.finished)) + 1
        count = count[:, None]
        last = offset + count - 1
        length = ops.zeros_like(text)
        same = places < last
        for i in range(self.ngram):
            key = take_of_each(text, ops.maximum(last - i, 0))
            shifted = text
            if i:
                fill = ops.full_like(text[:, :i], -1)
                shifted = ops.concatenate([fill, text[:, :-i]], axis=1)
            same = ops.logical_and(same, shifted == key)
            same = ops.logical_and(same, count > i)
            length = length + ops.cast(same, "int32")
        size = ops.shape(text)[1]
        in_source = places < offset
        distance = ops.where(in_source, ops.abs(places + 1 - count), 2 * size - places)
        rank = length * (4 * size) - distance
        best = first_of_largest(rank, ops.max(rank, axis=-1, keepdims=True))[:, None]
        best = ops.cast(best, "int32")
        follow = best + 1 + ops.arange(self.num_draft_tokens, dtype="int32")
        drafts = take_of_each(text, ops.minimum(follow, size - 1))
        end = ops.where(best < offset, offset - 1, last)
        known = ops.logical_and(follow <= end, take_of_each(length, best) > 0)
        known = ops.logical_and(known, drafts != task.padding_id)
        return ops.where(known, drafts, -1)


def _texts(task: Task, ids: Tensor) -> tuple[Tensor, int | Tensor]:
    """What is looked through, `(R, N)`, and where in it the written tokens begin.

    The start stands before both parts, so that a source's beginning is found by it.
    """
    start = ops.full_like(ids[:, :1], task.start_id)
    written = ops.concatenate([start, ids], axis=1)
    facts = facts_of(task.model)
    if (
        len(task.source.shape) != 2
        or facts.source_vocabulary_size != facts.target_vocabulary_size
    ):
        return written, 0
    text = ops.concatenate([start, task.source, written], axis=1)
    return text, ops.shape(task.source)[1] + 1
