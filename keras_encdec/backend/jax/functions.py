"""JAX's functions: a program for each set of shapes, for the last of them."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_encdec.annotations import Nested, Tensor
from keras_encdec.backend.recently_used import RecentlyUsed

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
        return program([variable.value for variable in variables], *args)

    return call


class _Program:
    """A function that is called with one set of shapes, by any thread."""

    def __init__(
        self, function: Callable[..., Nested], variables: Sequence[Any]
    ) -> None:
        import jax

        def stateless(values: Sequence[Tensor], *args: Nested) -> Nested:
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return function(*args)

        # Its own function, for JAX keeps what it compiled as long as that is there.
        self._run = jax.jit(stateless)
        self._compiling, self._compiled = threading.Lock(), False

    def __call__(self, values: Sequence[Tensor], *args: Nested) -> Nested:
        if self._compiled:
            return self._run(values, *args)
        with self._compiling:  # By one of the threads that need it.
            result = self._run(values, *args)
            self._compiled = True
            return result
