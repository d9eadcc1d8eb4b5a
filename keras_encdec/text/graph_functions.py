"""Functions of TensorFlow's operations, each traced once and then run as one graph."""

import threading
from collections.abc import Callable

from keras_encdec.annotations import Tensor, TensorFunction
from keras_encdec.backend import lazy_tensorflow

tf = lazy_tensorflow()


class GraphFunctions:
    """Runs functions of a tensor as graphs of theirs, which threads may share.

    Operation by operation, a call of a tokenizer with one text takes ten times as long,
    for each operation is begun by Python. A call within a graph that is being traced,
    as of `tf.data` or of an export, adds its operations there.

    They are no part of a `tf.Module` that holds them, which is saved without them.

    Example:
        ```python
        import tensorflow as tf

        from keras_encdec.text.graph_functions import GraphFunctions

        functions = GraphFunctions()
        print(functions("lower", tf.strings.lower, tf.constant(["A", "B"])))
        ```
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traced: dict[str, TensorFunction] = {}

    def __call__(
        self, name: str, function: Callable[[Tensor], Tensor], tensor: Tensor
    ) -> Tensor:
        """Returns what a function returns for a tensor.

        Args:
            name: The name of the function, always the same one for it.
            function: A function of a tensor of any sizes, made of TensorFlow's
                operations, whose result depends on nothing else that changes.
            tensor: The tensor, always of the same rank and dtype.
        """
        if not tf.executing_eagerly() or tf.config.functions_run_eagerly():
            return function(tensor)
        with self._lock:
            traced = self._traced.get(name)
            if traced is None:
                spec = tf.TensorSpec([None] * tensor.shape.rank, tensor.dtype)
                whole = tf.function(function, input_signature=[spec], autograph=False)
                traced = self._traced[name] = whole.get_concrete_function()
        return traced(tensor)
