"""TensorFlow's functions: a graph for all shapes, XLA's program for frequent ones."""

import itertools
import warnings

from keras import tree

from keras_encdec.backend.environment import compiled_by, on_cpu

# XLA compiles in the time of some tens of calls, and makes them several times as fast.
CALLS_BEFORE_XLA = 32


def tensorflow_function(function, inputs, jit):
    """Returns a function compiled by TensorFlow; see `backend.compile_function`."""
    if jit != "auto":
        return _tensorflow_function(function, inputs, jit)
    graph = _tensorflow_function(function, inputs, jit=False)
    if not on_cpu():
        return graph
    return _ByXlaAfterCalls(graph, _tensorflow_function(function, inputs, jit=True))


def _tensorflow_function(function, inputs, jit):
    import tensorflow as tf

    def traced(*args):
        with compiled_by("xla" if jit else "tensorflow"):
            return function(*args)

    signature = inputs and [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
    return tf.function(
        traced, input_signature=signature, autograph=False, jit_compile=jit or None
    )


class _ByXlaAfterCalls:
    """A graph, and XLA's program for shapes it has been called with often."""

    def __init__(self, graph, program):
        self._graph, self._program = graph, program
        self._calls = {}

    def __call__(self, *args):
        shapes = tuple(tensor.shape for tensor in tree.flatten(args))
        # Threads call it side by side: what they share is changed in one step each.
        calls = next(self._calls.setdefault(shapes, itertools.count()))
        program = self._program
        if program is not None and calls >= CALLS_BEFORE_XLA:
            import tensorflow as tf

            try:
                return program(*args)
            except tf.errors.OpError as error:
                self._program = None
                warnings.warn(
                    "XLA can't compile a function, which runs on by TensorFlow alone "
                    "from now on, several times slower: "
                    f"{str(error).splitlines()[0]:.300}. With jit_compile=False it is "
                    "not tried.",
                    stacklevel=2,
                )
        return self._graph(*args)
