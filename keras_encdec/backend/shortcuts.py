"""Faster ways that lean on what backends and Keras may change, each with a plain one.

One rule holds for all of them: where one fails, whatever it is that fails in it, the
plain way is taken from then on, and one warning says so. What fails in the plain way
too is no fault of it.
"""

import collections
import contextlib
import contextvars
import dataclasses
import difflib
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

VARIABLE = "KERAS_ENCDEC_WITHOUT"


@dataclasses.dataclass(frozen=True)
class Shortcut:
    """What a faster way leans on, and what is done without it, two nouns."""

    leans_on: str
    plain_way: str


SHORTCUTS = {
    "keras-lists": Shortcut(
        "the private lists of a Keras layer's layers and variables",
        "a walk through all layers before each call of a generator",
    ),
    "keras-unset-variables": Shortcut(
        "the private list of Keras's variables without values",
        "drawing values that a checkpoint replaces",
    ),
    "torch-graphs": Shortcut(
        "make_fx of torch.fx.experimental",
        "the Python of every step",
    ),
    "torch-merging": Shortcut(
        "CSEPass of torch.fx.passes",
        "graphs with all operations of their functions",
    ),
    "torch-traces": Shortcut(
        "torch.jit.trace, which is deprecated",
        "graphs that Python runs",
    ),
    "torch-arranged-weights": Shortcut(
        "private operations of torch.ops.mkldnn, and torch.jit.script",
        "PyTorch's own products",
    ),
    "torch-inductor": Shortcut(
        "torch._inductor",
        "recorded training steps, as without jit_compile=True",
    ),
    "torch-cuda-graphs": Shortcut(
        "torch.cuda.graph and modes of torch.cuda",
        "kernels that Python starts one by one",
    ),
    "jax-transposed-tables": Shortcut(
        "jax.extend.core",
        "tables that XLA transposes in every step",
    ),
    "tensorflow-short-attention": Shortcut(
        "tf.raw_ops.BatchMatMulV3",
        "TensorFlow's usual products and softmax",
    ),
    "tensorflow-writes": Shortcut(
        "tf.raw_ops.TensorStridedSliceUpdate",
        "caches written anew in every step",
    ),
}


def _checked(names: Iterable[str]) -> tuple[str, ...]:
    """Returns names as a tuple, each of them one of a shortcut."""
    names = tuple(names)
    for name in names:
        if name not in SHORTCUTS:
            near = difflib.get_close_matches(name, SHORTCUTS, len(SHORTCUTS), 0)
            raise ValueError(
                f"{VARIABLE} and `without` take names of shortcuts; received {name!r}. "
                f"The names are {', '.join(near)}."
            )
    return names


def _named(text: str) -> tuple[str, ...]:
    return _checked([x.strip() for x in text.split(",") if x.strip()])


# How many times each is switched off, for as many may do it at a time.
_OFF = collections.Counter(_named(os.environ.get(VARIABLE, "")))
# Those that have failed, of which it was told.
_FAILED: set[str] = set()
_LOCK = threading.Lock()
# What is switched off for the call that runs, whatever is switched meanwhile.
_OFF_HERE: contextvars.ContextVar = contextvars.ContextVar("off_here", default=None)
# Those that what is compiled leans on.
_TAKEN: contextvars.ContextVar = contextvars.ContextVar("taken", default=None)


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Switches shortcuts off in this context, for all threads of the process.

    What was compiled with them is not used meanwhile, and again afterwards. For a whole
    process the environment variable `KERAS_ENCDEC_WITHOUT=NAME,NAME` does the same; it
    is read when `keras_encdec.backend` is imported.

    Args:
        *names: Which; `SHORTCUTS` has them all.

    Raises:
        ValueError: If there is no shortcut of a name.

    Example:
        ```python
        from keras_encdec.backend import without

        with without("torch-traces", "jax-transposed-tables"):
            pass
        ```
    """
    names = _checked(names)
    with _LOCK:
        _OFF.update(names)
    try:
        yield
    finally:
        with _LOCK:
            _OFF.subtract(names)


def switched_off() -> frozenset[str]:
    """Returns the names of what is switched off here, a frozenset.

    Example:
        ```python
        from keras_encdec.backend.shortcuts import switched_off

        print(switched_off())
        ```
    """
    here = _OFF_HERE.get()
    if here is not None:
        return here
    with _LOCK:
        return frozenset(name for name, times in _OFF.items() if times > 0)


@contextlib.contextmanager
def switched_once() -> Iterator[frozenset[str]]:
    """Has nothing switched on or off in this context; yields what is off.

    Example:
        ```python
        from keras_encdec.backend.shortcuts import switched_once, without

        with switched_once() as off, without("keras-lists"):
            print(off)  # frozenset()
        ```
    """
    off = switched_off()
    token = _OFF_HERE.set(off)
    try:
        yield off
    finally:
        _OFF_HERE.reset(token)


def is_on(name: str) -> bool:
    """Whether a shortcut may be taken here: not switched off, and has not failed.

    Example:
        ```python
        from keras_encdec.backend.shortcuts import is_on

        print(is_on("keras-lists"))
        ```
    """
    return name not in _FAILED and name not in switched_off()


def take(name: str, shortcut: Callable[[], Any], plain: Callable[[], Any]) -> Any:
    """Calls one function, or another if the first one is off or fails.

    Args:
        name: The name of the shortcut.
        shortcut: A function without arguments. What it has done before it fails must do
            no harm.
        plain: Another one. What it raises is raised.

    Returns:
        What the function returns.

    Example:
        ```python
        from keras_encdec.backend.shortcuts import take

        print(take("keras-lists", lambda: "fast", lambda: "plain"))
        ```
    """
    if not is_on(name):
        return plain()
    try:
        result = shortcut()
    except MemoryError:
        raise
    except Exception as error:
        failure = error
    else:
        if (taken := _TAKEN.get()) is not None:
            taken.add(name)
        return result
    result = plain()
    _give_up(name, failure)
    return result


def first_run(run: Callable[[], Any]) -> Any:
    """Compiles a function and calls it, again without shortcuts where one fails then.

    Args:
        run: A function without arguments, which compiles anew when it is called again.

    Returns:
        What it returns.

    Example:
        ```python
        from keras_encdec.backend.shortcuts import first_run

        print(first_run(lambda: 1 + 1))
        ```
    """
    taken: set[str] = set()
    token = _TAKEN.set(taken)
    try:
        return run()
    except MemoryError:
        raise
    except Exception as error:
        if not taken:
            raise
        failure = error
    finally:
        _TAKEN.reset(token)
    token = _OFF_HERE.set(switched_off() | taken)
    try:
        result = run()
    finally:
        _OFF_HERE.reset(token)
    for name in sorted(taken):
        _give_up(name, failure)
    return result


def _give_up(name: str, error: Exception) -> None:
    with _LOCK:
        if name in _FAILED:
            return
        _FAILED.add(name)
    text = " ".join(str(error).split())
    if len(text) > 400:  # TensorFlow says at the end what was wrong.
        text = f"{text[:200]} ... {text[-200:]}"
    warnings.warn(
        f"The shortcut {name!r} failed, which leans on {SHORTCUTS[name].leans_on}: "
        f"{type(error).__name__}: {text}. From now on the same is "
        f"done slower, by {SHORTCUTS[name].plain_way}. With {VARIABLE}={name} the "
        "shortcut is not tried.",
        stacklevel=4,
    )
