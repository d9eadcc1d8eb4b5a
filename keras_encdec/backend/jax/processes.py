"""What processes of JAX that share a training exchange, by jax.distributed.

Arrays of a model are then those of all processes: a step is one program of all of them,
and so is whatever is computed with them, unless it is taken out of them first.
"""

import contextlib
import functools
import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_encdec.annotations import Tensor

# Of Keras: the address of the first process, how many there are, which one this is.
VARIABLES = [
    f"KERAS_DISTRIBUTION_{name}"
    for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
]

# Seconds without a sign of life after which JAX ends those that wait for the dead one;
# JAX's own are 100. For how long one waits for the others at its end stays JAX's own,
# 300: the first may do things of its own then.
_PATIENCE = 20

_joined = False


def join() -> None:
    """Joins other processes, if variables of the environment tell of them, or JAX."""
    import jax

    global _joined
    if _joined:
        return
    there = any(name in os.environ for name in VARIABLES)
    if there and not jax.distributed.is_initialized():
        _initialize()
    _joined = jax.distributed.is_initialized() and jax.process_count() > 1
    if _joined and jax.process_index() > 0:
        keras.config.disable_interactive_logging()


def _initialize() -> None:
    # Keras's own, which shares a seed of weights and dropout too, knows of no patience.
    import jax

    its = jax.distributed.initialize
    patient = functools.partial(its, heartbeat_timeout_seconds=_PATIENCE)
    try:
        jax.distributed.initialize = patient
        keras.distribution.initialize()
    finally:
        jax.distributed.initialize = its


def leave() -> None:
    """Has this process be alone from now on; JAX itself stays where it is."""
    global _joined
    _joined = False
    keras.distribution.set_distribution(None)


def count() -> int:
    """Returns the number of processes that have joined; 1 before `join`."""
    import jax

    return jax.process_count() if _joined else 1


def index() -> int:
    """Returns the number of this process, from 0."""
    import jax

    return jax.process_index() if _joined else 0


def devices_of_process() -> list[int]:
    """Returns which of the devices of all processes are this one's, by their numbers.

    Rows are divided among devices in this order.
    """
    import jax

    mine = jax.process_index()
    return [i for i, x in enumerate(jax.devices()) if x.process_index == mine]


def _all_gathered(array: np.ndarray) -> np.ndarray:
    """An array of each process, of one shape."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array))


def gathered(value: Any) -> list[Any]:
    """Returns a value of each process, in their order."""
    told = np.frombuffer(pickle.dumps(value), np.uint8)
    sizes = _all_gathered(np.array([len(told)], np.int32))[:, 0]
    # Of few lengths, for each is a program.
    longest = 1 << max(10, int(sizes.max() - 1).bit_length())
    rows = _all_gathered(np.pad(told, (0, longest - len(told))))
    return [
        pickle.loads(row[:size].tobytes())
        for row, size in zip(rows, sizes, strict=True)
    ]


def of_first(value: Any) -> Any:
    """Returns the value of the first process."""
    return gathered(value if index() == 0 else None)[0]


def any_of(flags: Sequence[bool]) -> list[bool]:
    """Returns for each flag whether it is set in any process."""
    told = _all_gathered(np.array(flags, np.uint8)).max(axis=0)
    return [bool(x) for x in told]


def share_variables(variables: Iterable[Any]) -> None:
    """Gives Keras variables the values that they have in the first process."""
    from jax.experimental import multihost_utils

    for variable in variables:
        value = multihost_utils.broadcast_one_to_all(np.asarray(variable.value))
        assign(variable, value)


def assign(variable: Any, value: Any) -> None:
    """Gives a variable a value, in this process alone."""
    import jax

    now = variable.value
    if now.is_fully_addressable:
        variable.assign(value)
        return
    array = np.asarray(value, now.dtype)
    variable.assign(
        jax.make_array_from_callback(array.shape, now.sharding, array.__getitem__)
    )


def own(value: Tensor) -> Tensor:
    """Returns what this process has of an array that each has whole."""
    is_ours = getattr(value, "is_fully_addressable", True)
    return value if is_ours else value.addressable_data(0)


def part_random_numbers() -> None:
    """Does nothing: there is one draw, of the rows of all."""


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Has what is made within be this process's own."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)
