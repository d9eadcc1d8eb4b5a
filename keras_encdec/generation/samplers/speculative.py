"""Speculative decoding: a small model proposes, the large one checks many at once.

Legend of shapes: R target rows, L largest length, V vocabulary.
"""

import dataclasses
from typing import Any, NamedTuple

from keras import ops

from keras_encdec.annotations import KerasModel, Tensor
from keras_encdec.backend import traced_call, write_at
from keras_encdec.generation.cache_growth import extended_cache
from keras_encdec.generation.random_numbers import uniform
from keras_encdec.generation.samplers.interface import Sampler, State, without_nan
from keras_encdec.generation.task import Generated, Task
from keras_encdec.option_checks import require_positive


class Speculation(NamedTuple):
    """The state of the small model beside that of the large one."""

    state: State
    memory: Any
    cache: Any

    @property
    def index(self) -> Tensor:
        """The number of tokens, an int32 scalar."""
        return self.state.index

    @property
    def finished(self) -> Tensor:
        """Which rows have ended, `(R,)`, bool."""
        return self.state.finished

    @property
    def ids(self) -> Tensor:
        """The rows so far, `(R, L + d)`, int32."""
        return self.state.ids


@dataclasses.dataclass(frozen=True)
class SpeculativeSampler(Sampler):
    """Gives what its sampler gives, with fewer steps of the large model.

    The small model picks d tokens with the sampler, the large one gives the logits of
    all of them in one step, and the sampler picks from these with the same random
    numbers: the tokens up to the first that differs are what it would have picked one
    by one. All rows advance by what the least lucky one had accepted.

    Args:
        sampler: A `Sampler` that picks row by row.
        draft_model: A model with the same target ids.
        num_draft_tokens: The number d of tokens proposed at a time.

    Reference:
        Leviathan et al. 2023, Fast Inference from Transformers via Speculative
        Decoding.
    """

    sampler: Sampler
    draft_model: KerasModel
    num_draft_tokens: int = 4

    def __post_init__(self) -> None:
        if not self.sampler.one_token_a_step or self.sampler.extra_positions:
            raise ValueError(
                "A draft model needs a sampler that picks token by token; received "
                f"{self.sampler!r}. Use GreedySampler or a RandomSampler."
            )
        require_positive(num_draft_tokens=self.num_draft_tokens)

    @property
    def extra_positions(self) -> int:
        """How many positions beyond the largest length the loop decodes."""
        return self.num_draft_tokens

    @property
    def takes_shortlist(self) -> bool:
        """False: the small model has none."""
        return False

    def rows_per_source(self, num_return_sequences: int) -> int:
        """Returns what the sampler returns."""
        return self.sampler.rows_per_source(num_return_sequences)

    def start(self, task: Task) -> Speculation:
        """Returns the state before the first step."""
        # Room for the proposals made at the last position.
        wide = dataclasses.replace(
            task, max_length=task.max_length + self.num_draft_tokens
        )
        state = self.sampler.start(wide)
        sources = task.source[:: task.rows_per_source]
        return Speculation(
            state=state,
            memory=traced_call(self.draft_model.encode, sources),
            cache=self.draft_model.new_cache(task.rows, task.cache_length),
        )

    def grow(self, task: Task, state: Speculation, length: int) -> Speculation:
        """Returns the state with caches that have room for `length` steps."""
        return state._replace(
            state=self.sampler.grow(task, state.state, length),
            cache=extended_cache(state.cache, self.draft_model, task.rows, length),
        )

    def step(self, task: Task, state: Speculation) -> Speculation:
        """Returns the next state."""
        old, memory, draft_cache = state
        index = old.index
        number = self.num_draft_tokens
        # One step more than tokens, for the cache of the last one.
        tokens, ids = [old.tokens], old.ids + 0
        for i in range(number + 1):
            logits, draft_cache = self.draft_model.step(
                tokens[-1], index + i, memory, draft_cache
            )
            if i < number:
                logits = task.process(ids, logits, index + i)
                picked = self.sampler(logits, uniform(task.seeds, index + i))
                ids = write_at(ids, index + i, picked[:, None])
                tokens.append(picked)
        logits, cache = task.model.step(
            ops.stack(tokens, axis=1), index, task.memory, old.cache
        )
        new, accepted = old._replace(cache=cache), ops.ones_like(index)
        going = ops.ones_like(accepted, dtype="bool")
        states = []
        for i in range(number + 1):
            here = task.process(new.ids, logits[:, i], index + i)
            here = without_nan(here)
            picked = self.sampler(here, uniform(task.seeds, index + i))
            new = self.sampler.append(task, new, picked, here, cache)
            states.append(new)
            if i < number:
                agrees = ops.logical_or(new.finished, new.tokens == tokens[i + 1])
                going = ops.logical_and(going, ops.all(agrees))
                accepted = accepted + ops.cast(going, accepted.dtype)
        # The state after the last token that all rows accepted.
        chosen = states[-1]
        tokens = _at([s.tokens for s in states], accepted - 1)
        finished = _at([s.finished for s in states], accepted - 1)
        after = ops.arange(chosen.ids.shape[1], dtype="int32") >= index + accepted
        ids = ops.where(after, task.padding_id, chosen.ids)
        token_scores = chosen.token_scores
        if task.return_scores:
            token_scores = ops.where(after, 0.0, token_scores)
        index = index + accepted
        new = State(index, tokens, finished, ids, token_scores, cache)
        return Speculation(new, memory, draft_cache)

    def finish(self, task: Task, state: Speculation) -> Generated:
        """Returns what the last state holds, a `Generated`."""
        found = state.state
        token_scores = found.token_scores
        if task.return_scores:
            token_scores = token_scores[:, : task.max_length]
        ids = found.ids[:, : task.max_length]
        found = found._replace(ids=ids, token_scores=token_scores)
        return self.sampler.finish(task, found)


def _at(tensors: list[Tensor], index: Tensor) -> Tensor:
    return ops.take(ops.stack(tensors, axis=0), index, axis=0)
