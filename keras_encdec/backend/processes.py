"""Several processes that share a training: who this one is, and what the others say.

Before `join_processes` a process is alone, whatever others there are.
"""

import functools
import pickle
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import keras

from keras_encdec.backend.jax import processes as jax_processes
from keras_encdec.backend.torch import processes as torch_processes

T = TypeVar("T")

_within_first = False  # What the first process alone does, others waiting.


def _engine() -> Any:
    """What exchanges, or None where a process is alone."""
    engines = {"jax": jax_processes, "torch": torch_processes}
    engine: Any = engines.get(keras.config.backend())
    return engine if engine is not None and engine.count() > 1 else None


def join_processes() -> None:
    """Has trainings from now on be shared with the other processes.

    In all processes but the first nothing is printed any more. Under JAX there need be
    no others.

    Raises:
        RuntimeError: On PyTorch, if there are none, nor anything that tells of them.

    Example:
        ```python
        from keras_encdec.backend import join_processes, running_backend

        if running_backend() == "torch":
            try:
                join_processes()
            except RuntimeError as error:
                print(error)  # Start them by torchrun.
        ```
    """
    (jax_processes if keras.config.backend() == "jax" else torch_processes).join()


def process_count() -> int:
    """Returns how many processes share a training, an int.

    Example:
        ```python
        from keras_encdec.backend import process_count

        print(process_count())  # 1
        ```
    """
    engine = _engine()
    return 1 if engine is None else engine.count()


def process_index() -> int:
    """Returns the number of this process among them, from 0; the first one writes.

    Example:
        ```python
        from keras_encdec.backend import process_index

        print(process_index())  # 0
        ```
    """
    engine = _engine()
    return 0 if engine is None else engine.index()


def from_first(function: Callable[[], T]) -> T:
    """Returns, in all processes, what a function returns in the first, or raises it.

    The others do not call it, and wait.

    Args:
        function: A function without arguments; what it returns can be pickled.

    Example:
        ```python
        from keras_encdec.backend import from_first

        print(from_first(lambda: "of all"))
        ```
    """
    engine = _engine()
    if engine is None or _within_first:
        return function()
    if engine.index() > 0:
        result, error = engine.of_first(None)
        if error is not None:
            raise error
        return result
    try:
        result = _called_alone(engine, function)
    except Exception as error:
        engine.of_first((None, _portable(error)))
        raise
    engine.of_first((result, None))
    return result


def _called_alone(engine: Any, function: Callable[[], T]) -> T:
    """Calls a function in the first process, which then asks the others nothing."""
    global _within_first
    _within_first = True
    try:
        with engine.alone():
            return function()
    finally:
        _within_first = False


def _portable(error: Exception) -> Exception:
    """An error that can be told to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(str(error))
    return error


def in_first_alone(method: Callable[..., T]) -> Callable[..., T | None]:
    """Has a function do nothing, and return None, in all processes but the first.

    They wait for it; what it raises is raised in all of them.

    Args:
        method: The function, which all of them call.

    Example:
        ```python
        from keras_encdec.backend import in_first_alone

        in_first_alone(print)("This is said once.")
        ```
    """

    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> T | None:
        found: list[T] = []
        # What it returns may be large, and is not sent.
        from_first(lambda: found.append(method(*args, **kwargs)))
        return found[0] if found else None

    return called


def any_process(*flags: bool) -> list[bool]:
    """Returns for each flag whether it is set in any process; all of them ask at once.

    Args:
        *flags: What this process says.

    Example:
        ```python
        from keras_encdec.backend import any_process

        print(any_process(True, False))
        ```
    """
    engine = _engine()
    return list(flags) if engine is None else engine.any_of(flags)


def gathered(value: T) -> list[T]:
    """Returns a value of each process, in their order; all of them ask at once.

    Args:
        value: That of this one, which can be pickled.

    Example:
        ```python
        from keras_encdec.backend import gathered

        print(gathered("mine"))
        ```
    """
    engine = _engine()
    return [value] if engine is None else engine.gathered(value)


def share_variables(variables: Iterable[Any]) -> None:
    """Gives Keras variables the values that they have in the first process.

    Args:
        variables: The variables, in one order everywhere.

    Example:
        ```python
        import keras
        from keras_encdec.backend import share_variables

        share_variables([keras.Variable([1.0, 2.0])])
        ```
    """
    engine = _engine()
    if engine is not None:
        engine.share_variables(variables)


def assign(variable: Any, value: Any) -> None:
    """Gives a Keras variable a value, in this process alone.

    Under JAX `variable.assign` needs all processes that share it.

    Args:
        variable: The variable.
        value: An array.

    Example:
        ```python
        import keras
        from keras_encdec.backend import assign

        assign(keras.Variable([1.0, 2.0]), [3.0, 4.0])
        ```
    """
    engine = _engine()
    if engine is None:
        variable.assign(value)
    else:
        engine.assign(variable, value)


def part_random_numbers() -> None:
    """Has each process draw its own random numbers from now on, as for dropout."""
    engine = _engine()
    if engine is not None:
        engine.part_random_numbers()
