"""Dtype policies as configs."""

from typing import Any

import keras

_MODULES = {
    keras.dtype_policies.DTypePolicy: "keras",
    keras.dtype_policies.QuantizedDTypePolicy: "keras.dtype_policies",
}


def policy_config(policy: Any) -> Any:
    """Returns what `keras.dtype_policies.serialize` does for a dtype policy.

    Keras imports TensorFlow to ask whether what it serializes is a type of it, which
    takes seconds; of policies that hold names alone there is nothing to ask.

    Args:
        policy: A `keras.dtype_policies.DTypePolicy`.

    Example:
        ```python
        import keras

        from keras_encdec.backend import policy_config

        print(policy_config(keras.dtype_policies.get("float32"))["config"])
        ```
    """
    if type(policy) not in _MODULES:
        return keras.dtype_policies.serialize(policy)
    return {
        "module": _MODULES[type(policy)],
        "class_name": type(policy).__name__,
        "config": policy.get_config(),
        "registered_name": None,
    }
