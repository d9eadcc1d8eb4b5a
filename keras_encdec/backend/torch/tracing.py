"""Parts of a PyTorch function that run without their Python after a while.

The Python of a step of decoding takes longer than its kernels. What is called again and
again with tensors of the same shapes is traced once, and the trace is called from then
on.
"""

import contextlib
import contextvars
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from keras_encdec.annotations import Nested, Tensor
from keras_encdec.backend.dependencies import are_the_same, key_of
from keras_encdec.backend.recently_used import RecentlyUsed
from keras_encdec.backend.shortcuts import take
from keras_encdec.backend.torch.cuda_graphs import StepGraph, capture
from keras_encdec.backend.torch.graphs import (
    Flattened,
    copies,
    graph_of,
    run_once,
    tensors_of,
    with_tensors,
)
from keras_encdec.backend.torch.products import ArrangedWeights, weights_seen_once

# A trace takes about as long as this many calls.
CALLS_BEFORE_TRACE = 32
# Traces of a function that are kept, those that were called last.
MOST_TRACES = 64
# Each keeps a cache in the memory of the GPU.
MOST_CAPTURED = 32

# The traces of the function that runs.
_TRACES: contextvars.ContextVar["Traces | None"] = contextvars.ContextVar(
    "traces", default=None
)
# PyTorch's tracers are made for one thread.
_TRACING = threading.RLock()


class Traces:
    """What was traced of a function, for the next time.

    Args:
        variables: The Keras variables the function reads. Where one has been given
            another tensor, or that another memory, traces are made anew.
    """

    def __init__(self, variables: Sequence[Any] = ()) -> None:
        self._variables = variables
        self._values: list[Tensor] = []
        self._places: list[int] = []
        self._traces: RecentlyUsed[_Trace] = RecentlyUsed(MOST_TRACES)
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keeps here what is traced meanwhile."""
        values = [variable.value for variable in self._variables]
        places = [value.data_ptr() for value in values]
        with self._lock:
            if not are_the_same(self._values, values) or self._places != places:
                self._traces.clear()
                self._values, self._places = values, places
        token = _TRACES.set(self)
        try:
            with weights_seen_once():
                yield
        finally:
            _TRACES.reset(token)

    def of(self, function: Any, structure: Nested) -> "_Trace":
        """Returns the trace of a function called with nested tensors."""
        import torch

        key = key_of((function, structure), 0, torch.is_tensor, _kind)
        return self._traces.get(key, _Trace)

    def may_capture(self) -> bool:
        """Whether there is memory for another loop on a GPU."""
        kept = sum(trace.is_captured for trace in self._traces.values())
        return kept < MOST_CAPTURED

    def __len__(self) -> int:
        return len(self._traces)


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.device


def while_loop(
    condition: Callable[[Nested, Nested], Tensor],
    step: Callable[[Nested, Nested], Nested],
    state: Nested,
    constants: Nested,
) -> Nested:
    """Repeats a step while a condition holds; see `backend.while_loop`."""
    structure = state, constants
    tensors, number = tensors_of(structure), len(tensors_of(state))

    def flat_step(*tensors: Tensor) -> tuple[Tensor, ...]:
        state, constants = with_tensors(structure, tensors)
        state = step(state, constants)
        return condition(state, constants), *tensors_of(state)

    # Not by the functions, which are others each time, but by what they are made of.
    trace = _trace_of((condition, step), structure)
    more = condition(state, constants)
    while more:
        if captured := trace.captured(flat_step, tensors):
            tensors = captured.repeat(tensors)
            break
        more, *changed = trace(flat_step, tensors)
        tensors[:number] = changed
    return with_tensors(structure, tensors)[0]


def traced_call(function: Callable[..., Nested], *args: Nested) -> Nested:
    """Calls a function; see `backend.traced_call`."""
    tensors = tensors_of(args)
    trace = _trace_of(function, args)
    if trace.flat is None:
        with _TRACING:
            # One for all threads, for it knows the structure of results once called.
            trace.flat = trace.flat or Flattened(function, args)
    return trace.flat.restore(trace(trace.flat, tensors))


class _Trace:
    """A function from tensors to tensors, traced after a number of calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.traced: Callable[..., Sequence[Tensor]] | None = None
        self.flat: Flattened | None = None
        self._captured: StepGraph | None = None
        self._weights: ArrangedWeights | None = None

    @property
    def is_captured(self) -> bool:
        """Whether a GPU has it, with the memory of its cache."""
        return self._captured is not None

    def captured(
        self, function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]
    ) -> StepGraph | None:
        """Returns the step of a loop as a GPU takes it, or None."""
        ready = self.calls == CALLS_BEFORE_TRACE and not self.is_captured
        if ready and any(tensor.is_cuda for tensor in tensors):
            with _TRACING:
                traces = _TRACES.get()
                if not self.is_captured and traces and traces.may_capture():
                    self._captured = capture(graph_of(function, tensors), tensors)
        return self._captured

    def __call__(
        self, function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        if self.calls <= CALLS_BEFORE_TRACE:
            # In turn: the Python of two threads at a time takes longer than of one.
            with _TRACING:
                if self.calls == CALLS_BEFORE_TRACE:
                    self.traced, self._weights = _traced(function, tensors)
                self.calls += 1
                if self.traced is None:
                    return function(*tensors)
        return (self.traced or function)(*tensors)

    def update(self) -> None:
        """Sees to it that weights are those of now."""
        if self._weights:
            self._weights.update(self.traced)


def _traced(
    function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]
) -> tuple[Callable[..., Sequence[Tensor]] | None, ArrangedWeights | None]:
    """Returns the trace and its arranged weights, or twice None."""
    graph, weights = take(
        "torch-arranged-weights",
        lambda: _arranged(graph_of(function, tensors), tensors),
        lambda: (graph_of(function, tensors), None),
    )
    if graph is None:
        return None, None
    return take("torch-traces", lambda: _trace(graph, tensors), lambda: graph), weights


def _arranged(
    graph: Any, tensors: Sequence[Tensor]
) -> tuple[Any, ArrangedWeights | None]:
    """Returns a graph whose weights are arranged, and these, or it and None."""
    weights = graph and ArrangedWeights(graph)
    if not weights:
        return graph, None
    return run_once(graph, tensors), weights


def _trace(graph: Any, tensors: Sequence[Tensor]) -> Callable[..., Any]:
    import torch

    # Deprecated in favour of `torch.compile`, which takes half a minute for each set of
    # shapes and a C++ compiler; and twice as fast as the graph itself.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace = torch.jit.trace(graph, copies(tensors), check_trace=False)
        # The second call is the first of what PyTorch makes of the trace.
        return run_once(run_once(trace, tensors), tensors)


def _trace_of(function: Any, structure: Nested) -> _Trace:
    traces = _TRACES.get()
    trace = _Trace() if traces is None else traces.of(function, structure)
    trace.update()
    return trace
