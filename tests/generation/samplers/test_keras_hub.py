"""KerasHub's samplers: their loop obeys our rules."""

import warnings

import numpy as np
import pytest
from keras import ops

from keras_encdec import (
    ByteTokenizer,
    ContrastiveSampler,
    EncoderDecoder,
    Generator,
    TextToText,
    build,
)
from keras_encdec.backend.tensorflow import functions as tensorflow_functions
from keras_encdec.generation import SuppressTokens

with warnings.catch_warnings():
    # What it imports warns of itself.
    warnings.simplefilter("ignore")
    samplers = pytest.importorskip("keras_hub").samplers

END = 2
SOURCES = np.random.default_rng(0).integers(3, 9, (12, 4))
LIMITS = np.arange(12) % 6 + 3


class Table:
    """A table of logits with the three verbs, and nothing of a neural network."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.table = (2 * rng.normal(size=(13 * 9, 9))).astype("float32")

    def encode(self, source):
        return ops.cast(ops.sum(source, axis=1), "int32")

    def new_cache(self, batch_size, length):
        return ops.zeros((batch_size,), "int32")

    def step(self, tokens, index, memory, cache):
        cache = cache + tokens * (index + 1)
        # The rows of a source stand in turn.
        times = ops.shape(tokens)[0] // ops.shape(memory)[0]
        state = ops.mod(ops.repeat(memory, times, axis=0) + cache, 13)
        return ops.take(self.table, state * 9 + tokens, axis=0), cache


@pytest.fixture(scope="module")
def model():
    model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, tie_embeddings=False)
    rng = np.random.default_rng(13)
    weights = []
    for variable in model.weights:
        center = float(variable.path.endswith(("gamma", "scale")))
        spread = 0.1 if len(variable.shape) == 1 else 0.6
        weights.append(center + spread * rng.normal(size=variable.shape))
    model.set_weights(weights)
    return model


def check(ids, limits):
    assert ids.dtype == "int32"
    assert ids.shape == (len(limits), max(limits))
    for row, limit in zip(ids.tolist(), limits, strict=True):
        tokens = [token for token in row if token != 0]
        assert row == tokens + [0] * (len(row) - len(tokens))
        assert 1 <= len(tokens) <= limit
        assert END not in tokens[:-1]
        assert tokens[-1] == END or len(tokens) == limit


def test_greedy_is_ours():
    ids = Generator(Table(), samplers.GreedySampler())(SOURCES, LIMITS)
    check(ids, LIMITS)
    assert np.array_equal(ids, Generator(Table())(SOURCES, LIMITS))
    assert (ids != 0).sum(1).min() < 3


def test_a_processor_is_obeyed():
    processors = [SuppressTokens([4, END])]
    generator = Generator(Table(), samplers.GreedySampler(), processors=processors)
    ids = generator(SOURCES, LIMITS)
    ours = Generator(Table(), processors=processors)(SOURCES, LIMITS)
    assert np.array_equal(ids, ours)
    assert not np.isin(ids, [4, END]).any()


@pytest.mark.parametrize(
    "build",
    [
        lambda: samplers.RandomSampler(seed=1),
        lambda: samplers.TopKSampler(k=3, seed=1),
        lambda: samplers.TopPSampler(p=0.9, seed=1),
    ],
    ids=["random", "top k", "top p"],
)
def test_random_samplers(build, monkeypatch):
    monkeypatch.setattr(tensorflow_functions, "CALLS_BEFORE_XLA", 1)
    generator = Generator(Table(), build())
    ids = generator(SOURCES, LIMITS, seed=3)
    check(ids, LIMITS)
    other = generator(SOURCES, LIMITS, seed=4)
    check(other, LIMITS)
    assert not np.array_equal(other, ids)
    assert np.array_equal(generator(SOURCES, LIMITS, seed=3), ids)
    assert generator(SOURCES, LIMITS, seed=-1).shape == ids.shape


def test_beams():
    ids = Generator(Table(), samplers.BeamSampler(num_beams=2))(SOURCES, LIMITS)
    check(ids, LIMITS)


@pytest.mark.slow
def test_contrastive_search_is_ours(model):
    generator = Generator(model, samplers.ContrastiveSampler(k=2, alpha=0.2))
    ids = generator(SOURCES, LIMITS)
    check(ids, LIMITS)
    ours = Generator(model, ContrastiveSampler(k=2, alpha=0.2))(SOURCES, LIMITS)
    assert np.array_equal(ids, ours)
    # Where the penalty counts for something.
    assert not np.array_equal(ids, Generator(model)(SOURCES, LIMITS))
    assert len({tuple(row) for row in ids.tolist()}) > 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [
        lambda: samplers.BeamSampler(num_beams=3),
        lambda: samplers.ContrastiveSampler(k=3, alpha=0.6),
    ],
)
def test_a_row_alone_is_as_among_others(model, build):
    generator = Generator(model, build())
    expected = generator(SOURCES[:2], 6)
    np.testing.assert_array_equal(generator(SOURCES[:1], 6), expected[:1])


def test_refuses_scores_and_several_sequences():
    generator = Generator(Table(), samplers.GreedySampler())
    with pytest.raises(ValueError, match="returns no scores; received return_scores"):
        generator(SOURCES, 5, return_scores=True)
    with pytest.raises(ValueError, match="one sequence.*num_return_sequences=2"):
        generator(SOURCES, 5, num_return_sequences=2)
    with pytest.raises(ValueError, match="Only a sampler that settles each token"):
        generator.stream(SOURCES, 5)


class Broken(Table):
    """A table with rows of one number for a source: nan, or -inf for all tokens."""

    def __init__(self, value, place):
        super().__init__()
        self.value, self.place = value, place

    def step(self, tokens, index, memory, cache):
        logits, cache = super().step(tokens, index, memory, cache)
        times = ops.shape(tokens)[0] // ops.shape(memory)[0]
        bad = ops.repeat(memory, times, axis=0) == sum(SOURCES[1])
        bad = ops.logical_and(bad, index == self.place)[:, None]
        return ops.where(bad, ops.cast(self.value, "float32"), logits), cache


every_sampler = pytest.mark.parametrize(
    "build",
    [
        lambda: samplers.GreedySampler(),
        lambda: samplers.TopPSampler(p=0.9, seed=1),
        lambda: samplers.BeamSampler(num_beams=2),
    ],
    ids=["greedy", "top p", "beams"],
)


@every_sampler
def test_logits_that_are_not_numbers_are_told(build):
    never_ends = [SuppressTokens([END])]
    generator = Generator(Broken(np.nan, 2), build(), processors=never_ends)
    with pytest.raises(FloatingPointError, match="1 of 4 rows, since step 2 of row 1"):
        generator(SOURCES[:4], 5)
    # After the last token of a row nothing of it counts.
    check(generator(SOURCES[:4], [5, 2, 5, 5]), [5, 2, 5, 5])


@every_sampler
def test_a_row_that_no_token_may_follow_ends(build):
    never_ends = [SuppressTokens([END])]
    generator = Generator(Broken(-np.inf, 2), build(), processors=never_ends)
    ids = generator(SOURCES[:4], 5)
    assert np.array_equal((ids != 0).sum(1), [5, 2, 5, 5])
    assert (ids[1, :2] != 0).all()


@pytest.mark.slow
def test_contrastive_search_tells_nan(model):
    weights = model.get_weights()
    model.set_weights([w * np.nan for w in weights])
    generator = Generator(model, samplers.ContrastiveSampler(k=2, alpha=0.6))
    with pytest.raises(FloatingPointError, match="for 1 of 1 rows, since step 0"):
        generator(SOURCES[:1], 2)
    model.set_weights(weights)


def test_the_start_may_be_an_end():
    generator = Generator(Table(), samplers.GreedySampler(), start_id=END)
    ids = generator(SOURCES, LIMITS)
    assert np.array_equal(ids, Generator(Table(), start_id=END)(SOURCES, LIMITS))
    assert ids.any(axis=1).all()


def test_of_all_beams_the_best_is_returned():
    best = samplers.BeamSampler(num_beams=2)
    every = samplers.BeamSampler(num_beams=2, return_all_beams=True)
    expected = Generator(Table(), best)(SOURCES, LIMITS)
    assert np.array_equal(Generator(Table(), every)(SOURCES, LIMITS), expected)


def test_is_saved_with_a_text_to_text(tmp_path):
    tokenizer, small = ByteTokenizer(), {"hidden_dim": 16, "intermediate_dim": 32}
    text_to_text = build(tokenizer, tokenizer, num_layers=1, **small)
    sampler = samplers.TopKSampler(k=3)
    text_to_text.with_sampler(sampler).save(tmp_path / "saved")
    loaded = TextToText.load(tmp_path / "saved").sampler.sampler
    assert type(loaded) is samplers.TopKSampler and loaded.k == 3
