"""What a graph holds beside its operations, such as tables, made when it is needed.

To import TensorFlow takes seconds, which whoever generates under another backend is
spared: until a graph is made a tokenizer is plain Python.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from keras_encdec.backend import lazy_tensorflow

tf = lazy_tensorflow()

# Of two threads that made the same one, the first could lose what its graph refers to.
_LOCK = threading.RLock()


class graph_part:  # noqa: N801 - it is used as `property` is.
    """A property that is made once, when it is first asked for, outside of any graph.

    Args:
        make: A method that returns a table, a constant or another part of a graph.

    Example:
        ```python
        import tensorflow as tf

        from keras_encdec.text.graph_parts import HasGraphParts, graph_part

        class Doubler(HasGraphParts):
            @graph_part
            def _two(self):
                return tf.constant(2)

        print(Doubler()._two)
        ```
    """

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        with _LOCK:
            if self._name not in vars(instance):
                with tf.init_scope():
                    vars(instance)[self._name] = self._make(instance)
        # The next time it is found before this is asked.
        return vars(instance)[self._name]


class HasGraphParts:
    """An object whose graphs hold parts, its own or those of its attributes.

    Example:
        ```python
        import tensorflow as tf

        from keras_encdec import WordTokenizer

        whole = tf.Module()
        whole.tokenizer = WordTokenizer(["one"]).module()
        print(len(whole.submodules))  # 1
        ```
    """

    def module(self) -> Any:
        """Returns a new `tf.Module` of all parts.

        What is saved with a graph of this object must hold it, as an attribute.
        """
        for cls in type(self).__mro__:
            for name, value in vars(cls).items():
                if isinstance(value, graph_part):
                    getattr(self, name)
        module = tf.Module()
        for name, value in vars(self).items():
            if (tracked := _tracked(value)) is not None:
                setattr(module, name.lstrip("_"), tracked)
        return module


def _tracked(value: Any) -> Any:
    """What TensorFlow is to track of an attribute, or None."""
    if isinstance(value, HasGraphParts):
        return value.module()
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, (list, tuple)):
        return [x for x in map(_tracked, value) if x is not None] or None
    return value if isinstance(value, tf.__internal__.tracking.Trackable) else None
