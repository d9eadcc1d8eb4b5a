"""Activations by name: those of Keras, and GELU by tanh."""

import difflib
import warnings

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_encdec")
def gelu_new(x):
    """Returns GELU by a formula with tanh, as in GPT-2 and T5 1.1.

    Args:
        x: Any shape, float.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers.activations import gelu_new

        print(gelu_new(ops.ones(2)))
        ```

    Reference:
        Hendrycks and Gimpel 2016, Gaussian Error Linear Units.
    """
    return ops.gelu(x, approximate=True)


def get_activation(activation):
    """Returns the function of an activation.

    Args:
        activation: A name of Keras's, such as `"relu"`, or `"gelu_new"`; what
            `saved_activation` returned; or a function.

    Raises:
        ValueError: If the name is unknown.

    Example:
        ```python
        from keras_encdec.layers.activations import get_activation

        print(get_activation("gelu_new"))
        ```
    """
    if activation == "gelu_new":
        return gelu_new
    try:
        return keras.activations.get(activation)
    except ValueError as error:
        near = difflib.get_close_matches(str(activation), dir(keras.activations), 1)
        remedy = (
            f"Did you mean {near[0]!r}?" if near else "'relu' and 'gelu' are usual."
        )
        raise ValueError(
            "activation must be a function or the name of one; received "
            f"activation={activation!r}, which Keras does not know. {remedy}"
        ) from error


def saved_activation(activation):
    """Returns what a config says of an activation, if it can be loaded again.

    Args:
        activation: A function.

    Returns:
        Its name, or a dict.

    Raises:
        ValueError: If the function is not registered, such as a lambda.

    Example:
        ```python
        import keras
        from keras_encdec.layers.activations import saved_activation

        print(saved_activation(keras.activations.relu))
        ```
    """
    if activation is gelu_new:
        return "gelu_new"
    try:
        with warnings.catch_warnings():
            # Of lambdas Keras warns, and saves them.
            warnings.simplefilter("error", UserWarning)
            config = keras.activations.serialize(activation)
        keras.activations.get(config)
    except (TypeError, ValueError, UserWarning) as error:
        raise ValueError(
            "An activation is saved by its name, under which it is found again; "
            f"received activation={activation!r}. Give one of Keras's, or define a "
            "function under @keras.saving.register_keras_serializable()."
        ) from error
    return config
