"""Parts of a PyTorch function that run without their Python after a while.

The Python of a step of decoding takes longer than its kernels. What is called again and
again with tensors of the same shapes is traced once, and the trace is called from then
on.
"""

import contextlib
import contextvars
import threading
import warnings

from keras_encdec.backend.cuda_graphs import capture
from keras_encdec.backend.torch_graphs import (
    Flattened,
    copies,
    graph_of,
    tensors_of,
    with_tensors,
)
from keras_encdec.backend.torch_products import ArrangedWeights

# A trace takes about as long as this many calls.
CALLS_BEFORE_TRACE = 32
# Each keeps a cache in the memory of the GPU.
MOST_CAPTURED = 32

# The traces of the function that runs, by what they depend on, and what all of them
# depend on.
_TRACES = contextvars.ContextVar("traces", default=None)
# PyTorch's tracers are made for one thread.
_TRACING = threading.RLock()


@contextlib.contextmanager
def kept_in(traces, variables):
    """Keeps what is traced meanwhile, for the next time.

    Args:
        traces: A dict, empty at first, one for each function.
        variables: The Keras variables the function reads. Where one has been given
            another tensor, traces are made anew.
    """
    values = tuple(id(variable.value) for variable in variables)
    token = _TRACES.set((traces, values))
    try:
        yield
    finally:
        _TRACES.reset(token)


def while_loop(condition, step, state, constants):
    """Repeats a step while a condition holds; see `backend.while_loop`."""
    structure = state, constants
    tensors, number = tensors_of(structure), len(tensors_of(state))

    def flat_step(*tensors):
        state, constants = with_tensors(structure, tensors)
        state = step(state, constants)
        return condition(state, constants), *tensors_of(state)

    trace = _trace_of("loop", tensors)
    more = condition(state, constants)
    while more:
        if captured := trace.captured(flat_step, tensors):
            tensors = captured.repeat(tensors)
            break
        more, *changed = trace(flat_step, tensors)
        tensors[:number] = changed
    return with_tensors(structure, tensors)[0]


def traced_call(function, *args):
    """Calls a function; see `backend.traced_call`."""
    tensors = tensors_of(args)
    trace = _trace_of(function, tensors)
    if trace.flat is None:
        with _TRACING:
            # One for all threads, for it knows the structure of results once called.
            trace.flat = trace.flat or Flattened(function, args)
    return trace.flat.restore(trace(trace.flat, tensors))


class _Trace:
    """A function from tensors to tensors, traced after a number of calls."""

    def __init__(self):
        self.calls, self.traced, self.flat = 0, None, None
        self._captured = self._weights = None

    def captured(self, function, tensors):
        """Returns the step of a loop as a GPU takes it, or None."""
        ready = self.calls == CALLS_BEFORE_TRACE and self._captured is None
        if ready and any(tensor.is_cuda for tensor in tensors):
            traces, _ = _TRACES.get() or ({}, ())
            if sum(x._captured is not None for x in traces.values()) < MOST_CAPTURED:
                self._captured = capture(graph_of(function, tensors), tensors)
        return self._captured

    def __call__(self, function, tensors):
        if self.calls <= CALLS_BEFORE_TRACE:
            # In turn: the Python of two threads at a time takes longer than of one.
            with _TRACING:
                if self.calls == CALLS_BEFORE_TRACE:
                    self.traced, self._weights = _traced(function, tensors)
                self.calls += 1
                if self.traced is None:
                    return function(*tensors)
        return (self.traced or function)(*tensors)

    def update(self):
        """Sees to it that weights are those of now."""
        if self._weights:
            self._weights.update(self.traced)


def _traced(function, tensors):
    """Returns the trace and its arranged weights, or twice None."""
    import torch

    graph = graph_of(function, tensors)
    if graph is None:
        return None, None
    # Deprecated in favour of `torch.compile`, which takes half a minute for each set of
    # shapes and a C++ compiler; and twice as fast as the graph itself.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = ArrangedWeights(graph)
        with contextlib.suppress(AttributeError, RuntimeError):
            given = copies(tensors)
            return torch.jit.trace(graph, given, check_trace=False), weights
    return graph, weights


def _trace_of(name, tensors):
    traces, values = _TRACES.get() or ({}, ())
    key = name, values, *((x.shape, x.dtype, x.device) for x in tensors)
    trace = traces.setdefault(key, _Trace())
    trace.update()
    return trace
