"""Calls of a compiled function at the same time, each with some of the cores."""

import contextlib
import math
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import keras

from keras_encdec.backend.environment import on_cpu, usable_cores


def calls_at_a_time(variables: Iterable[Any]) -> int:
    """Returns how many calls of a compiled function at a time take less than one.

    On CPUs every backend leaves cores idle in a small model's program, or has them wait
    for each other, so that two calls with half the rows each are faster than one. Large
    weights, which every call reads from memory anew, turn this around.

    Args:
        variables: The Keras variables that the function reads.

    Returns:
        The number of cores that the process may use, or 1; on PyTorch the number of
        its threads.

    Example:
        ```python
        from keras_encdec.backend import calls_at_a_time

        print(calls_at_a_time([]))
        ```
    """
    large = sum(math.prod(v.shape) for v in variables) > 2**23
    if large or not on_cpu():
        return 1
    if keras.config.backend() == "torch":
        return _SHARED.cores()
    return usable_cores()


@contextlib.contextmanager
def threads_sharing_cores(number: int) -> Iterator[Executor]:
    """Gives threads to call functions in, each of which has its share of the cores.

    The calls of TensorFlow and XLA take their threads from one pool. On PyTorch each
    would take all cores, and wait for its threads while others keep them busy.

    Args:
        number: How many threads, an int.

    Yields:
        A `concurrent.futures.Executor`.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import threads_sharing_cores

        with threads_sharing_cores(2) as threads:
            print(list(threads.map(ops.square, [2, 3])))
        ```
    """
    if keras.config.backend() != "torch":
        with ThreadPoolExecutor(number) as threads:
            yield threads
        return
    import torch

    with _SHARED.by_a_call() as cores:
        share = max(1, cores // number)
        with ThreadPoolExecutor(number, "part", torch.set_num_threads, (share,)) as x:
            yield x


class _SharedCores:
    """The number of threads that PyTorch has when no calls share it.

    A thread's number is also the one that threads begin with which start later, of
    whoever they are: it has to be brought back, by the last of calls that overlap too.
    """

    def __init__(self) -> None:
        self._lock, self._calls = threading.Lock(), 0
        self._cores = 0  # While no call shares them.

    def cores(self) -> int:
        """Returns the number."""
        import torch

        with self._lock:
            return self._cores if self._calls else torch.get_num_threads()

    @contextlib.contextmanager
    def by_a_call(self) -> Iterator[int]:
        """Lets a call change the number; yields it."""
        import torch

        with self._lock:
            if not self._calls:
                self._cores = torch.get_num_threads()
            self._calls += 1
            cores = self._cores
        try:
            yield cores
        finally:
            with self._lock:
                self._calls -= 1
                torch.set_num_threads(cores)


_SHARED = _SharedCores()
