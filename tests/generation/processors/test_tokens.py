"""Processors against the plainest Python, row by row and token by token."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import EncoderDecoder, Generator
from keras_encdec.generation import (
    BadWords,
    EncoderNoRepeatNGram,
    ForcedFirst,
    ForcedLast,
    MaximumLength,
    MinimumLength,
    NoRepeatNGram,
    Processor,
    RepetitionPenalty,
    Step,
    SuppressTokens,
)

VOCABULARY, LENGTH = 6, 7
SOURCES = [[5, 3, 4, 5, 3], [3, 0, 0, 0, 0], [4, 4, 4, 0, 0], [0, 0, 0, 0, 0]] * 5
LIMITS = [7, 3, 5, 1] * 5
ROWS = len(SOURCES)
ENDS = (2, 1)


def run(processor, index, seed=0):
    """The rows, the logits before and those after, as NumPy arrays."""
    rng = np.random.default_rng([seed, index])
    ids = np.zeros((ROWS, LENGTH), "int32")
    ids[:, :index] = rng.integers(3, VOCABULARY, (ROWS, index))
    logits = rng.normal(size=(ROWS, VOCABULARY)).astype("float32")
    # What an earlier processor may have forbidden.
    logits[rng.random(logits.shape) < 0.1] = -np.inf
    step = Step(
        ops.convert_to_tensor(index, "int32"),
        ops.convert_to_tensor(SOURCES, "int32"),
        ops.convert_to_tensor(LIMITS, "int32"),
        ENDS,
        0,
    )
    result = processor(ops.convert_to_tensor(ids), ops.convert_to_tensor(logits), step)
    return ids[:, :index].tolist(), logits, ops.convert_to_numpy(result)


def allow_only(row, token):
    row[:] = -np.inf
    row[token] = 0.0


def forbid(row, tokens):
    row[list(tokens)] = -np.inf


def others(tokens):
    return set(range(VOCABULARY)) - set(tokens)


def size(processor, source):
    tokens = sum(token != 0 for token in source)
    return processor.length + int(tokens * processor.ratio)


def minimum(processor, row, tokens, source, limit):
    if len(tokens) < size(processor, source):
        forbid(row, ENDS)


def maximum(processor, row, tokens, source, limit):
    if len(tokens) >= size(processor, source):
        forbid(row, others(ENDS))


def suppress(processor, row, tokens, source, limit):
    if processor.index is None or processor.index == len(tokens):
        forbid(row, processor.tokens)


def first(processor, row, tokens, source, limit):
    forced = np.atleast_1d(processor.token)
    if len(tokens) < len(forced):
        allow_only(row, forced[len(tokens)])


def last(processor, row, tokens, source, limit):
    if len(tokens) + 1 == limit:
        allow_only(row, ENDS[0] if processor.token is None else processor.token)


def bad_words(processor, row, tokens, source, limit):
    for *before, last in processor.sequences:
        if tokens[len(tokens) - len(before) :] == before and len(tokens) >= len(before):
            forbid(row, [last])


CASES = [
    (MinimumLength(1), minimum),
    (MinimumLength(3), minimum),
    (MinimumLength(ratio=0.5), minimum),
    (MinimumLength(2, ratio=0.7), minimum),
    (MaximumLength(2), maximum),
    (MaximumLength(ratio=1.0), maximum),
    (MaximumLength(1, ratio=0.5), maximum),
    (SuppressTokens([3]), suppress),
    (SuppressTokens([]), suppress),
    (SuppressTokens((4, 1), index=0), suppress),
    (SuppressTokens(np.array([4, 5]), index=3), suppress),
    (ForcedFirst(4), first),
    (ForcedFirst([4, 2, 5]), first),
    (ForcedLast(), last),
    (ForcedLast(5), last),
    (BadWords([[4]]), bad_words),
    (BadWords([[3, 4], [5, 5, 3], [2], [3, 3, 3, 3, 3, 3, 3, 3]]), bad_words),
    (BadWords([]), bad_words),
]


@pytest.mark.parametrize(
    ("processor", "rule"), CASES, ids=lambda x: getattr(x, "__name__", str(x)[:40])
)
def test_rules(processor, rule):
    for index in (0, 1, 2, 3, 4, LENGTH - 1):
        rows, logits, result = run(processor, index)
        expected = logits.copy()
        for i in range(ROWS):
            rule(processor, expected[i], rows[i], SOURCES[i], LIMITS[i])
        assert result.dtype == "float32"
        np.testing.assert_array_equal(result, expected)


def test_minimum_length_is_checked():
    limits, lengths = np.array([4, 5]), np.array([3, 9])
    MinimumLength(3).check(limits, lengths)
    MinimumLength(ratio=0.5).check(limits, lengths)
    with pytest.raises(ValueError, match="minimum of 4 and max_length=4 for row 0"):
        MinimumLength(4).check(limits, lengths)
    with pytest.raises(ValueError, match="minimum of 6 and max_length=5 for row 1"):
        MinimumLength(2, ratio=0.5).check(limits, lengths)


@pytest.mark.parametrize(
    "processor",
    [case[0] for case in CASES]
    + [RepetitionPenalty(1.3), NoRepeatNGram(2), EncoderNoRepeatNGram(3)],
    ids=lambda x: str(x)[:40],
)
def test_configs(processor):
    text = json.dumps(keras.saving.serialize_keras_object(processor))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is type(processor)
    assert again == processor
    assert hash(again) == hash(processor)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MinimumLength(), "length=0, ratio=0.0"),
        (lambda: MinimumLength(-1), "length must be 0 or more.*length=-1"),
        (lambda: MinimumLength(-1, ratio=2), "length must be 0 or more.*length=-1"),
        (lambda: MinimumLength(2.0), "length must be an integer; received 2.0"),
        (lambda: MinimumLength(True), "length must be an integer; received True"),
        (lambda: MaximumLength(1, ratio=-0.5), "ratio must be 0 or more.*-0.5"),
        (lambda: MaximumLength(1, float("inf")), "ratio must be 0 or more.*inf"),
        (lambda: MaximumLength(1, float("nan")), "ratio must be 0 or more.*nan"),
        (lambda: MaximumLength(), "length=0, ratio=0.0"),
        (lambda: SuppressTokens([-1]), r"tokens must be token ids.*\(-1,\)"),
        (lambda: SuppressTokens([1.5]), r"tokens must be token ids.*\(1.5,\)"),
        (lambda: SuppressTokens([True]), r"tokens must be token ids.*True"),
        (lambda: SuppressTokens("ab"), "tokens must be token ids.*'a', 'b'"),
        (lambda: ForcedFirst(-3), r"token must be token ids.*\[-3\]"),
        (lambda: ForcedFirst("a"), "token must be token ids.*'a'"),
        (lambda: ForcedFirst(None), "token must be token ids.*None"),
        (lambda: ForcedFirst([]), r"token must be an id, or several; received \[\]"),
        (lambda: ForcedLast(-3), r"token must be token ids.*\[-3\]"),
        (lambda: BadWords([[]]), r"sequences must not be empty.*\(\(\),\)"),
        (lambda: BadWords([[3], [-1]]), r"sequences must be token ids.*\(-1,\)"),
        (lambda: BadWords([["a"]]), r"sequences must be token ids.*'a'"),
    ],
)
def test_refuses_options(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "processor",
    [SuppressTokens([6]), ForcedFirst(6), ForcedLast(9), BadWords([[3, 6]])],
    ids=str,
)
def test_refuses_ids_above_the_vocabulary(processor):
    with pytest.raises(ValueError, match=r"must be from 0 to 5.*received \([69],\)"):
        run(processor, 0)


def test_a_processor_without_a_call():
    with pytest.raises(NotImplementedError, match="Processor must define __call__"):
        run(Processor(), 0)


def test_plain_functions_in_turn():
    model = EncoderDecoder(9, 4, 8, num_heads=2, num_layers=1)
    seen = []

    def five(ids, logits, step):
        seen.append((ids.shape[-1], step.end_ids, step.padding_id))
        return ops.where(ops.arange(9) == 5, 0.0, -float("inf")) + 0 * logits

    def next_one(ids, logits, step):
        logits = ops.where(logits == -float("inf"), -99.0, logits)
        return ops.roll(logits, 1, axis=-1)

    # Padding is already forbidden, and 0 * -inf is no number.
    def finite(ids, logits, step):
        return ops.maximum(logits, -99.0)

    generator = Generator(model, processors=[finite, five, next_one])
    assert generator([[3, 2]], 3).tolist() == [[6, 6, 6]]
    assert seen[0] == (8, (2,), 0)  # Rows of a few lengths.
    generator = Generator(model, processors=[MinimumLength(3)])
    with pytest.raises(ValueError, match="minimum of 3 and max_length=3 for row 1"):
        generator([[3, 2], [2]], [4, 3])


@pytest.mark.parametrize("processor", [NoRepeatNGram, 5, "bad words", None])
def test_refuses_what_is_no_processor(processor):
    model = EncoderDecoder(9, 4, 8, num_heads=2, num_layers=1)
    with pytest.raises(TypeError, match="processors must be functions.*received"):
        Generator(model, processors=[processor])
