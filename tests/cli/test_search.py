"""The options of a generation."""

import pytest

from keras_encdec import (
    BeamSampler,
    GreedySampler,
    RandomSampler,
    TopKSampler,
    bayes_risk,
)
from keras_encdec.cli.search import (
    BEAMS,
    SAMPLERS,
    SAMPLING_OPTIONS,
    UTILITIES,
    bayes_risk_options,
    check_n_best,
    make_sampler,
)
from keras_encdec.generation.samplers.names import sampler_of

pytestmark = pytest.mark.once

VALUES = {"beams": 3, "length_penalty": 0.5, "temperature": 2.0, "k": 7, "p": 0.25}
VALUES |= {"samples": 5, "utility": "bleu"}


def test_what_is_asked_for_is_made():
    assert make_sampler() is None and make_sampler(beams=None, k=None) is None
    assert make_sampler("greedy") == GreedySampler()
    assert make_sampler("beam") == BeamSampler(4)
    assert make_sampler(beams=8) == make_sampler("beam", beams=8) == BeamSampler(8)
    assert make_sampler(beams=8, length_penalty=0.0) == BeamSampler(8, 0.0)
    assert make_sampler("top-k", k=1, temperature=None) == TopKSampler(1.0, 1)


@pytest.mark.parametrize("option", VALUES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_option_counts_or_is_refused(sampler, option):
    takes = SAMPLERS[sampler]
    if option in takes:
        made = make_sampler(sampler, **{option: VALUES[option]})
        if option in ("samples", "utility"):
            risk = bayes_risk_options(sampler, **{option: VALUES[option]})
            assert risk == {takes[option]: VALUES[option]} and made == RandomSampler()
            return
        sampler = "random" if sampler == "mbr" else sampler
        assert type(made) is type(sampler_of(sampler))
        assert getattr(made, takes[option]) == VALUES[option]
        assert getattr(make_sampler(sampler), takes[option]) != VALUES[option]
    else:
        says = f"^--{option.replace('_', '-')} is an option .*with --sampler {sampler}"
        with pytest.raises(ValueError, match=says):
            make_sampler(sampler, **{option: VALUES[option]})


def test_utilities_are_those_there_are():
    as_there = tuple(name.replace("-", "_") for name in UTILITIES)
    assert as_there == bayes_risk.UTILITIES
    for name, there in zip(UTILITIES, as_there, strict=True):
        assert bayes_risk_options("mbr", utility=name) == {"utility": there}
    assert bayes_risk_options("mbr") == {} and bayes_risk_options("random") is None


def test_the_options_are_those_of_all_samplers():
    options = {option for takes in SAMPLERS.values() for option in takes}
    assert {*SAMPLING_OPTIONS} == {"sampler", *options} == {"sampler", *VALUES}
    assert sampler_of("beam").num_beams == BEAMS


@pytest.mark.parametrize("sampler", [None, *SAMPLERS])
@pytest.mark.parametrize("n_best", [1, 3, BEAMS, BEAMS + 1])
def test_no_more_texts_are_asked_of_a_sampler_than_it_gives(sampler, n_best):
    for beams in (None, 3) if sampler in (None, "beam") else (None,):
        made = make_sampler(sampler, beams=beams)
        told = []
        try:
            check_n_best(n_best, sampler, beams)
        except ValueError as error:
            told = [str(error)]
        # What was saved gives any number, as far as is known.
        right = made is None
        if sampler == "mbr":
            right = n_best == 1
        elif made is not None:
            try:
                right = made.rows_per_source(n_best) > 0
            except ValueError:
                right = False
        assert right != bool(told), told
        assert (
            not told
            or f"received {n_best} with --sampler {sampler or 'beam'}" in (told[0])
        )


@pytest.mark.parametrize("option", [x for x in VALUES if x != "beams"])
def test_an_option_of_no_sampler_is_refused(option):
    with pytest.raises(ValueError, match="received it with no --sampler. Give that"):
        make_sampler(**{option: VALUES[option]})
