"""Contrastive search: likely tokens that do not repeat what was said.

Legend of shapes: B batch, L largest length, D model, V vocabulary, k candidates.
"""

import dataclasses
from typing import NamedTuple

import keras
from keras import ops, tree

from keras_encdec.annotations import Tensor
from keras_encdec.backend import take_of_each, write_at
from keras_encdec.generation.samplers.interface import Sampler, State, without_nan
from keras_encdec.generation.samplers.top_k import argmax, top_k
from keras_encdec.generation.task import Generated, Task
from keras_encdec.option_checks import require_positive


class ContrastiveState(NamedTuple):
    """The state of a contrastive search: the next logits are known already."""

    state: State
    logits: Tensor  # (B, V)
    hidden: Tensor  # (B, L + 1, D)

    @property
    def index(self) -> Tensor:
        """The number of tokens, an int32 scalar."""
        return self.state.index

    @property
    def finished(self) -> Tensor:
        """Which rows have ended, `(B,)`, bool."""
        return self.state.finished

    @property
    def ids(self) -> Tensor:
        """The rows so far, `(B, L)`, int32."""
        return self.state.ids


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class ContrastiveSampler(Sampler):
    """Picks among the k likeliest tokens the one that repeats the least.

    A token's probability, times `1 - alpha`, is set against alpha times the largest
    cosine between the decoder's output after it and those after earlier tokens.

    Args:
        k: The number of candidates, each of which costs a row of a step.
        alpha: The weight of the penalty, from 0 (greedy) to 1.

    Raises:
        ValueError: If an option is out of its range.

    Example:
        ```python
        from keras_encdec import ContrastiveSampler, EncoderDecoder, Generator

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        print(Generator(model, ContrastiveSampler(k=4))([[5, 7, 2]], max_length=6))
        ```

    Reference:
        Su et al. 2022, A Contrastive Framework for Neural Text Generation.
    """

    k: int = 5
    alpha: float = 0.6

    def __post_init__(self) -> None:
        require_positive(k=self.k)
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1; received {self.alpha!r}.")

    def __call__(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Raises, for the search needs more than logits."""
        raise TypeError(
            "ContrastiveSampler looks one token ahead and cannot pick from logits "
            "alone; pass it to a Generator."
        )

    @property
    def extra_positions(self) -> int:
        """One, for it looks one token ahead."""
        return 1

    @property
    def takes_shortlist(self) -> bool:
        """False: it weighs hidden states of ids that it may not have."""
        return False

    def rows_per_source(self, num_return_sequences: int) -> int:
        """Returns 1."""
        if num_return_sequences > 1:
            raise ValueError(
                "ContrastiveSampler gives one sequence for a source; received "
                f"num_return_sequences={num_return_sequences}. Use a RandomSampler."
            )
        return 1

    def start(self, task: Task) -> ContrastiveState:
        """Returns the state before the first step."""
        state = super().start(task)
        logits, cache, hidden = task.model.step(
            state.tokens, 0, task.memory, state.cache, return_hidden=True
        )
        shape = (task.rows, task.max_length + 1, hidden.shape[-1])
        history = write_at(ops.zeros(shape, hidden.dtype), 0, hidden[:, None])
        return ContrastiveState(
            state._replace(cache=cache), ops.cast(logits, "float32"), history
        )

    def grow(
        self, task: Task, state: ContrastiveState, length: int
    ) -> ContrastiveState:
        """Returns the state with a cache that has room for `length` steps."""
        return state._replace(state=super().grow(task, state.state, length))

    def step(self, task: Task, state: ContrastiveState) -> ContrastiveState:
        """Returns the next state."""
        (index, _, _, ids, _, cache), raw, history = state
        logits = without_nan(task.process(ids, raw, index))
        size = min(self.k, logits.shape[-1])
        values, tokens = top_k(logits, size)
        candidates = tree.map_structure(lambda x: ops.repeat(x, size, axis=0), cache)
        following, candidates, hidden = task.model.step(
            ops.reshape(tokens, (-1,)),
            index + 1,
            task.memory,
            candidates,
            return_hidden=True,
        )
        hidden = ops.reshape(hidden, (-1, size, hidden.shape[-1]))
        alike = ops.einsum("bkd,bld->bkl", _unit(hidden), _unit(history))
        past = ops.arange(history.shape[1], dtype="int32") <= index
        alike = ops.max(ops.where(past, alike, -1.0), axis=-1)
        log_probabilities = ops.log_softmax(logits)
        likely = ops.exp(take_of_each(log_probabilities, tokens))
        scores = (1 - self.alpha) * likely - self.alpha * alike
        scores = ops.where(values == -float("inf"), -float("inf"), scores)
        best = argmax(scores)[:, None]
        rows = best[:, 0] + ops.arange(ops.shape(best)[0], dtype="int32") * size
        cache = tree.map_structure(lambda x: ops.take(x, rows, axis=0), candidates)
        picked = take_of_each(tokens, best)[:, 0]
        hidden = take_of_each(hidden, best)
        following = ops.cast(ops.take(following, rows, axis=0), "float32")
        return ContrastiveState(
            self.append(task, state.state, picked, logits, cache),
            following,
            write_at(history, index + 1, hidden),
        )

    def finish(self, task: Task, state: ContrastiveState) -> Generated:
        """Returns what the last state holds, a `Generated`."""
        return super().finish(task, state.state)


def _unit(x: Tensor) -> Tensor:
    x = ops.cast(x, "float32")
    return x / ops.maximum(ops.sqrt(ops.sum(x * x, axis=-1, keepdims=True)), 1e-12)
