"""TensorFlow's functions: a graph for all shapes, XLA's program for frequent ones."""

import itertools
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from keras import tree

from keras_encdec.annotations import Nested, TensorFunction
from keras_encdec.backend.environment import compiled_by, on_cpu
from keras_encdec.backend.recently_used import RecentlyUsed
from keras_encdec.backend.shortcuts import first_run

# XLA compiles in the time of some tens of calls, and makes them several times as fast.
CALLS_BEFORE_XLA = 32
# TensorFlow keeps XLA's programs for ever: so many of a function, for the first sets of
# shapes that have come often.
MOST_PROGRAMS = 64
# Sets of shapes whose calls are counted.
MOST_COUNTED = 1024


def tensorflow_function(
    function: Callable[..., Nested],
    inputs: Sequence[Any] | None,
    jit: bool | Literal["auto"],
) -> Callable[..., Nested]:
    """Returns a function compiled by TensorFlow; see `backend.compile_function`."""
    graph = _Graph(function, inputs)
    if not jit or (jit == "auto" and not on_cpu()):
        return graph
    return _ByXla(graph, _tensorflow_function(function, inputs, jit=True), jit)


def _tensorflow_function(
    function: Callable[..., Nested], inputs: Sequence[Any] | None, jit: bool
) -> TensorFunction:
    import tensorflow as tf

    def traced(*args: Nested) -> Nested:
        with compiled_by("xla" if jit else "tensorflow"):
            return function(*args)

    signature = inputs and [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
    compiled = tf.function(
        traced, input_signature=signature, autograph=False, jit_compile=jit or None
    )
    # TensorFlow takes all that are made here for one, which is traced again and again.
    compiled._omit_frequent_tracing_warning = True
    return compiled


class _Graph:
    """A function that TensorFlow runs, called by any thread."""

    def __init__(self, function: Callable[..., Any], inputs: Any) -> None:
        self._of, self._tracing = (function, inputs), threading.Lock()
        self._run: TensorFunction | None = None

    def __call__(self, *args: Any) -> Any:
        if self._run is None:
            with self._tracing:
                if self._run is None:
                    return first_run(lambda: self._trace_and_run(*args))
        return self._run(*args)

    def _trace_and_run(self, *args: Any) -> Any:
        run = _tensorflow_function(*self._of, jit=False)
        result = run(*args)
        self._run = run
        return result


class _ByXla:
    """A graph, and XLA's program for shapes it has been called with often enough."""

    def __init__(
        self,
        graph: TensorFunction,
        program: TensorFunction,
        jit: bool | Literal["auto"],
    ) -> None:
        self._graph, self._program, self._jit = graph, program, jit
        self._calls_before = CALLS_BEFORE_XLA if jit == "auto" else 0
        self._calls: RecentlyUsed[Iterator[int]] = RecentlyUsed(MOST_COUNTED)
        self._compiled: set[tuple[Any, ...]] = set()

    def __call__(self, *args: Nested) -> Nested:
        shapes = tuple(tensor.shape for tensor in tree.flatten(args))
        # Threads call it side by side: what they share is changed in one step each.
        calls = next(self._calls.get(shapes, itertools.count))
        program = self._program
        if calls == self._calls_before and len(self._compiled) < MOST_PROGRAMS:
            self._compiled.add(shapes)
        if program is not None and shapes in self._compiled:
            import tensorflow as tf

            try:
                return program(*args)
            except tf.errors.OpError as error:
                if self._jit is True:
                    raise
                self._program = None
                warnings.warn(
                    "XLA can't compile a function, which runs on by TensorFlow alone "
                    "from now on, several times slower: "
                    f"{str(error).splitlines()[0]:.300}. With jit_compile=False it is "
                    "not tried.",
                    stacklevel=2,
                )
        return self._graph(*args)
