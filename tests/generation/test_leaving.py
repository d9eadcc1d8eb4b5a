"""Rows that have ended leave the loop where TensorFlow alone runs it."""

import numpy as np
import pytest
from keras import ops

from keras_encdec import BeamSampler, Generator, GreedySampler, TopKSampler
from keras_encdec.generation import leaving, programs
from keras_encdec.generation.shortlist import Shortlist
from keras_encdec.protocol import GenerationModel

# TensorFlow without XLA is the only one whose loops may change their shapes.
pytestmark = pytest.mark.once

ROWS = 24


@pytest.fixture(autouse=True)
def one_call_at_a_time(monkeypatch):
    """Has a batch stay whole however many cores there are."""
    monkeypatch.setattr(programs, "calls_at_a_time", lambda variables: 1)


class CountsRows(GenerationModel):
    """Says how many rows a step has."""

    memory_by_source = True

    def encode(self, source):
        return source

    def new_cache(self, batch_size, length):
        return ()

    def step(self, tokens, index, memory, cache):
        rows = ops.shape(tokens)[0] + 0 * tokens
        return ops.one_hot(rows, 40), cache


def test_a_step_has_the_rows_that_are_left():
    generator = Generator(CountsRows(), jit_compile=False)
    limits = np.arange(1, 33)
    ids = generator(np.ones((32, 1), "int32"), limits)
    # When half of them have ended they leave; of 16 none does.
    expected = np.where(np.arange(32) < 16, 32, 16) * (np.arange(32) < limits[:, None])
    np.testing.assert_array_equal(ids, expected)


def test_a_model_that_does_not_say_so_keeps_its_rows():
    model = CountsRows()
    model.memory_by_source = None
    ids = Generator(model, jit_compile=False)(np.ones((32, 1), "int32"), 4)
    assert np.all(ids == 32)


@pytest.fixture
def sources():
    rng = np.random.default_rng(2)
    return [[*rng.integers(4, 20, rng.integers(1, 7)), 2] for _ in range(ROWS)]


@pytest.mark.parametrize("sampler", [BeamSampler(3), GreedySampler(), TopKSampler(5)])
def test_who_stays_gets_what_it_got_among_all(
    sampler, small_model, sources, monkeypatch
):
    model, rng = small_model(), np.random.default_rng(3)
    limits = rng.integers(1, 13, ROWS)
    call = {"source": sources, "max_length": limits, "seed": 5}
    call["return_scores"] = True
    options = {"jit_compile": False}
    if sampler == BeamSampler(3):
        call["num_return_sequences"] = 2
        call["phrases"] = [[[7, 8]] if limit > 3 else [] for limit in limits]
    elif sampler == GreedySampler():
        call["prefix"] = [[9] if limit > 1 else [] for limit in limits]
    else:
        limits[:5] = 70  # Beyond what a cache has room for at first.
        candidates = [rng.integers(3, 20, 6).tolist() for _ in range(20)]
        options["shortlist"] = Shortlist(candidates, [2, 4], 20)
    given = Generator(model, sampler, **options)(**call)
    monkeypatch.setattr(leaving, "shapes_may_change", lambda: False)
    expected = Generator(model, sampler, **options)(**call)
    np.testing.assert_array_equal(given.ids, expected.ids)
    for name in ("scores", "token_scores"):
        ours, theirs = getattr(given, name), getattr(expected, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
