"""The sampler: how one state of the loop becomes the next.

Legend of shapes: B batch, V vocabulary, L largest length, R target rows.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from keras import ops

from keras_encdec.annotations import Tensor
from keras_encdec.backend import (
    replace_nan,
    take_of_each,
    while_loop,
    write_at,
)
from keras_encdec.generation.cache_growth import extended_cache
from keras_encdec.generation.loop import LoopState, run_loop
from keras_encdec.generation.random_numbers import uniform
from keras_encdec.generation.samplers.top_k import largest
from keras_encdec.generation.task import BROKEN, Generated, Task

# More than any logit; float32 has nothing above it but infinity.
BEYOND = 3.4028234663852886e38


class State(NamedTuple):
    """The state of a loop that picks one token a step for each row."""

    index: Tensor  # ()
    tokens: Tensor  # (R,)
    finished: Tensor  # (R,)
    ids: Tensor  # (R, L)
    token_scores: Tensor  # (R, L), or ()
    cache: Any


@dataclasses.dataclass(frozen=True)
class Sampler:
    """The base of samplers: subclass it and write `__call__`.

    A sampler is a frozen dataclass of its options and a pure function: the random
    number comes from outside, so that it compiles into a loop and gives the same ids
    on every backend. Those that look further than one token (beams, say) write the
    loop's parts instead: `start`, `grow`, `step` and `finish`.

    Call arguments:
        logits: `(R, V)`, float32; -inf for a token that is not to be picked.
        uniform: `(R,)`, float32, from 0 up to, not including, 1.

    Returns:
        The ids picked, `(R,)`, int32.

    Example:
        ```python
        import dataclasses
        import keras
        from keras import ops
        from keras_encdec import Sampler

        @keras.saving.register_keras_serializable(package="mine")
        @dataclasses.dataclass(frozen=True)
        class SecondBestSampler(Sampler):
            def __call__(self, logits, uniform):
                return ops.cast(ops.top_k(logits, 2)[1][:, 1], "int32")

        print(SecondBestSampler()(ops.array([[0.1, 0.7, 0.2]]), ops.array([0.5])))
        ```
    """

    def __call__(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Returns the ids picked, `(R,)`, int32."""
        raise NotImplementedError(
            f"{type(self).__name__} must define __call__(logits, uniform), which "
            "returns the ids picked, (R,) int32."
        )

    @property
    def one_token_a_step(self) -> bool:
        """Whether each step settles a token, so that it can be streamed."""
        return True

    @property
    def extra_positions(self) -> int:
        """How many positions beyond the largest length the loop decodes."""
        return 0

    @property
    def draws_by_row(self) -> bool:
        """Whether what a row gets does not depend on the other rows of its batch."""
        return True

    @property
    def takes_shortlist(self) -> bool:
        """Whether it picks from the logits of `Task.step`, which may be of few ids."""
        return True

    @property
    def rows_may_leave(self) -> bool:
        """Whether rows that have ended may leave the loop, and others go on alone.

        Then all tensors of a state but scalars have a row for each source, or as many
        for each in turn, and the cache those of the model; the sampler itself has no
        tensors of rows. One that begins with a state of its own says so itself.
        """
        return self.draws_by_row and type(self).start is Sampler.start

    @property
    def obeys_limits(self) -> bool:
        """Whether a row stays what it is where others may be longer than it may be.

        Then a loop serves all largest lengths up to its own.
        """
        return True

    def rows_per_source(self, num_return_sequences: int) -> int:
        """Returns how many rows a source has in the loop.

        Args:
            num_return_sequences: The number of sequences wanted, an int.

        Raises:
            ValueError: If there cannot be as many.
        """
        return num_return_sequences

    def start(self, task: Task) -> LoopState:
        """Returns the state before the first step."""
        return State(
            index=ops.convert_to_tensor(0, dtype="int32"),
            tokens=ops.full((task.rows,), task.start_id, dtype="int32"),
            finished=task.limits < 1,
            ids=task.new_ids(),
            token_scores=task.new_token_scores(),
            cache=task.model.new_cache(task.rows, task.cache_length),
        )

    def grow(self, task: Task, state: LoopState, length: int) -> LoopState:
        """Returns the state with a cache that has room for `length` steps."""
        cache = extended_cache(state.cache, task.model, task.rows, length)
        return state._replace(cache=cache)

    def unfinished(self, task: Task, state: LoopState) -> Tensor:
        """Returns which sources have rows that go on, `(B,)`, bool."""
        going = ops.logical_not(state.finished)
        if task.rows_per_source == 1:
            return going
        return ops.any(ops.reshape(going, (-1, task.rows_per_source)), axis=1)

    def repeat(
        self,
        task: Task,
        state: LoopState,
        goes_on: Callable[[LoopState, Task], Tensor],
    ) -> LoopState:
        """Returns the state after steps.

        Args:
            task: A `Task`.
            state: The state before.
            goes_on: A function of a state and the task: whether there is another step.
        """
        return while_loop(
            goes_on, lambda state, task: self.step(task, state), state, task
        )

    def number_settled(self, state: LoopState) -> Tensor:
        """Returns how many tokens all rows have, or have ended, an int32 scalar."""
        return state.index

    def step(self, task: Task, state: LoopState) -> LoopState:
        """Returns the next state."""
        index = state.index
        logits, cache = task.step(state.tokens, index, state.cache)
        logits = without_nan(task.process(state.ids, logits, index))
        tokens = self(logits, uniform(task.seeds, index))
        return self.append(task, state, tokens, logits, cache)

    def append(
        self, task: Task, state: State, tokens: Tensor, logits: Tensor, cache: Any
    ) -> State:
        """Returns the next state, given the tokens picked from logits `without_nan`."""
        index = state.index
        picked = settled(task, index, task.limits, state.finished, tokens, logits)
        token_scores = state.token_scores
        if task.return_scores:
            scores = ops.expand_dims(picked.scores, 1)
            token_scores = write_at(token_scores, index, scores)
        return State(
            index=index + 1,
            tokens=picked.tokens,
            finished=picked.finished,
            ids=write_at(state.ids, index, picked.written[:, None]),
            token_scores=token_scores,
            cache=cache,
        )

    def finish(self, task: Task, state: LoopState) -> Generated:
        """Returns what the last state holds, a `Generated`."""
        shape = (-1, task.num_return_sequences, task.max_length)
        ids = ops.reshape(state.ids, shape)
        if not task.return_scores:
            return Generated(ids, (), ())
        token_scores = ops.reshape(state.token_scores, shape)
        return Generated(ids, ops.sum(token_scores, axis=-1), token_scores)

    def run(self, task: Task) -> Generated:
        """Returns what the whole loop generates, a `Generated`."""
        return run_loop(self, task)

    def get_config(self) -> dict[str, Any]:
        """Returns the options."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds a sampler from its options."""
        return cls(**config)


class Settled(NamedTuple):
    """What becomes of tokens that were picked; all of the tokens' shape."""

    tokens: Tensor  # The ids, padding after the end of a row.
    written: Tensor  # The same, BROKEN where the logits were nan.
    finished: Tensor  # Whether the row ends with it, or has ended before.
    scores: Tensor | tuple[()]


def settled(
    task: Task,
    index: Tensor,
    limits: Tensor,
    before: Tensor,
    tokens: Tensor,
    logits: Tensor,
) -> Settled:
    """Returns what becomes of tokens that were picked, one of each row or several.

    Args:
        task: A `Task`.
        index: The number of tokens before each, broadcasts to theirs.
        limits: The largest number of tokens, likewise.
        before: Whether the row has ended before, likewise, bool.
        tokens: What was picked, `(R,)` or `(R, T)`, int32.
        logits: What from, `without_nan`, with an axis more, float32.
    """
    highest = largest(logits)
    sound = highest < BEYOND
    # A row that no token may follow ends where it is, as one does without logits.
    nothing = ops.where(sound, highest, -float("inf")) == -float("inf")
    finished = ops.logical_or(before, nothing)
    scores: Tensor | tuple[()] = ()
    if task.return_scores:
        scores = log_probabilities(logits, tokens)
        scores = ops.where(nothing, -float("inf"), scores)
        scores = ops.where(before, 0.0, scores)
    tokens = ops.where(finished, task.padding_id, task.ids_of(tokens))
    written = ops.where(ops.logical_or(sound, before), tokens, BROKEN)
    ended = ops.logical_or(task.is_end(tokens), index + 1 >= limits)
    return Settled(tokens, written, ops.logical_or(finished, ended), scores)


def without_nan(logits: Tensor) -> Tensor:
    """Returns logits with `BEYOND` where they are nan or infinite upwards.

    Then the largest, which a sampler looks for anyway, tells of them: XLA's may be a
    number among which there was nan, and to look for that takes as long once more.

    Args:
        logits: Of any shape, float32.

    Returns:
        As the logits.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.samplers.interface import without_nan

        print(without_nan(ops.array([[0.1, -float("inf"), float("nan")]])))
        ```
    """
    # Not by infinity: XLA would make that the smaller one of both, or nan.
    return replace_nan(logits, BEYOND)


def log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """Returns the log-probabilities of tokens.

    Args:
        logits: `(..., V)`, float32.
        tokens: `(...,)`, int32.

    Returns:
        `(...,)`, float32.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.samplers.interface import log_probabilities

        print(log_probabilities(ops.array([[0.0, 0.0]]), ops.array([1])))
        ```
    """
    tokens = ops.expand_dims(tokens, -1)
    return take_of_each(ops.log_softmax(logits), tokens)[..., 0]
