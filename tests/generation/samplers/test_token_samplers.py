"""Samplers against the distributions they promise, written in NumPy."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from keras_encdec.backend import compile_function
from keras_encdec.generation import (
    GreedySampler,
    MinPSampler,
    PerRowSampler,
    RandomSampler,
    Sampler,
    TopKSampler,
    TopPSampler,
    TypicalSampler,
    row_seeds,
    uniform,
)

LARGEST = 1 - 2.0**-24  # the largest float32 below 1, and the largest that is drawn
RANDOM = [
    RandomSampler(),
    RandomSampler(temperature=0.5),
    RandomSampler(temperature=3.0),
    TopKSampler(k=1),
    TopKSampler(k=4),
    TopKSampler(k=4, temperature=2.0),
    TopKSampler(k=1000),
    TopPSampler(p=0.5),
    TopPSampler(p=0.9, temperature=1.5),
    TopPSampler(p=1e-6),
    TopPSampler(p=1.0),
    MinPSampler(p=0.2),
    MinPSampler(p=0.05, temperature=1.5),
    TypicalSampler(p=0.3),
    TypicalSampler(p=0.8, temperature=2.0),
]
MINUS_INFINITY = -float("inf")


def sample(sampler, logits, uniform):
    """Ids `(B,)` for logits `(B, V)`, or `(V,)` for all rows alike."""
    uniform = np.asarray(uniform, "float32")
    logits = np.asarray(logits, "float32")
    logits = np.broadcast_to(logits, (len(uniform), logits.shape[-1]))
    ids = sampler(ops.convert_to_tensor(logits), ops.convert_to_tensor(uniform))
    assert keras.backend.standardize_dtype(ids.dtype) == "int32"
    return ops.convert_to_numpy(ids)


def distribution(sampler, logits):
    """What a sampler draws from, by the definitions of the papers."""
    scaled = np.asarray(logits, "float64") / sampler.temperature
    weights = np.exp(scaled - scaled.max())
    probabilities = weights / weights.sum()
    order = np.argsort(-probabilities, kind="stable")
    if isinstance(sampler, TopKSampler):
        dropped = order[sampler.k :]
    elif isinstance(sampler, TopPSampler):
        needed = 1 + np.sum(np.cumsum(probabilities[order]) < sampler.p)
        dropped = order[needed:]
    elif isinstance(sampler, MinPSampler):
        dropped = probabilities < sampler.p * probabilities.max()
    elif isinstance(sampler, TypicalSampler):
        possible = probabilities > 0
        information = -np.log(np.where(possible, probabilities, 1e-300))
        entropy = np.sum(probabilities * information)
        order = np.argsort(np.abs(information - entropy), kind="stable")
        needed = 1 + np.sum(np.cumsum(probabilities[order]) < sampler.p)
        dropped = order[needed:]
    else:
        dropped = []
    probabilities[dropped] = 0
    return probabilities / probabilities.sum()


def some_logits(size, seed=0, scale=2.0, masked=0.0):
    rng = np.random.default_rng(seed)
    logits = scale * rng.normal(size=size)
    logits[1:][rng.random(size - 1) < masked] = MINUS_INFINITY
    return logits.astype("float32")


# Greedy


def test_greedy_is_argmax_whatever_the_number():
    logits = np.stack([some_logits(30, seed, masked=0.3) for seed in range(50)])
    for number in (0.0, 0.5, LARGEST):
        ids = sample(GreedySampler(), logits, np.full(50, number))
        assert np.array_equal(ids, logits.argmax(-1))


def test_greedy_takes_the_first_of_equals():
    logits = [[0, 7, 7, 7], [7, 7, 0, 7], [MINUS_INFINITY, 1, 0, 1], [2, 2, 2, 2]]
    assert sample(GreedySampler(), logits, np.zeros(4)).tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("sampler", [TopKSampler(k=1), TopPSampler(p=1e-6)])
@pytest.mark.parametrize("number", [0.0, 0.3, LARGEST])
def test_the_narrowest_options_are_greedy(sampler, number):
    logits = np.stack([some_logits(30, seed, masked=0.3) for seed in range(50)])
    ids = sample(sampler, logits, np.full(50, number))
    assert np.array_equal(ids, logits.argmax(-1))


# Distributions


@pytest.mark.parametrize("sampler", RANDOM)
@pytest.mark.parametrize("seed", [0, 1])
def test_an_even_grid_of_numbers_gives_each_token_its_share(sampler, seed):
    logits = some_logits(12, seed, masked=0.2)
    numbers = (np.arange(4096) + 0.5) / 4096
    ids = sample(sampler, logits, numbers)
    # The inverse of a cumulative distribution, in the order of the ids.
    assert np.array_equal(ids, np.sort(ids))
    shares = np.bincount(ids, minlength=12) / 4096
    np.testing.assert_allclose(shares, distribution(sampler, logits), atol=1.01 / 4096)


@pytest.mark.parametrize("sampler", RANDOM)
def test_drawn_frequencies_are_those_of_the_distribution(sampler):
    logits = some_logits(12, seed=2)
    numbers = ops.convert_to_numpy(uniform(row_seeds(11, 20_000), 3))
    counts = np.bincount(sample(sampler, logits, numbers), minlength=12)
    expected = 20_000 * distribution(sampler, logits)
    kept = expected > 0
    assert counts[~kept].sum() == 0
    if kept.sum() > 1:
        assert stats.chisquare(counts[kept], expected[kept]).pvalue > 1e-3


def test_a_wrong_distribution_would_be_found():
    logits = some_logits(12, seed=2)
    numbers = ops.convert_to_numpy(uniform(row_seeds(11, 20_000), 3))
    counts = np.bincount(sample(RandomSampler(), logits, numbers), minlength=12)
    wrong = 20_000 * distribution(RandomSampler(temperature=1.1), logits)
    assert stats.chisquare(counts, wrong).pvalue < 1e-6


@pytest.mark.parametrize("sampler", RANDOM)
def test_rows_are_drawn_each_from_its_own_logits(sampler):
    logits = np.stack([some_logits(9, seed, masked=0.2) for seed in range(40)])
    numbers = np.random.default_rng(0).random(40)
    together = sample(sampler, logits, numbers)
    alone = [
        sample(sampler, logits[i : i + 1], numbers[i : i + 1])[0] for i in range(40)
    ]
    assert together.tolist() == alone


def test_equals_of_the_kth_are_kept():
    logits = [3, 1, 3, 1, 1, 0]
    numbers = (np.arange(1000) + 0.5) / 1000
    ids = sample(TopKSampler(k=3), logits, numbers)
    assert set(ids) == {0, 1, 2, 3, 4}
    assert set(sample(TopKSampler(k=2), logits, numbers)) == {0, 2}


def test_top_p_keeps_the_token_that_reaches_p():
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    numbers = (np.arange(1000) + 0.5) / 1000
    for p, kept in ((0.4, {0}), (0.6, {0, 1}), (0.79, {0, 1}), (0.81, {0, 1, 2})):
        assert set(sample(TopPSampler(p=p), logits, numbers)) == kept


def test_temperature_comes_before_the_truncation():
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    numbers = (np.arange(1000) + 0.5) / 1000
    # At temperature 3 the best token has a share of 0.33, at 0.2 one of 0.93.
    assert len(set(sample(TopPSampler(p=0.9, temperature=3.0), logits, numbers))) == 4
    assert len(set(sample(TopPSampler(p=0.9, temperature=0.2), logits, numbers))) == 1


# What is never drawn


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1")
@pytest.mark.parametrize("sampler", [GreedySampler(), *RANDOM])
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_a_token_of_no_probability_is_never_drawn(sampler, size):
    numbers = np.array([0.0, 2.0**-24, 0.25, 0.5, 0.75, LARGEST - 2.0**-24, LARGEST])
    for seed, scale in ((0, 1.0), (1, 10.0)):
        logits = some_logits(size, seed, scale, masked=0.9)
        for place in (0, size // 2, size - 1):
            # Impossible tokens at both ends, and one possible token among them.
            rolled = np.roll(logits, place)
            ids = sample(sampler, rolled, numbers)
            assert ids.min() >= 0
            assert ids.max() < size
            assert np.isfinite(rolled[ids]).all()


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_rounding_of_sums_draws_no_token_of_no_probability(scale):
    # Numbers at the very steps of the cumulative distribution, where sums that are
    # done in parallel round differently from one token to the next.
    logits = some_logits(2000, 0, scale, masked=0.9)
    probabilities = distribution(RandomSampler(), logits)
    steps = np.cumsum(probabilities)[np.isfinite(logits)]
    numbers = np.unique(np.round(steps * 2**24)[:, None] + np.arange(-2, 4))
    numbers = np.clip(numbers, 0, 2**24 - 1) / 2**24
    ids = sample(RandomSampler(), logits, numbers)
    assert np.isfinite(logits[ids]).all()


@pytest.mark.parametrize("sampler", RANDOM)
def test_a_single_possible_token_is_always_drawn(sampler):
    for size, place in ((5, 0), (5, 4), (10_000, 9_999), (10_000, 5_000)):
        logits = np.full(size, MINUS_INFINITY)
        logits[place] = -40.0
        assert set(sample(sampler, logits, [0.0, 0.5, LARGEST])) == {place}


@pytest.mark.parametrize("sampler", RANDOM)
def test_large_logits_do_not_overflow(sampler):
    logits = np.array([-3e38, 3.0e38, 1e30, -1e30])
    assert sample(sampler, logits, [0.0, 0.5, LARGEST]).tolist() == [1, 1, 1]


def test_the_smallest_temperature_is_greedy():
    logits = some_logits(50, masked=0.5)
    ids = sample(RandomSampler(temperature=1e-37), logits, [0.0, 0.5, LARGEST])
    assert ids.tolist() == [logits.argmax()] * 3


@pytest.mark.parametrize("sampler", [GreedySampler(), *RANDOM])
def test_compiled_draws_the_same(sampler):
    logits = np.stack([some_logits(20, seed, masked=0.2) for seed in range(64)])
    numbers = np.random.default_rng(1).random(64).astype("float32")
    inputs = [keras.KerasTensor((None, 20)), keras.KerasTensor((None,))]
    compiled = compile_function(sampler, inputs)
    ids = compiled(ops.convert_to_tensor(logits), ops.convert_to_tensor(numbers))
    assert np.array_equal(ops.convert_to_numpy(ids), sample(sampler, logits, numbers))


# Objects


@pytest.mark.parametrize("sampler", [GreedySampler(), *RANDOM])
def test_survives_its_config(sampler):
    copy = type(sampler).from_config(sampler.get_config())
    assert copy == sampler
    assert hash(copy) == hash(sampler)
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(sampler)))
    assert saved["registered_name"] == f"keras_encdec>{type(sampler).__name__}"
    assert keras.saving.deserialize_keras_object(saved) == sampler


def test_equal_by_class_and_options():
    assert TopKSampler(k=5) == TopKSampler(k=5)
    assert TopKSampler(k=5) != TopKSampler(k=6)
    assert TopKSampler(k=5) != TopKSampler(k=5, temperature=2.0)
    assert RandomSampler() != TopPSampler(p=1.0)
    assert GreedySampler() == GreedySampler()
    assert repr(TopKSampler(k=5)) == "TopKSampler(temperature=1.0, k=5)"


@pytest.mark.parametrize("sampler", [RandomSampler(), TopKSampler(), TopPSampler()])
def test_is_frozen(sampler):
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampler.temperature = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampler.k = 3


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (RandomSampler, {"temperature": 0.0}, "temperature must be .*received 0.0"),
        (RandomSampler, {"temperature": -1.0}, "temperature must be .*received -1.0"),
        (RandomSampler, {"temperature": float("nan")}, "received nan"),
        (RandomSampler, {"temperature": float("inf")}, "finite; received inf"),
        (TopKSampler, {"temperature": 0}, "temperature must be .*received 0"),
        (TopPSampler, {"temperature": 0}, "temperature must be .*received 0"),
        (TopKSampler, {"k": 0}, "k must be a positive integer; received k=0"),
        (TopKSampler, {"k": -3}, "k must be .*received [kp]=-3"),
        (TopKSampler, {"k": 2.0}, "k must be .*received [kp]=2.0"),
        (TopKSampler, {"k": True}, "k must be .*received [kp]=True"),
        (TopKSampler, {"k": "5"}, "k must be .*received [kp]='5'"),
        (TopPSampler, {"p": 0.0}, "p must be above 0 and at most 1; received [kp]=0.0"),
        (TopPSampler, {"p": -0.1}, "p must be .*received [kp]=-0.1"),
        (TopPSampler, {"p": 1.01}, "p must be .*received [kp]=1.01"),
        (TopPSampler, {"p": float("nan")}, "p must be .*received [kp]=nan"),
        (MinPSampler, {"p": 0.0}, "p must be above 0 and at most 1; received [kp]=0.0"),
        (
            TypicalSampler,
            {"p": 1.5},
            "p must be above 0 and at most 1; received [kp]=1.5",
        ),
    ],
)
def test_refuses_options(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**options)


def test_the_base_class_says_what_to_write():
    @dataclasses.dataclass(frozen=True)
    class Unwritten(Sampler):
        pass

    with pytest.raises(NotImplementedError, match=r"Unwritten must define __call__"):
        Unwritten()(ops.zeros((1, 3)), ops.zeros((1,)))
    with pytest.raises(NotImplementedError, match=r"Sampler must define __call__"):
        Sampler()(ops.zeros((1, 3)), ops.zeros((1,)))


# Options of each row


def per_row(*samplers):
    """One sampler that gives each row the options of another, as tensors."""
    return PerRowSampler(
        ops.array([getattr(s, "temperature", 0.0) for s in samplers], "float32"),
        ops.array([getattr(s, "k", 0) for s in samplers], "int32"),
        ops.array([getattr(s, "p", 1.0) for s in samplers], "float32"),
    )


@pytest.mark.slow
def test_each_row_has_options_of_its_own():
    samplers = [
        GreedySampler(),
        *(s for s in RANDOM if not isinstance(s, (MinPSampler, TypicalSampler))),
    ]
    rng = np.random.default_rng(0)
    drawn = set()
    for _ in range(50):
        logits = 2 * rng.normal(size=(len(samplers), 12)).astype("float32")
        logits[:, 3] = MINUS_INFINITY
        numbers = rng.uniform(size=len(samplers)).astype("float32")
        rows = zip(samplers, logits, numbers, strict=True)
        expected = [sample(s, row[None], [number])[0] for s, row, number in rows]
        assert sample(per_row(*samplers), logits, numbers).tolist() == expected
        drawn.update(expected)
    assert len(drawn) == 11


@pytest.mark.slow
def test_p_is_reached_among_the_k():
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.1], "float32"))
    both = PerRowSampler(ops.ones(8), ops.full((8,), 2, "int32"), ops.full((8,), 0.5))
    # Of 0.4 / 0.7 = 0.57 and 0.3 / 0.7 the first alone reaches 0.5.
    assert set(sample(both, logits, np.linspace(0, LARGEST, 8))) == {0}


def test_options_out_of_range_are_no_limits():
    options = ops.ones(9), ops.full((9,), -1, "int32"), ops.full((9,), -0.5)
    numbers = np.linspace(0, LARGEST, 9)
    logits = some_logits(12)
    expected = sample(RandomSampler(), logits, numbers)
    assert (
        sample(PerRowSampler(*options), logits, numbers).tolist() == expected.tolist()
    )
