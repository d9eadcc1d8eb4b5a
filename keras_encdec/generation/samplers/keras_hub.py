"""Samplers of KerasHub in the generator: their loop, our model.

Legend of shapes: B batch, L largest length, D model.
"""

import dataclasses
from typing import Any, Self

import keras
from keras import ops

from keras_encdec.annotations import Tensor
from keras_encdec.backend import write_at
from keras_encdec.generation.processors.tokens import allow_only
from keras_encdec.generation.samplers.interface import BEYOND, Sampler, without_nan
from keras_encdec.generation.samplers.top_k import largest
from keras_encdec.generation.task import BROKEN, Generated, Task

# What became of a row, in the order in which one takes the place of another: it goes
# on, or after its end; no token may follow; its logits were nan, or infinite.
_GOES_ON, _ENDED, _OVER, _BROKEN = range(4)


def is_keras_hub(sampler: object) -> bool:
    """Returns whether a sampler is one of KerasHub's, which need not be installed."""
    names = [cls.__module__.split(".")[0] for cls in type(sampler).__mro__]
    return "keras_hub" in names


@keras.saving.register_keras_serializable(package="keras_encdec")
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

    def get_config(self) -> dict[str, Any]:
        """Returns the config of KerasHub's sampler."""
        return {"sampler": keras.saving.serialize_keras_object(self.sampler)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds a sampler from its config."""
        return cls(keras.saving.deserialize_keras_object(config["sampler"]))

    @property
    def one_token_a_step(self) -> bool:
        """False: the loop is KerasHub's."""
        return False

    @property
    def extra_positions(self) -> int:
        """One, for the sampler that looks one token ahead."""
        return 1

    @property
    def obeys_limits(self) -> bool:
        """False: KerasHub's loops go on to their own length."""
        return False

    @property
    def draws_by_row(self) -> bool:
        """False: KerasHub's samplers draw for all rows at once."""
        return False

    @property
    def takes_shortlist(self) -> bool:
        """False: the loop is KerasHub's, of all ids."""
        return False

    def rows_per_source(self, num_return_sequences: int) -> int:
        """Returns 1."""
        if num_return_sequences > 1:
            raise ValueError(
                "A sampler of KerasHub gives one sequence for a source; received "
                f"num_return_sequences={num_return_sequences}. Use a BeamSampler or a "
                "RandomSampler of keras_encdec."
            )
        return 1

    def run(self, task: Task) -> Generated:
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
        # The start may be an id that ends a row.
        given = ops.concatenate([start == start, task.new_ids() < 0], axis=1)
        cache = task.model.new_cache(task.rows, task.cache_length)
        cache = cache, ops.full((task.rows,), _GOES_ON, dtype="int32")
        contrastive = hasattr(self.sampler, "alpha")
        options = {"return_hidden": True} if contrastive else {}
        beyond = None  # The first id beyond the vocabulary, which stands for BROKEN.

        def following(
            prompt: Tensor, cache: Any, index: int | Tensor
        ) -> tuple[Tensor, Any, Any]:
            nonlocal beyond
            cache, fates = cache
            index = ops.cast(index, "int32")
            tokens = ops.take(prompt, index - 1, axis=1)
            ended = ops.logical_and(task.is_end(tokens), index > 1)
            fates = ops.maximum(fates, ops.where(ended, _ENDED, _GOES_ON))
            tokens = ops.where(fates == _BROKEN, task.padding_id, tokens)
            memory, rows = task.memory, ops.shape(prompt)[0]
            logits, cache, *hidden = task.model.step(
                tokens, index - 1, memory, cache, **options
            )
            beyond = logits.shape[-1]
            times = rows // task.rows
            of_prompt: dict[str, Any] = {
                name: None if x is None else ops.repeat(x, times, axis=0)
                for name, x in (
                    ("source", task.source),
                    ("limits", task.limits),
                    ("prefix", task.prefix),
                    ("phrases", task.phrases),
                )
            }
            task_of_prompt = dataclasses.replace(task, **of_prompt)
            ids = ops.where(prompt == beyond, task.padding_id, prompt)
            logits = task_of_prompt.process(ids[:, 1:], logits, index - 1)
            fates = _fates(fates, logits, times)
            logits = _halted(logits, fates, task.padding_id)
            if not hidden:
                return logits, (), (cache, fates)
            # All alike, so that only the logits decide.
            hidden = ops.where(fates[:, None] >= _OVER, 1.0, hidden[0])
            return logits, hidden, (cache, fates)

        hidden = None
        if contrastive:
            _, hidden, _ = following(prompt, cache, 1)
            shape = (task.rows, task.max_length + 1, hidden.shape[-1])
            zeros = ops.zeros(shape, dtype=hidden.dtype)
            hidden = write_at(zeros, 0, hidden[:, None])
        found = self.sampler(
            next=following,
            prompt=prompt,
            cache=cache,
            index=1,
            mask=given,
            stop_token_ids=task.end_ids,
            hidden_states=hidden,
            model=None,
        )
        # With `return_all_beams` a pair: all sequences, the best first; and scores.
        ids = found[0][:, 0, 1:] if isinstance(found, tuple) else found[:, 1:]
        # Its rows go on after their end.
        ends = ops.cast(task.is_end(ids), "int32")
        after = ops.cumsum(ends, axis=1) - ends > 0
        after = ops.logical_or(
            after,
            ops.arange(task.max_length, dtype="int32")[None] >= task.limits[:, None],
        )
        ids = ops.where(ids == beyond, BROKEN, ids)
        ids = ops.where(after, task.padding_id, ids)
        return Generated(ids[:, None], (), ())


def _fates(fates: Tensor, logits: Tensor, rows_per_source: int) -> Tensor:
    """Returns what becomes of rows that have these logits, `(R,)`, int32."""
    highest = largest(without_nan(logits))
    sound = highest < BEYOND
    goes_on = ops.logical_and(sound, highest > -float("inf"))
    # After its end nothing of a row counts.
    over = ops.logical_or(sound, fates >= _ENDED)
    halted = ops.maximum(fates, ops.where(over, _OVER, _BROKEN))
    fates = ops.where(goes_on, fates, halted)
    # The rows of a source are compared, which nan among them spoils.
    of_source = ops.reshape(fates == _BROKEN, (-1, rows_per_source))
    broken = ops.repeat(ops.any(of_source, axis=1), rows_per_source, axis=0)
    return ops.where(broken, _BROKEN, fates)


def _halted(logits: Tensor, fates: Tensor, padding_id: int) -> Tensor:
    """Returns logits `(R, V + 1)`: of one id alone where a row does not go on.

    KerasHub hands out nothing but ids, among which there is none for what is broken.
    """
    size = logits.shape[-1]
    never = ops.full_like(logits[:, :1], -float("inf"))
    logits = ops.concatenate([logits, never], axis=1)
    id_alone = ops.where(fates == _BROKEN, size, padding_id)[:, None]
    id_alone = allow_only(ops.arange(size + 1, dtype="int32") == id_alone)
    return ops.where(fates[:, None] >= _OVER, id_alone, logits)
