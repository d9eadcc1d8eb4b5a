"""Functions that the running backend compiles, and what it repeats in them."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_encdec.annotations import Nested, Tensor
from keras_encdec.backend.jax import functions as jax_functions
from keras_encdec.backend.jax import loops as jax_loops
from keras_encdec.backend.shortcuts import switched_once
from keras_encdec.backend.tensorflow.functions import tensorflow_function
from keras_encdec.backend.torch import steps as torch_steps
from keras_encdec.backend.torch import tracing as torch_tracing


def compile_function(
    function: Callable[..., Nested],
    inputs: Sequence[Any] | None,
    variables: Sequence[Any] = (),
    jit: bool | Literal["auto"] = False,
) -> Callable[..., Nested]:
    """Compiles a function of tensors for the running backend.

    The function becomes a `tf.function` on TensorFlow, traced once for all shapes, and
    a `jax.jit` on JAX, compiled for each new set of shapes; on PyTorch it runs eagerly
    under `torch.inference_mode`, but for the steps of a `while_loop` in it and the
    function of a `traced_call`, which are traced. What is kept for sets of shapes is
    that of the last ones, of a bounded number. Threads may call it at the same time.

    Args:
        function: A function from tensors to a nested structure of tensors, without
            side effects.
        inputs: A `keras.KerasTensor` for each argument: dtypes, and shapes with None
            for the sizes that vary; or None for nested arguments, for whose shapes
            TensorFlow then traces anew.
        variables: The Keras variables it reads, whose values may change: `variables_of`
            finds them. Where their `Structure` is another, it must be compiled anew.
        jit: Whether TensorFlow compiles it by XLA too, for each of the first 64 sets of
            shapes; with "auto", on CPUs, for those that have come 32 times, if XLA can.

    Returns:
        A function with the same arguments, which may be NumPy arrays, and results.

    Example:
        ```python
        import keras
        from keras_encdec.backend import compile_function

        inputs = [keras.KerasTensor((None,), "int32")]
        double = compile_function(lambda x: x * 2, inputs)
        print(double(keras.ops.array([21], "int32")))
        ```
    """
    compiled: dict[frozenset[str], Callable[..., Nested]] = {}

    def call(*args: Nested) -> Nested:
        # What leans on a shortcut is not for when that is switched off.
        with switched_once() as off:
            if off not in compiled:
                made = _compiled(function, inputs, variables, jit)
                compiled.setdefault(off, made)
            return compiled[off](*args)

    return call


def _compiled(
    function: Callable[..., Nested],
    inputs: Any,
    variables: Any,
    jit: bool | Literal["auto"],
) -> Callable[..., Nested]:
    if keras.config.backend() == "tensorflow":
        return tensorflow_function(function, inputs, jit)
    if keras.config.backend() == "jax":
        return jax_functions.jax_function(function, variables)

    traces = torch_tracing.Traces(variables)

    def under_inference_mode(*args: Nested) -> Nested:
        tensors = (
            ops.convert_to_tensor(x, x.dtype.name) if isinstance(x, np.ndarray) else x
            for x in args
        )
        with traces.kept(), inference_mode():
            return function(*tensors)

    return under_inference_mode


def compile_train_step(
    step: Callable[[Any], dict[str, Tensor]],
    loss: Callable[[Nested, Nested, Nested], Sequence[Tensor]],
    log: Callable[..., dict[str, Tensor]],
    optimizer: Any,
    variables: Sequence[Any],
    jit: bool = False,
    sums: bool = False,
) -> Callable[[Any], dict[str, Tensor]]:
    """Compiles the training step of a model.

    On TensorFlow and JAX this is the step, which `fit` compiles. On PyTorch the step is
    recorded after some steps for each set of shapes, and runs without Python from then
    on, on a GPU as one CUDA graph; what the optimizer does stays as it is where that
    depends on values, as with float16.

    Args:
        step: The `train_step` of a `keras.Model`, which the others take apart.
        loss: A function `(x, y, sample_weight) -> tuple`: the loss, a scalar, and
            tensors without a gradient. It has no side effects. Where processes share a
            training these are means over the tokens of a batch, and the last one the
            weight of these tokens.
        log: A function from the number of rows and that tuple's tensors to what
            `train_step` returns; it may assign to variables.
        optimizer: The model's optimizer.
        variables: The model's variables, of which the trainable ones are trained.
        jit: Whether PyTorch compiles by Inductor what it recorded.
        sums: Whether the loss is a sum over the tokens, and no mean.

    Returns:
        A function with the same arguments and results as `step`.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_encdec.backend import compile_train_step

        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")

        def loss(x, y, sample_weight):
            return (model.compute_loss(x, y, model(x, training=True), sample_weight),)

        model.train_step = compile_train_step(
            model.train_step,
            loss,
            lambda rows, loss: {"loss": loss},
            model.optimizer,
            model.variables,
        )
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
        ```
    """
    if keras.config.backend() != "torch":
        return step
    return torch_steps.TrainStep(step, loss, log, optimizer, variables, jit, sums)


def while_loop(
    condition: Callable[[Nested, Nested], Tensor],
    step: Callable[[Nested, Nested], Nested],
    state: Nested,
    constants: Nested = (),
) -> Nested:
    """Repeats a step while a condition holds.

    On TensorFlow this is `keras.ops.while_loop`, on JAX `jax.lax.while_loop`, which
    finds what its products read laid out for them. On PyTorch, where the Python
    of a step takes longer than its kernels, the step of a compiled function is traced
    after a number of steps and then run without Python, if it can be: if it looks at
    the values of tensors, it runs as it is.

    Args:
        condition: A function `(state, constants) -> bool scalar`.
        step: A function `(state, constants) -> state`, of the same structure, shapes
            and dtypes.
        state: A nested structure of tensors.
        constants: The tensors that the step reads beside the state, nested; or a
            dataclass, of whose fields some are such. Tensors it reads otherwise must be
            the same ones each time, and so must the attributes of objects.

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
    if dataclasses.is_dataclass(constants):
        return _loop_of_fields(condition, step, state, constants)
    if keras.config.backend() == "torch":
        return torch_tracing.while_loop(condition, step, state, constants)
    if keras.config.backend() == "jax":
        return jax_loops.while_loop(condition, step, state, constants)
    return ops.while_loop(
        lambda state: condition(state, constants),
        lambda state: (step(state, constants),),
        (state,),
    )[0]


def _loop_of_fields(
    condition: Callable[[Nested, Nested], Tensor],
    step: Callable[[Nested, Nested], Nested],
    state: Nested,
    constants: Any,
) -> Nested:
    """A loop whose constants are a dataclass: what of it are tensors is given to steps.

    Of those that steps are made of it has none, for loops are found by what they are
    made of, and tensors are others each time.
    """
    fields = {x.name: getattr(constants, x.name) for x in dataclasses.fields(constants)}
    tensors = {
        name: value
        for name, value in fields.items()
        if any(map(keras.ops.is_tensor, keras.tree.flatten(value)))
    }
    rest = dataclasses.replace(constants, **dict.fromkeys(tensors))
    return while_loop(
        lambda state, tensors: condition(state, dataclasses.replace(rest, **tensors)),
        lambda state, tensors: step(state, dataclasses.replace(rest, **tensors)),
        state,
        tensors,
    )


def while_shapes_change(
    condition: Callable[[Nested], Tensor],
    step: Callable[[Nested], Nested],
    state: Nested,
) -> Nested:
    """Repeats a step that may change how many rows the tensors of its state have.

    Only where `shapes_may_change`.

    Args:
        condition: A function `state -> bool scalar`.
        step: A function `state -> state`, of the same structure, dtypes and shapes, but
            for the first axis.
        state: A nested structure of tensors.

    Returns:
        The last state.
    """
    import tensorflow as tf

    shapes = keras.tree.map_structure(
        lambda x: tf.TensorShape([None, *x.shape[1:]] if len(x.shape) else []), state
    )
    return tf.while_loop(
        condition, lambda state: (step(state),), (state,), shape_invariants=(shapes,)
    )[0]


def traced_call(function: Callable[..., Nested], *args: Nested) -> Nested:
    """Calls a function of tensors, which PyTorch may trace.

    On TensorFlow and JAX this is the call. On PyTorch a part of a compiled function
    that is called so is traced after a number of calls, as the step of a `while_loop`
    is after a number of steps.

    Args:
        function: A function from nested tensors to nested tensors. Tensors it reads
            otherwise must be the same ones each time, and so must the attributes of
            objects.
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


def inference_mode() -> AbstractContextManager[Any]:
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
