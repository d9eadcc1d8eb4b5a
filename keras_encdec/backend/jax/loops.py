"""Loops of JAX as XLA's compiler for CPUs takes them best."""

import math
from collections.abc import Callable

import keras

from keras_encdec.annotations import Nested, Tensor
from keras_encdec.backend.environment import on_cpu
from keras_encdec.backend.shortcuts import take

# With so many rows a product with a transposed table takes longer than with one that
# lies the other way round. Larger tables take as long to transpose as the loop gains.
ROWS = range(2, 65)
SIZES = range(2**18, 2**23)


def while_loop(
    condition: Callable[[Nested, Nested], Tensor],
    step: Callable[[Nested, Nested], Nested],
    state: Nested,
    constants: Nested,
) -> Nested:
    """Repeats a step while a condition holds; see `backend.while_loop`."""
    import jax

    # XLA drops axes of one row from products. From a state that has them it would
    # write a cache twice, into copies: once with the axis, once without.
    single = keras.tree.map_structure(_is_cache_of_one_row, state)

    def dropped(state: Nested) -> Nested:
        return keras.tree.map_structure(
            lambda x, drop: x[0] if drop else x, state, single
        )

    def restored(state: Nested) -> Nested:
        return keras.tree.map_structure(
            lambda x, drop: x[None] if drop else x, state, single
        )

    def next_state(state: Nested) -> Nested:
        return dropped(step(restored(state), constants))

    first = dropped(state)

    def repeated(next_state: Callable[[Nested], Nested]) -> Nested:
        last = jax.lax.while_loop(
            lambda state: condition(restored(state), constants), next_state, first
        )
        return restored(last)

    # Whoever looks for a fault may have the steps run one by one.
    if on_cpu() and not jax.config.jax_disable_jit:
        return take(
            "jax-transposed-tables",
            lambda: repeated(_with_tables_transposed(next_state, first)),
            lambda: repeated(next_state),
        )
    return repeated(next_state)


def _is_cache_of_one_row(x: Tensor) -> bool:
    return len(x.shape) > 2 and x.shape[0] == 1


def _with_tables_transposed(
    function: Callable[[Nested], Nested], argument: Nested
) -> Callable[[Nested], Nested]:
    """Returns a function that finds the tables of its products transposed already.

    Within a loop XLA makes transposing a table and the product one operation, which
    reads the table the slow way in every step.
    """
    import jax
    from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

    closed, result = jax.make_jaxpr(function, return_shape=True)(argument)
    operations = closed.jaxpr.eqns
    constants = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    rows = {
        x.invars[1]: math.prod(x.invars[0].aval.shape[:-1])
        for x in operations
        if x.primitive.name == "dot_general"
    }
    tables = {
        x.outvars[0]: jax.lax.transpose(constants[x.invars[0]], **x.params)
        for x in operations
        if x.primitive.name == "transpose"
        and x.invars[0] in constants
        and x.invars[0].aval.size in SIZES
        and rows.get(x.outvars[0]) in ROWS
    }
    jaxpr = closed.jaxpr.replace(
        constvars=[*constants, *tables],
        eqns=[x for x in operations if tables.keys().isdisjoint(x.outvars)],
    )
    values = [*constants.values(), *tables.values()]
    flat = jaxpr_as_fun(ClosedJaxpr(jaxpr, values))
    structure = jax.tree.structure(result)
    return lambda argument: jax.tree.unflatten(
        structure, flat(*jax.tree.leaves(argument))
    )
