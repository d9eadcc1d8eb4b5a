"""The layers within a layer, found as Keras finds them to save: by its attributes."""

import functools
from collections.abc import Iterable
from typing import Any

import keras


def layers_in(layer: Any) -> list[Any]:
    """Returns the layers that a layer has as attributes, also in containers.

    Args:
        layer: A Keras layer.

    Returns:
        A list, each of them once, in the order of the attributes.

    Example:
        ```python
        import keras
        from keras_encdec.backend import layers_in

        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        print([x.name for x in layers_in(model)])
        ```
    """
    found: dict[int, Any] = {}
    seen: set[int] = set()

    def look(values: Iterable[Any]) -> None:
        for value in values:
            kind = _kind(type(value))  # type: ignore[arg-type]  # A type is hashable.
            if kind is keras.layers.Layer:
                found[id(value)] = value
            elif kind is not None and id(value) not in seen:
                seen.add(id(value))
                look([*(value.values() if kind is dict else value)])

    look([*vars(layer).values()])
    # A Sequential keeps its layers once more, as a model.
    for other in (layer, getattr(layer, "_functional", None)):
        found.pop(id(other), None)
    return [*found.values()]


@functools.lru_cache(4096)
def _kind(of: Any) -> Any:
    """Returns which kind of layer or container a type is, or None."""
    kinds = keras.layers.Layer, dict, list, tuple, set
    return next((kind for kind in kinds if issubclass(of, kind)), None)


def all_layers(layer: Any) -> list[Any]:
    """Returns a layer and all layers within it, a list, each of them once.

    Args:
        layer: A Keras layer.

    Example:
        ```python
        import keras
        from keras_encdec.backend import all_layers

        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        print([x.name for x in all_layers(model)])
        ```
    """
    found = {id(layer): layer}
    waiting = [layer]
    while waiting:
        for each in layers_in(waiting.pop()):
            if id(each) not in found:
                found[id(each)] = each
                waiting.append(each)
    return [*found.values()]
