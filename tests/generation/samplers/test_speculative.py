"""Speculative decoding gives what the large model alone gives, in fewer steps."""

import numpy as np
import pytest

from keras_encdec import (
    BeamSampler,
    ContrastiveSampler,
    Generator,
    GreedySampler,
    RandomSampler,
)
from keras_encdec.generation import NoRepeatNGram
from keras_encdec.generation.samplers.speculative import SpeculativeSampler

SOURCES = [[5, 7, 2], [9, 2], [3, 4, 5, 16, 17, 18, 2], [2]]
LIMITS = [9, 4, 10, 1]


@pytest.fixture(scope="module")
def model(small_model):
    return small_model()


@pytest.fixture(scope="module")
def draft(small_model, model):
    """A smaller neighbour of the model: it agrees now and then."""
    rng = np.random.default_rng(5)
    near = small_model()
    near.set_weights(
        [weight + 0.1 * rng.normal(size=weight.shape) for weight in model.get_weights()]
    )
    return near


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "processors"),
    [
        (GreedySampler(), []),
        (RandomSampler(temperature=0.7), []),
        (RandomSampler(temperature=0.7), [NoRepeatNGram(2)]),
    ],
    ids=["greedy", "random", "random with a processor"],
)
def test_the_same_as_without_a_draft(model, draft, sampler, processors):
    alone = Generator(model, sampler, processors=processors)
    generator = Generator(
        model, sampler, processors=processors, draft_model=draft, num_draft_tokens=3
    )
    for seed in (7, [3, -1, 2**31 - 1, 0]):
        expected = alone(SOURCES, LIMITS, seed, return_scores=True)
        found = generator(SOURCES, LIMITS, seed, return_scores=True)
        assert np.array_equal(found.ids, expected.ids)
        for ours, theirs in zip(found[1:], expected[1:], strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert found.ids.shape == (4, 10)
    assert len(np.unique(found.ids)) > 5


def count_steps(counted, model, sampler, length):
    """The ids and the number of steps, of rows that never end."""
    return counted(model, sampler, [[5, 7, 2], [9, 2, 0]], [length, length - 1])


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [GreedySampler(), RandomSampler()], ids=str)
def test_a_draft_equal_to_the_model_needs_fewer_steps(counted, model, sampler):
    expected, steps = count_steps(counted, model, sampler, 8)
    assert steps == 8
    found, steps = count_steps(counted, model, SpeculativeSampler(sampler, model, 3), 8)
    assert np.array_equal(found, expected)
    # Three tokens proposed and one more with each step.
    assert steps == 2


@pytest.mark.slow
def test_a_draft_that_knows_nothing_costs_no_step_more(small_model, counted, model):
    expected, _ = count_steps(counted, model, GreedySampler(), 5)
    other = small_model(seed=9)
    sampler = SpeculativeSampler(GreedySampler(), other, 3)
    found, steps = count_steps(counted, model, sampler, 5)
    assert np.array_equal(found, expected)
    assert 2 <= steps <= 5


@pytest.mark.parametrize("sampler", [BeamSampler(2), ContrastiveSampler()], ids=str)
def test_refuses_samplers_of_whole_sequences(model, sampler):
    with pytest.raises(ValueError, match="needs a sampler that picks token by token"):
        Generator(model, sampler, draft_model=model)


@pytest.mark.parametrize("number", [0, -1, 2.0, True, None])
def test_refuses_numbers_of_draft_tokens(model, number):
    with pytest.raises(ValueError, match="num_draft_tokens must be a positive integer"):
        Generator(model, draft_model=model, num_draft_tokens=number)


def test_refuses_lengths_without_room_for_the_draft(small_model):
    model = small_model(positions="learned", max_length=10)
    generator = Generator(model, draft_model=model, num_draft_tokens=3)
    with pytest.raises(ValueError, match="positions, max_length=7; received 8"):
        generator([[5, 2]], 8)


def test_refuses_two_greedy_sequences(model):
    generator = Generator(model, draft_model=model)
    with pytest.raises(ValueError, match="GreedySampler gives one sequence"):
        generator([[5, 2]], 4, num_return_sequences=2)
