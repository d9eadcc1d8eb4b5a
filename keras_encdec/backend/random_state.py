"""The random numbers that a backend keeps to itself."""

from collections.abc import Mapping

import keras
import numpy as np

from keras_encdec.backend.processes import gathered, process_index


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


def random_state_of_all() -> dict[str, np.ndarray]:
    """Returns the states of all processes that share a training; all ask at once.

    Returns:
        As `random_state`; the names of all processes but the first begin with theirs.

    Example:
        ```python
        from keras_encdec.backend import random_state_of_all

        print(list(random_state_of_all()))
        ```
    """
    return {
        _prefix(process) + name: state
        for process, states in enumerate(gathered(random_state()))
        for name, state in states.items()
    }


def own_random_state(states: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns what is this process's of the states of all.

    Args:
        states: What `random_state_of_all` returned; there may have been fewer.

    Example:
        ```python
        from keras_encdec.backend import own_random_state, random_state_of_all

        print(list(own_random_state(random_state_of_all())))
        ```
    """
    ours = _prefix(process_index())
    return {
        name.removeprefix(ours): state
        for name, state in states.items()
        if name.startswith(ours)
    }


def _prefix(process: int) -> str:
    return f"process-{process}/" if process else ""
