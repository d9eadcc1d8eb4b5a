"""The random numbers that a backend keeps to itself."""

from collections.abc import Mapping

import keras
import numpy as np


def random_state() -> dict[str, np.ndarray]:
    """Returns the state of the random numbers that the backend keeps to itself.

    PyTorch draws dropout from generators of its own; elsewhere all state is in Keras
    variables.

    Returns:
        A dict from names to uint8 arrays, empty but on PyTorch.

    Example:
        ```python
        from keras_encdec.backend import random_state, set_random_state

        set_random_state(random_state())
        ```
    """
    if keras.config.backend() != "torch":
        return {}
    import torch

    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    states = {"cpu": torch.get_rng_state()}
    states.update({f"cuda:{i}": state for i, state in enumerate(devices)})
    return {name: state.numpy() for name, state in states.items()}


def set_random_state(states: Mapping[str, np.ndarray]) -> None:
    """Brings random numbers to a state that `random_state` returned.

    Args:
        states: What `random_state` returned; devices that are not here are left out.

    Example:
        ```python
        from keras_encdec.backend import random_state, set_random_state

        set_random_state(random_state())
        ```
    """
    for name in states.keys() & random_state().keys():
        import torch

        state = torch.from_numpy(states[name])
        if name == "cpu":
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, name)
