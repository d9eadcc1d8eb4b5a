"""The one file, beside `export`, that asks which Keras backend runs.

Everything else is written with `keras.ops`, and calls these where they truly differ.
"""

import contextlib
import math
import os

import keras
from keras import ops

from keras_encdec import torch_tracing


def running_backend():
    """Returns the name of the running backend, to be shown to people.

    Example:
        ```python
        from keras_encdec.backend import running_backend

        print(running_backend())  # tensorflow, jax or torch
        ```
    """
    return keras.config.backend()


def compile_function(function, inputs, variables=(), jit=False):
    """Compiles a function of tensors for the running backend.

    The function becomes a `tf.function` on TensorFlow, traced once for all shapes, and
    a `jax.jit` on JAX, compiled for each new set of shapes; on PyTorch it runs eagerly
    under `torch.inference_mode`, but for the steps of a `while_loop` in it and the
    function of a `traced_call`, which are traced.

    Args:
        function: A function from tensors to a nested structure of tensors, without
            side effects.
        inputs: A `keras.KerasTensor` for each argument: dtypes, and shapes with None
            for the sizes that vary; or None for nested arguments, for whose shapes
            TensorFlow then traces anew.
        variables: The Keras variables it reads. JAX passes them to the compiled
            program as arguments, so that later training is seen by it.
        jit: Whether TensorFlow compiles it by XLA too, for each new set of shapes.

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
        return tf.function(
            function, input_signature=signature, autograph=False, jit_compile=jit
        )
    if keras.config.backend() == "jax":
        import jax

        @jax.jit
        def stateless(values, *args):
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return function(*args)

        return lambda *args: stateless([v.value for v in variables], *args)

    traces = {}

    def under_inference_mode(*args):
        with torch_tracing.kept_in(traces, variables), inference_mode():
            return function(*args)

    return under_inference_mode


def calls_at_a_time(variables, jit=False):
    """Returns how many calls of a compiled function at a time take less than one.

    On CPUs XLA leaves most of a small model's program to one core, so that two calls
    with half the rows each are faster than one. Large weights, which every call reads
    from memory anew, turn this around.

    Args:
        variables: The Keras variables that the function reads.
        jit: Whether TensorFlow compiles it by XLA.

    Returns:
        The number of cores, or 1.

    Example:
        ```python
        from keras_encdec.backend import calls_at_a_time

        print(calls_at_a_time([]))
        ```
    """
    by_xla = {"jax": True, "tensorflow": jit, "torch": False}[keras.config.backend()]
    if not by_xla or sum(math.prod(v.shape) for v in variables) > 2**23:
        return 1
    return os.cpu_count() if _on_cpu() else 1


def while_loop(condition, step, state, constants=()):
    """Repeats a step while a condition holds.

    On TensorFlow and JAX this is `keras.ops.while_loop`. On PyTorch, where the Python
    of a step takes longer than its kernels, the step of a compiled function is traced
    after a number of steps and then run without Python, if it can be: if it looks at
    the values of tensors, it runs as it is.

    Args:
        condition: A function `(state, constants) -> bool scalar`.
        step: A function `(state, constants) -> state`, of the same structure, shapes
            and dtypes.
        state: A nested structure of tensors.
        constants: The tensors that the step reads beside the state, nested. Tensors it
            reads otherwise must be the same ones each time.

    Returns:
        The last state.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import while_loop

        def step(number, doubled):
            return number + doubled

        print(while_loop(lambda n, d: n < 9, step, ops.array(1), ops.array(2)))
        ```
    """
    if keras.config.backend() != "torch":
        (state,) = ops.while_loop(
            lambda state: condition(state, constants),
            lambda state: (step(state, constants),),
            (state,),
        )
        return state
    return torch_tracing.while_loop(condition, step, state, constants)


def traced_call(function, *args):
    """Calls a function of tensors, which PyTorch may trace.

    On TensorFlow and JAX this is the call. On PyTorch a part of a compiled function
    that is called so is traced after a number of calls, as the step of a `while_loop`
    is after a number of steps.

    Args:
        function: A function from nested tensors to nested tensors, equal to itself the
            next time, as a method is. Tensors it reads otherwise must be the same ones
            each time.
        *args: Its arguments.

    Returns:
        What it returns.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import traced_call

        print(traced_call(ops.square, ops.array([1, 2])))
        ```
    """
    if keras.config.backend() != "torch":
        return function(*args)
    return torch_tracing.traced_call(function, *args)


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


def write_at(cache, index, entry, axis=1):
    """Writes one time step, or several in turn, into a cache.

    On PyTorch the cache is written in place; the other backends return a new tensor,
    which their compilers write in place.

    Args:
        cache: Of any shape and dtype, L long along the axis.
        index: The first time step to write, an int or an int32 scalar,
            `0 <= index <= L - T`.
        entry: As the cache, but T long along the axis, or broadcasts to it.
        axis: The axis of time, positive.

    Returns:
        The written cache.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import write_at

        print(write_at(ops.zeros((1, 3)), 1, ops.ones((1, 1))))
        ```
    """
    entry = ops.cast(entry, cache.dtype)
    if keras.config.backend() != "tensorflow":
        shape = (*cache.shape[:axis], entry.shape[axis], *cache.shape[axis + 1 :])
        entry = ops.broadcast_to(entry, shape)
    if keras.config.backend() == "torch":
        import torch

        # An index that stays a tensor can be traced.
        steps = torch.arange(entry.shape[axis], device=cache.device) + index
        return cache.index_copy_(axis, steps, entry)
    if keras.config.backend() == "jax":
        starts = [index * 0] * cache.ndim
        starts[axis] = index
        return ops.slice_update(cache, starts, entry)
    # Not `slice_update`: it becomes XlaDynamicUpdateSlice, which a TF Serving
    # without XLA cannot run.
    steps = ops.shape(entry)[axis]
    step = ops.arange(ops.shape(cache)[axis]) - index
    here = ops.logical_and(step >= 0, step < steps)
    if entry.shape[axis] != 1:
        entry = ops.take(entry, ops.clip(step, 0, steps - 1), axis=axis)
    here = ops.reshape(here, (-1,) + (1,) * (len(cache.shape) - axis - 1))
    return ops.where(here, entry, cache)


def fused_attention(queries, keys, values, mask=None, bias=None):
    """Attends by the fastest kernel of the running backend.

    Args:
        queries: `(B, N, T, H)`, float.
        keys: `(B, N, S, H)`, float.
        values: `(B, N, S, H)`, float.
        mask: Bool, True = attend, broadcasts to `(B, N, T, S)`, or None.
        bias: Added to the scores, likewise, in the place of a mask, or None.

    Returns:
        `(B, N, T, H)`, in the dtype of the values. For a query whose keys are all
        masked it has no meaning.

    Example:
        ```python
        from keras import ops
        from keras_encdec.backend import fused_attention

        x = ops.ones((1, 2, 3, 4))
        print(fused_attention(x, x, x).shape)
        ```
    """
    if keras.config.backend() == "torch":
        import torch

        batch, heads, length, _ = queries.shape
        # On CPUs its kernel takes single queries head by head.
        if not queries.is_cpu or length > 1 or batch * heads < 512:
            if bias is not None:
                mask = ops.cast(bias, queries.dtype)
            mask = mask if mask is None else ops.convert_to_tensor(mask)
            return torch.nn.functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask
            )
    if keras.config.backend() == "jax" and not _on_cpu():
        lengths = queries.shape[2], keys.shape[2]
        # cuDNN's kernel takes no broadcast mask and, with one, no odd length.
        mask, bias = (
            x
            if x is None
            else ops.broadcast_to(x, (*(1, 1, *x.shape)[-4:-2], *lengths))
            for x in (mask, bias)
        )
        flash = None if all(length % 2 == 0 for length in lengths) else False
        # The transpositions vanish in the compiled program.
        queries, keys, values = (
            ops.transpose(x, (0, 2, 1, 3)) for x in (queries, keys, values)
        )
        y = ops.dot_product_attention(
            queries, keys, values, bias=bias, mask=mask, flash_attention=flash
        )
        return ops.transpose(y, (0, 2, 1, 3))
    scores = ops.einsum("bnth,bnsh->bnts", queries, keys)
    scores = ops.cast(scores, "float32") * queries.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + ops.cast(bias, "float32")
    if mask is not None:
        scores = ops.where(mask, scores, -1e30)
    weights = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))
    weights = weights / ops.sum(weights, axis=-1, keepdims=True)
    return ops.matmul(ops.cast(weights, values.dtype), values)


def _on_cpu():
    return keras.distribution.list_devices()[0].startswith("cpu")


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
