"""Rows that have ended leave the loop, so that a step computes the others alone.

Legend of shapes: B sources, M some of them.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from keras import ops, tree

from keras_encdec.annotations import Nested, Tensor
from keras_encdec.backend import shapes_may_change, while_shapes_change
from keras_encdec.protocol import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from keras_encdec.generation.samplers.interface import Sampler
    from keras_encdec.generation.task import Task

# The most target rows of which none leave: a step of fewer takes as long.
FEWEST = 16

# The fields of a task that have rows of each source.
_BY_SOURCE = "memory", "source", "limits", "longest", "seeds", "prefix", "phrases"


class _Remaining(NamedTuple):
    """The sources that are still in the loop, and what all have so far."""

    places: Tensor  # (M,): which they are
    state: Any  # Their state.
    tensors: dict[str, Any]  # Their fields of the task.
    whole: Any  # The state of all B.


def rows_may_leave(sampler: "Sampler", task: "Task") -> bool:
    """Whether rows leave the loop of a task: where shapes may change at no cost.

    XLA and PyTorch would compile or trace a step for each number of rows.

    Args:
        sampler: A `Sampler`.
        task: A `Task`.
    """
    by_source = facts_of(task.model).memory_by_source
    return bool(sampler.rows_may_leave and by_source and shapes_may_change())


def run_remaining(
    sampler: "Sampler",
    task: "Task",
    state: Any,
    run: "Callable[[Task, Any, Any], Any]",
    last: int,
) -> Any:
    """Returns the state of all rows after a segment that ever fewer of them go through.

    Whenever half of the sources, or more, have ended, the others go on without them.

    Args:
        sampler: A `Sampler` whose rows may leave.
        task: A `Task`.
        state: The state of all its rows.
        run: A function from a task, its state and a number of sources to the state when
            no more than so many go on.
        last: The index at which the segment ends, an int.
    """

    def of_rest(tensors: dict[str, Any]) -> "Task":
        fields = {k: v for k, v in tensors.items() if k != "allowed"}
        if task.shortlist is not None:
            allowed = tensors["allowed"]
            fields["shortlist"] = task.shortlist._replace(allowed=allowed)
        return dataclasses.replace(task, **fields)

    def goes_on(rest: _Remaining) -> Tensor:
        going = sampler.unfinished(of_rest(rest.tensors), rest.state)
        return ops.logical_and(ops.any(going), rest.state.index < last)

    def step(rest: _Remaining) -> _Remaining:
        number = ops.shape(rest.places)[0]
        rest_task = of_rest(rest.tensors)
        enough = number * task.rows_per_source > FEWEST
        half = ops.where(enough, number // 2, 0)
        state = run(rest_task, rest.state, half)
        whole = put_sources(rest.whole, state, rest.places, sources)
        kept = _first_true(sampler.unfinished(rest_task, state), ops.maximum(half, 1))
        return _Remaining(
            ops.take(rest.places, kept, axis=0),
            take_sources(state, kept, number),
            take_sources(rest.tensors, kept, number),
            whole,
        )

    sources = ops.shape(task.limits)[0] // task.rows_per_source
    tensors = {k: getattr(task, k) for k in _BY_SOURCE}
    tensors = {k: v for k, v in tensors.items() if v is not None}
    if task.shortlist is not None:
        tensors["allowed"] = task.shortlist.allowed
    everything = _Remaining(ops.arange(sources, dtype="int32"), state, tensors, state)
    return while_shapes_change(goes_on, step, everything).whole


def _first_true(flags: Tensor, number: Tensor) -> Tensor:
    """Returns the places of the first True, then of the first False, in order."""
    places = ops.arange(ops.shape(flags)[0], dtype="int32")
    order = ops.where(flags, places, places + ops.shape(flags)[0])
    return ops.sort(ops.cast(ops.argsort(order), "int32")[:number])


def take_sources(nested: Nested, places: Tensor, number: int | Tensor) -> Nested:
    """Returns the rows of some sources.

    Args:
        nested: Nested tensors of as many rows for each source, in turn, or scalars.
        places: Which sources `(M,)`, int32.
        number: The number of sources B, an int or an int32 scalar.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.leaving import take_sources

        print(take_sources(ops.arange(6), ops.array([2, 0]), 3))  # 4 5 0 1
        ```
    """

    def take(x: Tensor) -> Tensor:
        if not len(x.shape):
            return x
        rest = ops.shape(x)[1:]
        taken = ops.take(ops.reshape(x, (number, -1, *rest)), places, axis=0)
        return ops.reshape(taken, (-1, *rest))

    return tree.map_structure(take, nested)


def put_sources(
    nested: Nested, some: Nested, places: Tensor, number: int | Tensor
) -> Nested:
    """Returns nested tensors with other rows for some sources.

    Args:
        nested: As `take_sources` takes them.
        some: The same of M sources; its scalars are taken.
        places: Which sources `(M,)`, int32, each once.
        number: The number of sources B, an int or an int32 scalar.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation.leaving import put_sources

        print(put_sources(ops.zeros(6), ops.ones(2), ops.array([1]), 3))
        ```
    """

    def put(x: Tensor, new: Tensor) -> Tensor:
        if not len(x.shape):
            return new
        rest = ops.shape(x)[1:]
        rows = ops.reshape(x, (number, -1, *rest))
        new = ops.reshape(new, (-1, *ops.shape(rows)[1:]))
        rows = ops.scatter_update(rows, places[:, None], new)
        return ops.reshape(rows, ops.shape(x))

    return tree.map_structure(put, nested, some)
