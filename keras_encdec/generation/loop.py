"""The loop of generation: a start, segments of steps, and what the last state holds.

A segment ends where every row has ended or the cache is full. Between segments the
state is outside of any compiled loop: there the cache grows, and there rows may leave.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

from keras import ops

from keras_encdec.annotations import Tensor
from keras_encdec.generation.cache_growth import cache_lengths
from keras_encdec.generation.leaving import rows_may_leave, run_remaining

if TYPE_CHECKING:
    from keras_encdec.generation.samplers.interface import Sampler
    from keras_encdec.generation.task import Generated, Task

# Each kind of sampler has its own, with `index`, `finished` and `ids` if it can be
# streamed.
LoopState: TypeAlias = Any


def run_loop(sampler: "Sampler", task: "Task") -> "Generated":
    """Returns what a sampler generates.

    Args:
        sampler: A `Sampler`.
        task: A `Task`.

    Returns:
        A `Generated`.

    Example:
        ```python
        from keras import ops
        from keras_encdec import EncoderDecoder, GreedySampler
        from keras_encdec.generation import row_seeds
        from keras_encdec.generation.loop import run_loop
        from keras_encdec.generation.task import make_task

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        arrays = ops.array([[5, 7, 2]]), ops.array([4]), row_seeds(0, 1)
        task = make_task(model, GreedySampler(), *arrays, max_length=4)
        print(run_loop(GreedySampler(), task).ids)
        ```
    """
    first, *others = cache_lengths(task.cache_length)
    task = dataclasses.replace(task, cache_length=first)
    state = run_segment(sampler, task, sampler.start(task), first)
    for length in others:
        state = sampler.grow(task, state, length)
        state = run_segment(sampler, task, state, length)
    return sampler.finish(task, state)


def run_segment(
    sampler: "Sampler", task: "Task", state: LoopState, length: int
) -> LoopState:
    """Returns the state after the steps that a cache has room for.

    Args:
        sampler: A `Sampler`.
        task: A `Task`.
        state: What its `start`, `grow` or the segment before returned.
        length: The number of positions of the state's cache, an int.
    """
    last = length - sampler.extra_positions

    def run(task: "Task", state: LoopState, most: int | Tensor) -> LoopState:
        def goes_on(state: LoopState, task: "Task") -> Tensor:
            going = sampler.unfinished(task, state)
            if isinstance(most, int) and most == 0:
                more = ops.any(going)
            else:
                more = ops.sum(ops.cast(going, "int32")) > most
            return ops.logical_and(more, state.index < last)

        return sampler.repeat(task, state, goes_on)

    if rows_may_leave(sampler, task):
        return run_remaining(sampler, task, state, run, last)
    return run(task, state, 0)
