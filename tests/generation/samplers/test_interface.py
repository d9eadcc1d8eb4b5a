"""The loop of samplers that pick token by token: scores, samples, streams."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import (
    BeamSampler,
    ContrastiveSampler,
    EncoderDecoder,
    Generator,
    GreedySampler,
    RandomSampler,
)
from keras_encdec.generation import (
    BadWords,
    EncoderNoRepeatNGram,
    ForcedFirst,
    ForcedLast,
    MaximumLength,
    MinimumLength,
    MinPSampler,
    NoRepeatNGram,
    RepetitionPenalty,
    SuppressTokens,
    TopKSampler,
    TopPSampler,
    TypicalSampler,
)
from keras_encdec.generation.samplers.interface import log_probabilities

SOURCES = [[5, 7, 2], [9, 2], [3, 4, 5, 16, 17, 18, 2], [2]]


@pytest.fixture(scope="module")
def model():
    model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, tie_embeddings=False)
    rng = np.random.default_rng(1)
    model.set_weights([0.6 * rng.normal(size=w.shape) for w in model.weights])
    return model


@pytest.fixture(scope="module")
def random(model):
    return Generator(model, RandomSampler(temperature=0.7))


def test_log_probabilities_are_those_of_a_softmax():
    logits = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32")
    tokens = np.array([[0, 4, 2], [1, 1, 3]], "int32")
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.log(np.take_along_axis(weights, tokens[..., None], -1))[..., 0]
    found = log_probabilities(ops.array(logits), ops.array(tokens))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-5)


@pytest.mark.slow
def test_scores_are_those_of_the_tokens_given(model, random):
    found = random(SOURCES, 8, seed=3, return_scores=True)
    assert np.array_equal(found.ids, random(SOURCES, 8, seed=3))
    sums, tokens = random.score(SOURCES, found.ids)
    np.testing.assert_allclose(found.token_scores, tokens, atol=1e-4)
    np.testing.assert_allclose(found.scores, sums, atol=1e-4)


def test_several_samples_of_a_source(random):
    found = random(SOURCES, 8, seed=3, num_return_sequences=3)
    assert found.shape == (4, 3, 8)
    # The first sample is the one that is drawn alone, and the others are others.
    assert np.array_equal(found[:, 0], random(SOURCES, 8, seed=3))
    assert all(len(np.unique(row, axis=0)) > 1 for row in found)


@pytest.mark.slow
def test_streams_what_a_call_returns(model, random):
    for generator in (random, Generator(model)):
        columns = list(generator.stream(SOURCES, 8, seed=3))
        ids = generator(SOURCES, 8, seed=3)
        streamed = np.stack(columns, axis=1)
        assert np.array_equal(streamed, ids[:, : len(columns)])
        assert not ids[:, len(columns) :].any()
    assert list(random.stream([], 8)) == []


def test_a_row_that_no_token_may_follow_ends_there(model):
    everything = SuppressTokens(tuple(range(20)), index=2)
    found = Generator(model, processors=[everything])(
        SOURCES[:2], 6, return_scores=True
    )
    assert not found.ids[:, 2:].any()
    assert found.scores.ravel().tolist() == [-np.inf] * 2
    assert np.isfinite(found.token_scores[..., [0, 1, 3, 4, 5]]).all()


def test_prefixes_count_in_the_length_and_not_in_the_score(model):
    generator = Generator(model)
    prefix = [[4, 5], [], [6], [7, 8, 9]]
    found = generator(SOURCES, [2, 5, 5, 6], prefix=prefix, return_scores=True)
    for ids, scores, start in zip(found.ids, found.token_scores, prefix, strict=True):
        assert ids[: len(start)].tolist() == start
        assert not scores[: len(start)].any()
    assert found.ids[0].tolist() == [4, 5, 0, 0, 0, 0]
    alone = generator([SOURCES[1]], 5)
    assert np.array_equal(found.ids[1, :5], alone[0])


def test_greedy_gives_one_sequence(model):
    with pytest.raises(ValueError, match="GreedySampler gives one sequence"):
        Generator(model, GreedySampler())(SOURCES, 4, num_return_sequences=2)
    with pytest.raises(ValueError, match="num_return_sequences must be a positive"):
        Generator(model)(SOURCES, 4, num_return_sequences=0)


SAMPLERS = [
    GreedySampler(),
    RandomSampler(0.7),
    TopKSampler(k=4),
    TopPSampler(p=0.8),
    MinPSampler(p=0.1),
    TypicalSampler(p=0.8),
    BeamSampler(2, coverage_penalty=0.2),
    BeamSampler(4, num_groups=2, diversity_penalty=0.5),
    ContrastiveSampler(k=3),
]
PROCESSORS = [
    MinimumLength(2),
    MaximumLength(ratio=1.5),
    SuppressTokens([3]),
    ForcedFirst(4),
    ForcedLast(),
    BadWords([[5, 6], [9]]),
    NoRepeatNGram(2),
    EncoderNoRepeatNGram(2),
    RepetitionPenalty(1.2),
]


def skip_where_there_is_none(dtype):
    if keras.backend.backend() == "jax" and dtype == "bfloat16":
        pytest.skip("as floatx on JAX, Keras takes integers for floats")
    if keras.backend.backend() == "jax" and dtype == "float64":
        pytest.skip("a setting of JAX's")


@pytest.fixture(scope="module")
def answers(model):
    """What a sampler gives: all that processors, a draft and phrases compute."""

    def answers(number):
        if number is None:  # Each step's choice, without a loop around it.
            rng = np.random.default_rng(2)
            logits = ops.array(rng.normal(size=(9, 20)).astype("float32"))
            uniform = ops.array(rng.uniform(size=9).astype("float32"))
            draws = [sampler(logits, uniform) for sampler in SAMPLERS[:6]]
            return [ops.convert_to_numpy(ids) for ids in draws]
        sampler = SAMPLERS[number]
        options = {} if number else {"draft_model": model}
        generator = Generator(model, sampler, processors=PROCESSORS, **options)
        given = {"prefix": [[4], [], [4, 5], []], "phrases": [[[6, 7]], [], [], []]}
        if getattr(sampler, "num_groups", 1) > 1:
            given["phrases"] = None
        found = generator(SOURCES, 7, seed=3, return_scores=True, **given)
        return *found, *(() if number else generator.score(SOURCES, [[7, 5]] * 4))

    return answers


@pytest.fixture(scope="module")
def expected_answers(answers):
    return functools.cache(answers)


@pytest.mark.slow
@pytest.mark.parametrize("floatx", ["float64", "float16", "bfloat16"])
def test_floatx_changes_nothing(answers, expected_answers, floatx):
    if floatx == "bfloat16":
        skip_where_there_is_none(floatx)
    before = keras.config.floatx()
    # Each loop, and of the narrow ones those that add up scores.
    numbers = (None, 0, 6, 7, 8) if floatx == "float64" else (None, 1, 6)
    for number in numbers:
        expected = expected_answers(number)
        keras.config.set_floatx(floatx)
        try:
            found = answers(number)
        finally:
            keras.config.set_floatx(before)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_models_of_any_dtype_generate(dtype):
    skip_where_there_is_none(dtype)
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        model = EncoderDecoder(20, 16, 32, 2, 1, dtype=dtype)
        for sampler in (RandomSampler(), BeamSampler(2), ContrastiveSampler(2)):
            generator = Generator(model, sampler)
            found = generator(SOURCES, 7, return_scores=True)
            assert found.scores.dtype == np.float32 and np.isfinite(found.scores).all()
        assert generator.align(SOURCES, [[7, 5]] * 4).dtype == np.float32
    finally:
        keras.config.set_floatx(before)
