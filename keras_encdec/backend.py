"""The one file, beside `export`, that asks which Keras backend runs.

Everything else is written with `keras.ops` and calls these functions where the
three backends truly differ: compiling a loop, writing into a cache, importing
TensorFlow for text.
"""

import contextlib

import keras
from keras import ops


def running_backend():
    """Returns the name of the running backend, to be shown to people.

    Example:
        ```python
        from keras_encdec.backend import running_backend

        print(running_backend())  # tensorflow, jax or torch
        ```
    """
    return keras.config.backend()


def compile_function(function, inputs, variables=()):
    """Compiles a function of tensors for the running backend.

    The function becomes a `tf.function` on TensorFlow, traced once for all shapes, and
    a `jax.jit` on JAX, compiled for each new set of shapes; on PyTorch it runs eagerly
    under `torch.inference_mode`.

    Args:
        function: A function from tensors to a nested structure of tensors, without
            side effects.
        inputs: A `keras.KerasTensor` for each argument: dtypes, and shapes with None
            for the sizes that vary; or None for nested arguments, for whose shapes
            TensorFlow then traces anew.
        variables: The Keras variables it reads. JAX passes them to the compiled
            program as arguments, so that later training is seen by it.

    Returns:
        A function with the same arguments and results.

    Example:
        ```python
        import keras
        from keras_encdec.backend import compile_function

        inputs = [keras.KerasTensor((None,), "int32")]
        double = compile_function(lambda x: x * 2, inputs)
        print(double(keras.ops.array([21], "int32")))
        ```
    """
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        signature = inputs and [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
        return tf.function(function, input_signature=signature, autograph=False)
    if keras.config.backend() == "jax":
        import jax

        @jax.jit
        def stateless(values, *args):
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return function(*args)

        return lambda *args: stateless([v.value for v in variables], *args)

    def under_inference_mode(*args):
        with inference_mode():
            return function(*args)

    return under_inference_mode


def inference_mode():
    """Returns a context in which PyTorch records no gradients; elsewhere an empty one.

    Example:
        ```python
        from keras_encdec.backend import inference_mode

        with inference_mode():
            pass
        ```
    """
    if keras.config.backend() == "torch":
        import torch

        return torch.inference_mode()
    return contextlib.nullcontext()


def random_state():
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


def set_random_state(states):
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


def write_at(cache, index, entry):
    """Writes one time step, or several in turn, into a cache.

    On PyTorch the cache is written in place; the other backends return a new tensor,
    which their compilers write in place.

    Args:
        cache: `(B, L, ...)`, any dtype.
        index: The first time step to write, an int or an int32 scalar,
            `0 <= index <= L - T`.
        entry: `(B, T, ...)`, written at `cache[:, index : index + T]`.

    Returns:
        The written cache, `(B, L, ...)`.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import write_at

        print(write_at(ops.zeros((1, 3)), 1, ops.ones((1, 1))))
        ```
    """
    entry = ops.cast(entry, cache.dtype)
    if keras.config.backend() == "torch":
        cache[:, int(index) : int(index) + entry.shape[1]] = entry
        return cache
    if keras.config.backend() == "jax":
        zero = index * 0
        return ops.slice_update(
            cache, (zero, index) + (zero,) * (cache.ndim - 2), entry
        )
    # Not `slice_update`: it becomes XlaDynamicUpdateSlice, which a TF Serving
    # without XLA cannot run.
    steps = ops.shape(entry)[1]
    step = ops.arange(ops.shape(cache)[1]) - index
    here = ops.logical_and(step >= 0, step < steps)
    if entry.shape[1] != 1:
        entry = ops.take(entry, ops.clip(step, 0, steps - 1), axis=1)
    here = ops.reshape(here, (1, -1) + (1,) * (len(cache.shape) - 2))
    return ops.where(here, entry, cache)


def import_tensorflow():
    """Imports TensorFlow for text and data, leaving the accelerator to the backend.

    Under JAX and PyTorch the GPUs are hidden from TensorFlow, which would otherwise
    take all their memory.

    Returns:
        The `tensorflow` module.

    Raises:
        ImportError: If TensorFlow is not installed.

    Example:
        ```python
        from keras_encdec.backend import import_tensorflow

        tf = import_tensorflow()
        print(tf.strings.length("text"))
        ```
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            "Text (tokenizers, tf.data pipelines, SavedModel export) needs TensorFlow, "
            "whichever backend trains the model; it could not be imported "
            f"({error}). Install it with `pip install tensorflow tensorflow-text`, or "
            "work with arrays of ids."
        ) from error
    if keras.config.backend() != "tensorflow":
        # Too late, and harmless, where the user's program has initialised them.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    return tf
