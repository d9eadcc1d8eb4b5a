"""What PyTorch does on a GPU again and again, started as one, not kernel by kernel.

To start a kernel takes longer than most kernels of a step of decoding, and, with the
Python of Keras, than those of training too.
"""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from keras_encdec.annotations import Tensor
from keras_encdec.backend.shortcuts import is_on, take
from keras_encdec.backend.torch.graphs import copies, find_its_own_error

# Whether waiting is an error is a setting of the whole process.
_WAITING = threading.Lock()


def capture(
    function: Callable[..., Sequence[Tensor]] | None, tensors: Sequence[Tensor]
) -> "StepGraph | None":
    """Captures the step of a loop.

    Args:
        function: A function from tensors to a bool tensor, whether there are more
            steps, and those tensors that take the place of the first ones; or None.
        tensors: Its arguments, on a GPU.

    Returns:
        A `StepGraph`, or None where the GPU cannot do all that the function does.
    """
    if function is None or not is_on("torch-cuda-graphs"):
        return None
    return take(
        "torch-cuda-graphs",
        lambda: _unless_refused(StepGraph, function, tensors),
        lambda: find_its_own_error(function, tensors),
    )


def _unless_refused(make: Callable[..., Any], *args: Any) -> Any:
    """Returns a captured function, or None where it does what no capture may."""
    try:
        return make(*args)
    except RuntimeError as error:
        # CUDA's messages name it, as in "when stream is capturing".
        if "captur" in str(error):
            return None
        raise


class StepGraph:
    """A captured step, which reads and writes tensors of its own."""

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]
    ) -> None:
        import torch

        # Its constants must live as long as the graph, which reads their memory.
        self._function = function
        self._tensors = copies(tensors)
        self._running = threading.Lock()
        # Libraries allocate what they need outside of the capture.
        function(*copies(tensors))
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may go on meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._more, *changed = function(*self._tensors)
            for tensor, new in self._changes(changed):
                tensor.copy_(new)

    def _changes(self, changed: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Returns pairs of a tensor and what it becomes, apart from all of them."""
        places = {tensor.untyped_storage().data_ptr() for tensor in self._tensors}
        return [
            (old, new.clone() if new.untyped_storage().data_ptr() in places else new)
            for old, new in zip(self._tensors, changed, strict=False)
            # The others were written in place.
            if (old.data_ptr(), old.stride()) != (new.data_ptr(), new.stride())
        ]

    def repeat(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Repeats the step while there are more, at least once; returns all tensors."""
        with self._running:  # Its tensors are those of one call at a time.
            for tensor, given in zip(self._tensors, tensors, strict=True):
                tensor.copy_(given)
            self._graph.replay()
            while self._more:
                self._graph.replay()
            # The next time writes into its own.
            return list(copies(self._tensors))


@contextlib.contextmanager
def waiting_is_an_error(gpus: Sequence[int]) -> Iterator[list[RuntimeError]]:
    """Ends what makes a GPU wait, which no capture could contain.

    To find it before is better: a capture that fails leaves things in the middle.

    Args:
        gpus: Without any, nothing is ended.

    Yields:
        A list, which holds the error, if there was one.
    """
    import torch

    errors: list[RuntimeError] = []
    if not gpus:
        yield errors
        return
    # One at a time, or the second would bring back the mode of the first.
    with _WAITING:
        mode = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It says that it does not find everything.
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield errors
        except RuntimeError as error:
            errors.append(error)
        finally:
            torch.cuda.set_sync_debug_mode(mode)


class FunctionGraph:
    """A captured function, which reads and writes tensors of its own.

    Args:
        function: A function from tensors to tensors, called before.
        tensors: Its arguments, on a GPU.
        pool: The memory of graphs of which one runs at a time.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        tensors: Sequence[Tensor],
        pool: Any,
    ) -> None:
        import torch

        # Its constants must live as long as the graph, which reads their memory.
        self._function = function
        self._tensors = copies(tensors)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool, capture_error_mode="thread_local"):
            self._found = function(*self._tensors)

    @classmethod
    def of(
        cls,
        function: Callable[..., Sequence[Tensor]],
        tensors: Sequence[Tensor],
        pool: Any,
    ) -> Self | None:
        """Returns it, or None where the GPU cannot do all that the function does."""
        return take(
            "torch-cuda-graphs",
            lambda: _unless_refused(cls._captured, function, tensors, pool),
            lambda: None,  # It was called before.
        )

    @classmethod
    def _captured(
        cls,
        function: Callable[..., Sequence[Tensor]],
        tensors: Sequence[Tensor],
        pool: Any,
    ) -> Self:
        import torch

        try:
            return cls(function, tensors, pool)
        except RuntimeError:
            # A capture that fails would leave them in the middle of it.
            for generator in torch.cuda.default_generators:
                fresh = torch.Generator(generator.device)
                generator.graphsafe_set_state(fresh.graphsafe_get_state())
            raise

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        """Returns what the function returns, until the next call."""
        for tensor, given in zip(self._tensors, tensors, strict=True):
            tensor.copy_(given)
        self._graph.replay()
        return self._found
