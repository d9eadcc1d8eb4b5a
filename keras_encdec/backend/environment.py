"""What runs here: the backend, its device, TensorFlow beside it."""

import contextlib
import contextvars
import functools
import os
from collections.abc import Iterator
from typing import Any

import keras

_COMPILER: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "compiler", default=None
)


def running_backend() -> str:
    """Returns the name of the running backend, to be shown to people.

    Example:
        ```python
        from keras_encdec.backend import running_backend

        print(running_backend())  # tensorflow, jax or torch
        ```
    """
    return keras.config.backend()


def on_cpu() -> bool:
    """Whether the backend computes on CPUs."""
    if keras.config.backend() == "torch":  # Of whose devices Keras knows no list.
        return keras.ops.convert_to_tensor(0).is_cpu
    return keras.distribution.list_devices()[0].startswith("cpu")


def usable_cores() -> int:
    """Returns the number of cores that this process may use, an int.

    Example:
        ```python
        from keras_encdec.backend.environment import usable_cores

        print(usable_cores())
        ```
    """
    if hasattr(os, "sched_getaffinity"):  # Not on every system.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def by_xla() -> bool:
    """Whether XLA compiles what runs: on JAX, and on TensorFlow where it is asked to.

    Example:
        ```python
        from keras_encdec.backend.environment import by_xla

        print(by_xla())
        ```
    """
    return keras.config.backend() == "jax" or _COMPILER.get() == "xla"


def by_tensorflow() -> bool:
    """Whether TensorFlow alone runs what is traced: no XLA, nor a converter's runtime.

    Example:
        ```python
        from keras_encdec.backend.environment import by_tensorflow

        print(by_tensorflow())  # False: nothing is traced
        ```
    """
    return _COMPILER.get() == "tensorflow"


def shapes_may_change() -> bool:
    """Whether a loop may go on with tensors of other shapes, at no cost.

    Only where TensorFlow alone runs it: XLA, and PyTorch's traces, are made for each
    set of shapes anew.

    Example:
        ```python
        from keras_encdec.backend import shapes_may_change

        print(shapes_may_change())  # False: nothing is traced
        ```
    """
    return by_tensorflow()


@contextlib.contextmanager
def compiled_by(compiler: str) -> Iterator[None]:
    """Says what compiles the functions that TensorFlow traces in this context.

    Args:
        compiler: "xla" or "tensorflow".

    Example:
        ```python
        from keras_encdec.backend.environment import by_xla, compiled_by

        with compiled_by("xla"):
            print(by_xla())
        ```
    """
    token = _COMPILER.set(compiler)
    try:
        yield
    finally:
        _COMPILER.reset(token)


class _LazyTensorFlow:
    def __getattr__(self, name: str) -> Any:
        return getattr(import_tensorflow(), name)


def lazy_tensorflow() -> Any:
    """Returns what stands for the module `tensorflow`, imported when it is used.

    Importing it takes three seconds.

    Example:
        ```python
        from keras_encdec.backend import lazy_tensorflow

        tf = lazy_tensorflow()
        print(tf.strings.length("text"))
        ```
    """
    return _LazyTensorFlow()


def import_tensorflow() -> Any:
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
    _leave_accelerators(tf)
    return tf


@functools.cache
def _leave_accelerators(tf: Any) -> None:
    if keras.config.backend() != "tensorflow":
        # Too late, and harmless, where the user's program has initialised them.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
