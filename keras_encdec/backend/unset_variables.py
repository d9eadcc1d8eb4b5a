"""Variables that get their first values from a file: none are drawn before."""

from collections.abc import Callable
from typing import Any, TypeVar

import keras

from keras_encdec.backend.layers import all_layers
from keras_encdec.backend.shortcuts import take

T = TypeVar("T")

# Where Keras keeps variables that were made in a scope without values.
_UNSET = "uninitialized_variables"


def build_unset(build: Callable[[], T]) -> T:
    """Returns what a function builds, whose variables have no values yet.

    Drawing values takes longer than reading a file, and memory that each weight would
    take once more when it is read. Each variable must be given to `set_value` or
    `draw_unset` before anything is computed.

    Args:
        build: A function without arguments.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_encdec.backend import build_unset, set_value

        dense = keras.layers.Dense(2, use_bias=False)
        build_unset(lambda: dense.build((None, 3)))
        set_value(dense.kernel, np.ones((3, 2), "float32"))
        print(dense(np.ones((1, 3))))
        ```
    """
    return take("keras-unset-variables", lambda: _built_unset(build), build)


def _built_unset(build: Callable[[], T]) -> T:
    # What is built can be set only if all of this is as it was: tried on little.
    probe = keras.layers.Dense(1)
    _without_values(lambda: probe.build((None, 1)))
    set_value(probe.kernel, [[1.0]])
    draw_unset(probe)
    return _without_values(build)


def _without_values(build: Callable[[], T]) -> T:
    from keras.src.backend.common import global_state

    others = global_state.get_global_attribute(_UNSET)
    with keras.StatelessScope(initialize_variables=False):
        # Keras would draw all in its list when another such scope ends.
        global_state.set_global_attribute(_UNSET, [])
        try:
            return build()
        finally:
            global_state.set_global_attribute(_UNSET, others)


def set_value(variable: Any, value: Any) -> None:
    """Sets the value of a variable, its first or another one.

    Args:
        variable: A Keras variable.
        value: An array of its shape.
    """
    if getattr(variable, "_value", value) is not None:
        variable.assign(value)
        return
    variable._initialize(keras.ops.convert_to_tensor(value, dtype=variable._dtype))
    variable._initializer = None


def draw_unset(layer: Any) -> None:
    """Draws the values that a layer's variables still lack, as Keras does at once.

    Args:
        layer: A Keras layer or model.
    """
    for variable in layer.variables:
        if getattr(variable, "_value", variable) is None:
            variable._deferred_initialize()
    if keras.config.backend() == "torch":
        # Without values there was nothing that PyTorch could know as parameters.
        for each in all_layers(layer):
            each._track_variables()
