"""Random numbers that are functions of (seed, step), the same on every backend.

Drawing has no state, so that loops compile, and a row's numbers depend on its own seed
alone. `keras.random` cannot serve: in a compiled loop an integer seed repeats the same
draw at each step, and the backends' generators differ.
"""

import numbers

from keras import ops

from keras_encdec.annotations import Tensor

# The golden ratio's fraction of 2**32, odd: multiples of it spread evenly.
_SPREAD = 0x9E3779B9 - 2**32


def _shift_right(x: Tensor, bits: int) -> Tensor:
    # Of int32 `right_shift` copies the sign bit; the mask clears the copies.
    # With a floatx of bfloat16, Keras takes integers for floats on JAX.
    mask = ops.convert_to_tensor(2 ** (32 - bits) - 1, "int32")
    return ops.bitwise_and(ops.right_shift(x, bits), mask)


def _mix(x: Tensor) -> Tensor:
    # MurmurHash3's finalizer; int32 products wrap on every backend.
    x = ops.bitwise_xor(x, _shift_right(x, 16)) * (0x85EBCA6B - 2**32)
    x = ops.bitwise_xor(x, _shift_right(x, 13)) * (0xC2B2AE35 - 2**32)
    return ops.bitwise_xor(x, _shift_right(x, 16))


def row_seeds(seed: int, rows: int | Tensor) -> Tensor:
    """Returns a seed for each row of a batch.

    Args:
        seed: The seed of the batch, a 32-bit int.
        rows: The number of rows, an int or an int32 scalar.

    Returns:
        `(rows,)`, int32; the seeds of the first rows do not depend on their number.

    Raises:
        ValueError: If the seed is not an integer of 32 bits.

    Example:
        ```python
        from keras_encdec.generation import row_seeds

        print(row_seeds(7, 3))
        ```
    """
    if not isinstance(seed, numbers.Integral) or not -(2**31) <= seed < 2**31:
        raise ValueError(
            "seed must be an int that fits in 32 bits, from -2**31 to 2**31 - 1; "
            f"received {seed!r:.200}."
        )
    return seeds_from_numbers(ops.arange(rows, dtype="int32"), seed)


def seeds_from_numbers(numbers: Tensor, seed: int) -> Tensor:
    """Returns the seeds of rows of given numbers, a tensor or an array of int32.

    Example:
        ```python
        import numpy as np
        from keras_encdec.generation.random_numbers import seeds_from_numbers

        print(seeds_from_numbers(np.arange(3, dtype="int32"), seed=7))
        ```
    """
    return numbers * _SPREAD + int(seed)


def uniform(seeds: Tensor, step: int | Tensor) -> Tensor:
    """Returns one uniform random number for each row's seed at a step.

    Args:
        seeds: `(B,)`, int32.
        step: The step, an int or an int32 scalar.

    Returns:
        `(B,)`, float32, multiples of 2**-24 from 0 up to, not including, 1.

    Example:
        ```python
        from keras_encdec.generation import row_seeds, uniform

        print(uniform(row_seeds(7, 3), step=0))
        ```

    Reference:
        Salmon et al. 2011, Parallel Random Numbers: As Easy as 1, 2, 3; the hash is
        the finalizer of Appleby's MurmurHash3.
    """
    step = ops.cast(step, "int32")
    bits = _mix(_mix(ops.cast(seeds, "int32")) + (step + 1) * _SPREAD)
    return ops.cast(_shift_right(bits, 8), "float32") * 2.0**-24
