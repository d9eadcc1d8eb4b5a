"""Random numbers against the hash written again in NumPy's unsigned integers."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from keras_encdec.backend import compile_function
from keras_encdec.generation import row_seeds, uniform

EXTREMES = [0, 1, 7, -1, -2, 2**31 - 1, 2**31 - 2, -(2**31), -(2**31) + 1, 123456789]
# Of seed 7: four rows, and 2**24 times their numbers at three steps.
SEEDS = [7, -1640531520, 1013904249, -626627278]
NUMBERS = [
    [1239788, 7486894, 2205871, 4032896],
    [11430581, 4137876, 7149658, 6661076],
    [7276822, 15889332, 6996794, 9662693],
]


def finalizer(h):
    """MurmurHash3's `fmix32`, as its author wrote it."""
    h = h ^ (h >> np.uint32(16))
    h = h * np.uint32(0x85EBCA6B)
    h = h ^ (h >> np.uint32(13))
    h = h * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def expected_seeds(seed, rows):
    golden = np.uint32(0x9E3779B9)
    seed = np.array([seed]).astype("uint32")
    return (np.arange(rows, dtype="uint32") * golden + seed).view("int32")


def expected_uniform(seeds, step):
    golden = np.uint32(0x9E3779B9)
    step = np.array([step]).astype("uint32")
    bits = finalizer(
        finalizer(np.asarray(seeds, "int32").view("uint32")) + step * golden
    )
    return ((bits >> np.uint32(8)) / 2**24).astype("float32")


def table(seed, rows, steps):
    """Uniform numbers `(steps, rows)`."""
    seeds = row_seeds(seed, rows)
    return np.stack([ops.convert_to_numpy(uniform(seeds, t)) for t in range(steps)])


def test_numpys_finalizer_is_that_of_murmurhash():
    # The hashes of empty and of zero-filled keys reduce to the finalizer, and are in
    # published lists of test vectors: seed 1 with no bytes gives 0x514E28B7.
    assert finalizer(np.array([0, 1, 0xFFFFFFFF], "uint32")).tolist() == [
        0,
        0x514E28B7,
        0x81F16F39,
    ]


@pytest.mark.parametrize("seed", EXTREMES)
def test_seeds_of_rows_are_as_in_numpy(seed):
    seeds = row_seeds(seed, 1000)
    assert keras.backend.standardize_dtype(seeds.dtype) == "int32"
    assert np.array_equal(ops.convert_to_numpy(seeds), expected_seeds(seed, 1000))


@pytest.mark.parametrize("step", [0, 1, 2, 77, 2**20, 2**31 - 2, 2**31 - 1])
def test_is_bit_for_bit_as_in_numpy(step):
    rng = np.random.default_rng(step)
    seeds = rng.integers(-(2**31), 2**31, 2000).astype("int32")
    seeds[: len(EXTREMES)] = EXTREMES
    numbers = uniform(ops.convert_to_tensor(seeds), step)
    assert keras.backend.standardize_dtype(numbers.dtype) == "float32"
    expected = expected_uniform(seeds, (step + 1) % 2**32)
    assert np.array_equal(ops.convert_to_numpy(numbers), expected)


def test_compiled_gives_the_same():
    inputs = [keras.KerasTensor((None,), "int32"), keras.KerasTensor((), "int32")]
    compiled = compile_function(uniform, inputs)
    seeds = ops.convert_to_tensor(np.array(EXTREMES, "int32"))
    for step in (0, 1, 5, 2**31 - 1):
        numbers = compiled(seeds, ops.convert_to_tensor(step, "int32"))
        expected = expected_uniform(EXTREMES, step + 1)
        assert np.array_equal(ops.convert_to_numpy(numbers), expected)


def test_literal_values():
    assert ops.convert_to_numpy(row_seeds(7, 4)).tolist() == SEEDS
    # Multiples of 2**-24, hence exact.
    assert (table(7, 4, 3) * 2**24).astype(int).tolist() == NUMBERS


@pytest.mark.parametrize("seed", [0, -1, 2**31 - 1])
def test_first_rows_do_not_depend_on_the_number_of_rows(seed):
    many = ops.convert_to_numpy(row_seeds(seed, 100))
    for rows in (0, 1, 3, 99):
        few = row_seeds(seed, rows)
        assert np.array_equal(ops.convert_to_numpy(few), many[:rows])
        numbers = ops.convert_to_numpy(uniform(few, 5))
        assert np.array_equal(numbers, expected_uniform(many[:rows], 6))


@pytest.mark.parametrize("seed", [0, 1, -5, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("rows, steps", [(20_000, 1), (20, 100), (200, 50)])
def test_is_uniform(seed, rows, steps):
    numbers = table(seed, rows, steps)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, bins=50, range=(0, 1))[0]
    assert 1e-4 < stats.chisquare(counts).pvalue < 1 - 1e-4
    # The lowest bits too, which a bad generator leaves in a pattern.
    low = np.bincount((numbers.ravel() * 2**24).astype(int) % 64, minlength=64)
    assert 1e-4 < stats.chisquare(low).pvalue < 1 - 1e-4


@pytest.mark.parametrize("seed", [0, 1, 12345, -(2**31)])
def test_neighbours_are_independent(seed):
    numbers = table(seed, 400, 60)
    pairs = {
        "rows": (numbers[:, :-1], numbers[:, 1:]),
        "steps": (numbers[:-1], numbers[1:]),
        # From row to row and from step to step it moves by the same golden ratio.
        "diagonal": (numbers[1:, :-1], numbers[:-1, 1:]),
        "batches": (numbers, table(seed + 1, 400, 60)),
    }
    for name, (a, b) in pairs.items():
        counts = np.histogram2d(a.ravel(), b.ravel(), 10, ((0, 1), (0, 1)))[0]
        assert stats.chisquare(counts.ravel()).pvalue > 1e-4, name
        correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(a.size), name
        assert not np.array_equal(a, b)


@pytest.mark.parametrize("seed", [2**31, -(2**31) - 1, 2**70, 1.0, "7", None, [1, 2]])
def test_refuses_a_seed_that_is_no_32_bit_int(seed):
    with pytest.raises(ValueError, match="seed must be an int that fits in 32 bits"):
        row_seeds(seed, 2)
