"""Processors against repetition, against the plainest Python."""

import numpy as np
import pytest
from keras import ops

from keras_encdec.generation import (
    EncoderNoRepeatNGram,
    NoRepeatNGram,
    RepetitionPenalty,
    Step,
)

ROWS, LENGTH, VOCABULARY = 40, 12, 6


def run(processor, index, seed=0):
    """The rows, the sources, the logits before and those after."""
    rng = np.random.default_rng([seed, index])
    # Three tokens, so that everything comes again.
    ids = np.zeros((ROWS, LENGTH), "int32")
    ids[:, :index] = rng.integers(3, VOCABULARY, (ROWS, index))
    source = rng.integers(3, VOCABULARY, (ROWS, 9)).astype("int32")
    lengths = rng.integers(0, 10, ROWS)
    source[np.arange(9) >= lengths[:, None]] = 0
    logits = rng.normal(size=(ROWS, VOCABULARY)).astype("float32")
    step = Step(
        ops.convert_to_tensor(index, "int32"),
        ops.convert_to_tensor(source),
        ops.full((ROWS,), LENGTH, dtype="int32"),
        (2,),
        0,
    )
    result = processor(ops.convert_to_tensor(ids), ops.convert_to_tensor(logits), step)
    sources = [row[:n].tolist() for row, n in zip(source, lengths, strict=True)]
    return ids[:, :index].tolist(), sources, logits, ops.convert_to_numpy(result)


def grams(tokens, n):
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


@pytest.mark.parametrize("index", [0, 1, 2, 5, LENGTH - 1])
@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3])
def test_repetition_penalty(penalty, index):
    rows, _, logits, result = run(RepetitionPenalty(penalty), index)
    for tokens, before, after in zip(rows, logits, result, strict=True):
        for token in range(VOCABULARY):
            expected = before[token]
            if token in tokens:
                expected *= penalty if expected < 0 else 1 / penalty
            assert after[token] == pytest.approx(expected, rel=1e-6)


def test_repetition_penalty_keeps_what_is_forbidden():
    processor = RepetitionPenalty(1.5)
    step = Step(1, ops.ones((1, 1), "int32"), ops.ones((1,), "int32"), (2,), 0)
    logits = ops.convert_to_tensor([[-float("inf"), 0.0, 3.0, 3.0]])
    result = processor(ops.convert_to_tensor([[0, 2]], "int32"), logits, step)
    expected = [[-np.inf, 0.0, 3.0, 3.0]]
    np.testing.assert_array_equal(ops.convert_to_numpy(result), expected)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_no_repeated_n_gram(n):
    forbidden = 0
    for index in range(LENGTH):
        rows, _, logits, result = run(NoRepeatNGram(n), index)
        expected = logits.copy()
        for tokens, row in zip(rows, expected, strict=True):
            for token in range(VOCABULARY):
                added = tuple((tokens + [token])[-n:])
                if len(added) == n and added in grams(tokens, n):
                    row[token] = -np.inf
                    forbidden += 1
        np.testing.assert_array_equal(result, expected)
    assert forbidden > 20


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_no_n_gram_of_the_source(n):
    forbidden = 0
    for index in range(LENGTH):
        rows, sources, logits, result = run(EncoderNoRepeatNGram(n), index)
        expected = logits.copy()
        for tokens, source, row in zip(rows, sources, expected, strict=True):
            for token in range(VOCABULARY):
                added = tuple((tokens + [token])[-n:])
                if len(added) == n and added in grams(source, n):
                    row[token] = -np.inf
                    forbidden += 1
        np.testing.assert_array_equal(result, expected)
    assert forbidden > 20


@pytest.mark.parametrize("n", [14, 20])
@pytest.mark.parametrize("cls", [NoRepeatNGram, EncoderNoRepeatNGram])
def test_n_grams_longer_than_the_rows(cls, n):
    for index in (0, LENGTH - 1):
        _, _, logits, result = run(cls(n), index)
        np.testing.assert_array_equal(result, logits)


@pytest.mark.parametrize("penalty", [0, -1.0, float("inf"), float("nan")])
def test_refuses_penalties(penalty):
    with pytest.raises(ValueError, match="penalty must be above 0 and finite; recei"):
        RepetitionPenalty(penalty)


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "2", None])
@pytest.mark.parametrize("cls", [NoRepeatNGram, EncoderNoRepeatNGram])
def test_refuses_sizes(cls, n):
    with pytest.raises(ValueError, match="n must be a positive integer; received"):
        cls(n)
