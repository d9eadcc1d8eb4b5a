"""Samplers of KerasHub in the generator: their loop, our model.

Legend of shapes: B batch, L largest length, D model.
"""

import dataclasses
from typing import Any

from keras import ops

from keras_encdec.backend import write_at
from keras_encdec.generation.interface import Sampler
from keras_encdec.generation.task import Generated


def is_keras_hub(sampler):
    """Returns whether a sampler is one of KerasHub's, which need not be installed."""
    names = [cls.__module__.split(".")[0] for cls in type(sampler).__mro__]
    return "keras_hub" in names


@dataclasses.dataclass(frozen=True)
class KerasHubSampler(Sampler):
    """Runs a sampler of KerasHub.

    Its random numbers come from its own generators, which each call seeds with the seed
    of its first row: unlike ours they depend on the backend and on the rest of the
    batch.

    Args:
        sampler: A `keras_hub.samplers.Sampler`.
    """

    sampler: Any

    @property
    def one_token_a_step(self):
        """False: the loop is KerasHub's."""
        return False

    @property
    def extra_positions(self):
        """One, for the sampler that looks one token ahead."""
        return 1

    @property
    def obeys_limits(self):
        """False: KerasHub's loops go on to their own length."""
        return False

    @property
    def draws_by_row(self):
        """False: KerasHub's samplers draw for all rows at once."""
        return False

    def rows_per_source(self, num_return_sequences):
        """Returns 1."""
        if num_return_sequences > 1:
            raise ValueError(
                "A sampler of KerasHub gives one sequence for a source; received "
                f"num_return_sequences={num_return_sequences}. Use a BeamSampler or a "
                "RandomSampler of keras_encdec."
            )
        return 1

    def run(self, task):
        """Returns what KerasHub's loop generates, a `Generated`."""
        if task.return_scores:
            raise ValueError(
                "A sampler of KerasHub returns no scores; received return_scores=True. "
                "Score its sequences with Generator.score."
            )
        for variable in self.sampler.variables:
            first = ops.cast(ops.bitwise_and(task.seeds[0], 2**31 - 1), variable.dtype)
            variable.assign(ops.zeros(variable.shape, variable.dtype) + first)
        start = ops.full((task.rows, 1), task.start_id, dtype="int32")
        prompt = ops.concatenate([start, task.new_ids()], axis=1)
        cache = task.model.new_cache(task.rows, task.cache_length)
        contrastive = hasattr(self.sampler, "alpha")
        options = {"return_hidden": True} if contrastive else {}

        def following(prompt, cache, index):
            index = ops.cast(index, "int32")
            tokens = ops.take(prompt, index - 1, axis=1)
            memory, rows = task.memory, ops.shape(prompt)[0]
            logits, cache, *hidden = task.model.step(
                tokens, index - 1, memory, cache, **options
            )
            times = rows // task.rows
            spread = dataclasses.replace(
                task,
                **{
                    name: None if x is None else ops.repeat(x, times, axis=0)
                    for name, x in (
                        ("source", task.source),
                        ("limits", task.limits),
                        ("prefix", task.prefix),
                        ("phrases", task.phrases),
                    )
                },
            )
            logits = spread.process(prompt[:, 1:], logits, index - 1)
            return logits, (hidden[0] if hidden else ()), cache

        hidden = None
        if contrastive:
            _, hidden, _ = following(prompt, cache, 1)
            shape = (task.rows, task.max_length + 1, hidden.shape[-1])
            zeros = ops.zeros(shape, dtype=hidden.dtype)
            hidden = write_at(zeros, 0, hidden[:, None])
        prompt = self.sampler(
            next=following,
            prompt=prompt,
            cache=cache,
            index=1,
            stop_token_ids=task.end_ids,
            hidden_states=hidden,
            model=None,
        )
        ids = prompt[:, 1:]
        # Its rows go on after their end.
        ends = ops.cast(task.is_end(ids), "int32")
        after = ops.cumsum(ends, axis=1) - ends > 0
        after = ops.logical_or(
            after,
            ops.arange(task.max_length, dtype="int32")[None] >= task.limits[:, None],
        )
        ids = ops.where(after, task.padding_id, ids)
        return Generated(ids[:, None], (), ())
