"""Samplers by name, wherever one is taken."""

import pytest

from keras_encdec import (
    BeamSampler,
    Generator,
    GreedySampler,
    Sampler,
    TopKSampler,
    generation,
)
from keras_encdec.generation.samplers.names import SAMPLERS, sampler_of

pytestmark = pytest.mark.once


def test_names_are_those_of_all_samplers():
    classes = {
        getattr(generation, name) for name in generation.__all__ if "Sampler" in name
    }
    # Without limits of its own the combined one is no sampler.
    classes -= {Sampler, generation.PerRowSampler, generation.CombinedSampler}
    assert classes == {*SAMPLERS.values()}
    for name, each in SAMPLERS.items():
        assert sampler_of(name) == sampler_of(name.replace("_", "-")) == each()


def test_what_is_meant_is_taken():
    assert sampler_of() == sampler_of(None) == GreedySampler()
    assert sampler_of("top_k", k=3) == TopKSampler(k=3)
    assert sampler_of(sampler := BeamSampler(2)) is sampler


@pytest.mark.parametrize(
    "sampler, error, says",
    [
        ("beams", ValueError, "received 'beams'. Did you mean 'beam'?"),
        ("", ValueError, "must be one of greedy, beam, .*; received ''.$"),
        (3, TypeError, "a name such as 'top_k', or .*; received 3"),
        (BeamSampler, TypeError, "must be an object such as TopKSampler"),
    ],
)
def test_what_is_no_sampler_is_told(sampler, error, says):
    with pytest.raises(error, match=says):
        Generator(object(), sampler)
