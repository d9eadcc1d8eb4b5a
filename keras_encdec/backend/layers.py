"""The layers within a layer, found as Keras finds them to save: by its attributes."""

import keras


def layers_in(layer):
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
    found, seen = {}, set()

    def look(value):
        if isinstance(value, keras.layers.Layer):
            found[id(value)] = value
        elif isinstance(value, list | tuple | set | dict) and id(value) not in seen:
            seen.add(id(value))
            for each in [*(value.values() if isinstance(value, dict) else value)]:
                look(each)

    for name, value in [*vars(layer).items()]:
        # A Sequential keeps its layers once more, as a model.
        if name != "_functional":
            look(value)
    found.pop(id(layer), None)
    return [*found.values()]


def all_layers(layer):
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
