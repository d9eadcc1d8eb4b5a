"""JAX's functions: a program for each set of shapes, for the last of them."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_encdec.annotations import Nested, Tensor
from keras_encdec.backend.jax.processes import own
from keras_encdec.backend.recently_used import RecentlyUsed
from keras_encdec.backend.shortcuts import first_run

# Of one function; each takes memory for its code, and seconds to be compiled anew.
MOST_PROGRAMS = 64


def jax_function(
    function: Callable[..., Nested], variables: Sequence[Any]
) -> Callable[..., Nested]:
    """Returns a function compiled by JAX; see `backend.compile_function`."""
    import jax

    programs: RecentlyUsed[_Program] = RecentlyUsed(MOST_PROGRAMS)

    def call(*args: Nested) -> Nested:
        leaves, structure = jax.tree.flatten(args)
        kinds = (jax.typeof(leaf) for leaf in leaves)
        key = structure, *((x.shape, x.dtype) for x in kinds)
        program = programs.get(key, lambda: _Program(function, variables))
        return program([own(variable.value) for variable in variables], *args)

    return call


class _Program:
    """A function that is called with one set of shapes, by any thread."""

    def __init__(
        self, function: Callable[..., Nested], variables: Sequence[Any]
    ) -> None:
        def stateless(values: Sequence[Tensor], *args: Nested) -> Nested:
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return function(*args)

        self._stateless = stateless
        self._run: Callable[..., Nested] | None = None
        self._compiling = threading.Lock()

    def __call__(self, values: Sequence[Tensor], *args: Nested) -> Nested:
        if self._run is None:
            with self._compiling:  # By one of the threads that need it.
                if self._run is None:
                    return first_run(lambda: self._compile_and_run(values, *args))
        return self._run(values, *args)

    def _compile_and_run(self, values: Sequence[Tensor], *args: Nested) -> Nested:
        import jax

        stateless = self._stateless
        # Its own function, for JAX keeps what it compiled as long as that is there.
        run = jax.jit(lambda *args: stateless(*args))
        result = run(values, *args)
        self._run = run
        return result
