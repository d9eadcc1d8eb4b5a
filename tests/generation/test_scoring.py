"""Scores and attention of given pairs against full passes of the model."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import Generator
from keras_encdec.generation import align, score

SOURCES = [[5, 7, 2], [9, 2], [3, 4, 5, 16, 17, 18, 2], [2]]
TARGETS = [[6, 8, 9, 2], [2], [11, 3, 12, 14, 19], [4, 4]]
HEADS, HEAD_DIM = 2, 8


@pytest.fixture(scope="module")
def model(small_model):
    return small_model()


@pytest.fixture(scope="module")
def generator(model):
    return Generator(model)


def padded(rows):
    array = np.zeros((len(rows), max(map(len, rows))), "int32")
    for out, row in zip(array, rows, strict=True):
        out[: len(row)] = row
    return array


def shifted(target):
    return np.insert(target, 0, 1, axis=1)[:, :-1]


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_scores_are_those_of_a_full_pass(model, generator):
    source, target = padded(SOURCES), padded(TARGETS)
    logits = model.predict_on_batch((source, shifted(target))).astype("float64")
    logits[..., 0] = -np.inf
    expected = np.take_along_axis(log_softmax(logits), target[..., None], -1)[..., 0]
    expected = np.where(target != 0, expected, 0.0)
    sums, tokens = generator.score(SOURCES, TARGETS)
    assert sums.shape == (4,)
    assert tokens.shape == target.shape
    assert sums.dtype == tokens.dtype == "float32"
    np.testing.assert_allclose(tokens, expected, atol=1e-4)
    np.testing.assert_allclose(sums, expected.sum(1), atol=1e-4)
    assert (tokens[target == 0] == 0).all()
    again = generator.score(source, np.pad(target, ((0, 0), (0, 2))))[1]
    np.testing.assert_allclose(again[:, :-2], tokens, atol=1e-5)


def test_temperatures_divide_the_logits(model, generator):
    source, target = padded(SOURCES), padded(TARGETS)
    logits = model.predict_on_batch((source, shifted(target))).astype("float64")
    logits[..., 0] = -np.inf
    sums, tokens = generator.score(SOURCES, TARGETS, temperature=(0.5, 1.0, 3.0))
    assert tokens.shape == (*target.shape, 3) and sums.shape == (4, 3)
    for place, temperature in enumerate((0.5, 1.0, 3.0)):
        all_scores = log_softmax(logits / temperature)
        expected = np.take_along_axis(all_scores, target[..., None], -1)[..., 0]
        expected = np.where(target != 0, expected, 0.0)
        np.testing.assert_allclose(tokens[..., place], expected, atol=1e-4)
    np.testing.assert_allclose(sums, tokens.sum(1), atol=1e-5)
    assert generator.score([], [], temperature=(1.0, 2.0))[1].shape == (0, 0, 2)
    with pytest.raises(ValueError, match="above 0 and finite; received temp"):
        generator.score(SOURCES, TARGETS, temperature=0.0)


def test_scores_are_those_of_the_generation(generator):
    found = generator(SOURCES, [6, 3, 8, 8], return_scores=True)
    sums, tokens = generator.score(SOURCES, found.ids)
    np.testing.assert_allclose(tokens, found.token_scores, atol=1e-4)
    np.testing.assert_allclose(sums, found.scores, atol=1e-4)


def test_other_special_ids(model):
    source, target = ops.convert_to_tensor([[5, 7]]), ops.convert_to_tensor([[9, 0]])
    tokens = score(model, source, target, start_id=4, padding_id=7)
    logits = model.predict_on_batch((np.array([[5, 7]]), np.array([[4, 9]])))
    logits = logits.astype("float64")
    logits[..., 7] = -np.inf
    expected = log_softmax(logits)[0, [0, 1], [9, 0]]
    np.testing.assert_allclose(ops.convert_to_numpy(tokens)[0], expected, atol=1e-4)


def attention_in_numpy(monkeypatch, model, source, target):
    """The attention to the source, of the queries and keys of a full pass."""
    attention = model.decoder_blocks[0].cross_attention
    recorded = {}
    original = keras.layers.Dense.__call__

    def record(self, x, *args, **kwargs):
        result = original(self, x, *args, **kwargs)
        for name in ("query_dense", "key_dense"):
            if self is getattr(attention, name):
                recorded[name] = ops.convert_to_numpy(ops.stop_gradient(result))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(keras.layers.Dense, "__call__", record)
        model((ops.convert_to_tensor(source), ops.convert_to_tensor(shifted(target))))
    queries, keys = (
        recorded[name].reshape(len(source), -1, HEADS, HEAD_DIM)
        for name in ("query_dense", "key_dense")
    )
    scores = np.einsum("btnh,bsnh->btns", queries, keys) / np.sqrt(HEAD_DIM)
    scores = np.where((source != 0)[:, None, None], scores, -np.inf)
    return np.exp(log_softmax(scores))


@pytest.mark.slow
def test_attention_is_that_of_a_full_pass(monkeypatch, model, generator):
    source, target = padded(SOURCES), padded(TARGETS)
    weights = attention_in_numpy(monkeypatch, model, source, target)
    tokens = (target != 0)[..., None]
    found = generator.align(SOURCES, TARGETS)
    assert found.shape == (4, 5, 7)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, weights.mean(2) * tokens, atol=1e-4)
    # Each row sums to 1, over the source without its padding.
    np.testing.assert_allclose(found.sum(-1), tokens[..., 0], atol=1e-5)
    assert (found[np.broadcast_to((source == 0)[:, None], found.shape)] == 0).all()
    first = align(
        model, ops.convert_to_tensor(source), ops.convert_to_tensor(target), heads=1
    )
    expected = weights[:, :, 0] * tokens
    np.testing.assert_allclose(ops.convert_to_numpy(first), expected, atol=1e-4)


def test_layers_differ(small_model):
    model = small_model(num_decoder_layers=2)
    source, target = map(ops.convert_to_tensor, (padded(SOURCES), padded(TARGETS)))
    found = [
        ops.convert_to_numpy(align(model, source, target, layer=layer))
        for layer in (0, 1, -1)
    ]
    assert np.array_equal(found[1], found[2])
    assert not np.allclose(found[0], found[1], atol=1e-2)


def test_nothing_to_score(generator):
    cases = [
        ([], [], (0, 0), (0, 0, 0)),
        (np.zeros((0, 3), int), np.zeros((0, 2), int), (0, 2), (0, 2, 3)),
        ([[5, 2]], [[]], (1, 0), (1, 0, 2)),
        ([[5, 2], [6]], [[], []], (2, 0), (2, 0, 2)),
    ]
    for source, target, scores, weights in cases:
        sums, tokens = generator.score(source, target)
        assert sums.shape == scores[:1]
        assert tokens.shape == scores
        assert sums.dtype == tokens.dtype == "float32"
        assert generator.align(source, target).shape == weights


def test_an_empty_source_is_scored_as_in_generation(generator):
    found = generator([[], []], 3, return_scores=True)
    sums, tokens = generator.score([[], []], found.ids)
    assert (found.scores < 0).all()
    np.testing.assert_allclose(tokens, found.token_scores, atol=1e-4)
    np.testing.assert_allclose(sums, found.scores, atol=1e-4)


@pytest.mark.parametrize("heads", [0, -1, 1.5])
def test_heads_are_at_least_one(generator, heads):
    with pytest.raises(ValueError, match="heads must be a positive integer"):
        generator.align(SOURCES, TARGETS, heads=heads)


@pytest.mark.parametrize("name", ["score", "align"])
@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ([[5, 2]], [[6], [7]], "a row each for every pair; received 1 and 2"),
        ([], [[6]], "a row each for every pair; received 0 and 1"),
        ([5, 2], [[6]], r"source must be a list of rows.*\[5, 2\]"),
        ([[5, 2]], [[6.0]], "target must be integer token ids.*float64"),
        ([[5, 20]], [[6]], "source ids must be from 0 to 19.*20"),
        ([[5, 2]], [[-1]], "target ids must be from 0 to 19.*-1"),
    ],
)
def test_refuses_pairs(generator, name, source, target, message):
    with pytest.raises(ValueError, match=message):
        getattr(generator, name)(source, target)
