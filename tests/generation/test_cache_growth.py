"""A growing cache gives what one of the full length gives."""

import numpy as np
import pytest
from keras import ops

from keras_encdec import (
    BeamSampler,
    ContrastiveSampler,
    Generator,
    GreedySampler,
    LookupSampler,
    RandomSampler,
)
from keras_encdec.generation import loop
from keras_encdec.generation.cache_growth import cache_lengths, extended_cache

LENGTH = 12
SOURCES = [[5, 7, 2], [9, 2], [3, 4, 5, 16, 17, 18, 2]]


@pytest.fixture(scope="module")
def model(small_model):
    return small_model(num_layers=2)


def test_lengths_double_up_to_the_last():
    assert cache_lengths(1) == [1]
    assert cache_lengths(63) == [63]
    assert cache_lengths(64) == [32, 64]
    assert cache_lengths(200) == [32, 64, 200]


@pytest.mark.slow
def test_a_larger_cache_holds_what_the_smaller_held(model):
    rows, small, large = 3, 4, 9
    memory = model.encode(ops.array(SOURCES[:1], "int32"))
    cache = model.new_cache(rows, small)
    tokens = np.array([[5, 6, 7], [8, 9, 10], [11, 12, 13]], "int32")
    _, cache = model.step(ops.array(tokens), 0, memory, cache)
    found = extended_cache(cache, model, rows, large)
    for pairs in zip(cache, found, model.new_cache(rows, large), strict=True):
        for old, new, empty in zip(*pairs, strict=True):
            assert new.shape == empty.shape and new.dtype == empty.dtype
            old, new = map(ops.convert_to_numpy, (old, new))
            assert np.any(old) and not np.any(new[:, :, small:])
            np.testing.assert_array_equal(new[:, :, :small], old)


def test_a_cache_of_another_kind_stays_as_it_is():
    class Model:
        def new_cache(self, batch_size, length):
            return {"sum": ops.zeros((batch_size,))}

    cache = {"sum": ops.array([1.0, 2.0])}
    np.testing.assert_array_equal(
        ops.convert_to_numpy(extended_cache(cache, Model(), 2, 64)["sum"]), [1, 2]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "positions", "options"),
    [
        (GreedySampler(), "rotary", {}),
        (RandomSampler(), "sinusoidal", {}),
        (BeamSampler(3), "relative", {}),
        (BeamSampler(4, num_groups=2, coverage_penalty=0.2), "sinusoidal", {}),
        (ContrastiveSampler(k=3), "sinusoidal", {}),
        (GreedySampler(), "sinusoidal", {"num_draft_tokens": 2}),
        (LookupSampler(2), "sinusoidal", {}),
    ],
    ids=["greedy", "random", "beams", "groups", "contrastive", "speculative", "lookup"],
)
def test_growing_changes_nothing(small_model, monkeypatch, sampler, positions, options):
    model = small_model(positions=positions)
    if "num_draft_tokens" in options:
        options = {**options, "draft_model": small_model(2)}

    # Each part would ask for lengths.
    monkeypatch.setattr(
        "keras_encdec.generation.programs.calls_at_a_time", lambda *_: 1
    )

    def generated():
        generator = Generator(model, sampler, end_id=12, **options)
        return generator(SOURCES, [LENGTH, 5, LENGTH - 1], return_scores=True)

    expected, rooms = generated(), []

    def bucketed_length(length):
        rooms.append(length)
        return [4, 7, length]

    monkeypatch.setattr(loop, "cache_lengths", bucketed_length)
    found = generated()
    assert len(rooms) == 1 and rooms[0] >= LENGTH
    np.testing.assert_array_equal(found.ids, expected.ids)
    assert (found.ids != 0).sum(axis=-1).max() > 7
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
