"""Speculative decoding: a small model proposes, the large one checks many at once.

Legend of shapes: R target rows, d proposed tokens.
"""

import dataclasses

from keras import ops

from keras_encdec.annotations import KerasModel, Tensor
from keras_encdec.backend import traced_call, write_at
from keras_encdec.generation.cache_growth import extended_cache
from keras_encdec.generation.samplers.drafts import (
    Drafting,
    DraftSampler,
    first_place,
    places_of,
)
from keras_encdec.generation.samplers.interface import Sampler
from keras_encdec.generation.task import Task
from keras_encdec.protocol import facts_of


@dataclasses.dataclass(frozen=True)
class SpeculativeSampler(DraftSampler):
    """Gives what its sampler gives, with fewer steps of the large model.

    The small model picks d tokens with the sampler, and the large one checks all of
    them in one step, as `DraftSampler` tells.

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

    @property
    def takes_shortlist(self) -> bool:
        """False: the small model has none."""
        return False

    def advances_by_row(self, task: Task) -> bool:
        """Whether each row advances by itself."""
        by_row = bool(facts_of(self.draft_model).steps_by_row)
        return by_row and super().advances_by_row(task)

    def start(self, task: Task) -> Drafting:
        """Returns the state before the first step."""
        sources = task.source[:: task.rows_per_source]
        memory = traced_call(self.draft_model.encode, sources)
        cache = self.draft_model.new_cache(task.rows, task.cache_length)
        return Drafting(self.start_state(task), (memory, cache))

    def grow(self, task: Task, state: Drafting, length: int) -> Drafting:
        """Returns the state with caches that have room for `length` steps."""
        memory, cache = state.drafter
        cache = extended_cache(cache, self.draft_model, task.rows, length)
        return Drafting(self.sampler.grow(task, state.state, length), (memory, cache))

    def step(self, task: Task, state: Drafting) -> Drafting:
        """Returns the next state."""
        drafts, cache = self._propose(task, state)
        memory, _ = state.drafter
        return Drafting(self.checked(task, state.state, drafts), (memory, cache))

    def _propose(self, task: Task, state: Drafting) -> tuple[Tensor, object]:
        old, (memory, cache) = state
        number, first, ids = self.num_draft_tokens, first_place(old), old.ids + 0
        places, tokens = places_of(old, number), [old.tokens]
        # One step more than tokens, for the cache of the last one.
        for i in range(number + 1):
            logits, cache = self.draft_model.step(tokens[-1], first + i, memory, cache)
            if i < number:
                here, logits = places[:, i : i + 1], logits[:, None]
                index = old.index if self.advances_by_row(task) else old.index + i
                before = old._replace(index=index, ids=ids)
                logits = self.processed(task, before, tokens[-1][:, None], logits, here)
                picked = self.pick(task, logits, here)
                ids = write_at(ids, old.index + i, picked)
                tokens.append(picked[:, 0])
        return ops.stack(tokens[1:], axis=1), cache
