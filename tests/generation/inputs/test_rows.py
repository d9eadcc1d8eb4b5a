"""What a call is given: padded as it should be, or refused with a reason."""

import warnings

import numpy as np
import pytest
from keras import ops

from keras_encdec.generation.inputs.rows import (
    MOST_TOKENS,
    bucketed_length,
    pad_phrases,
    pad_prefixes,
    pad_rows,
    pad_to_few_sizes,
    require_room,
    row_limits,
    seeds_of_rows,
)
from keras_encdec.generation.random_numbers import row_seeds

LIMITS = np.array([4, 3])


def test_rows():
    rows = pad_rows("source", [[5, 7], [], [9]], 8)
    assert rows.tolist() == [[5, 7], [8, 8], [9, 8]]
    assert pad_rows("source", [], 0).shape == (0, 0)
    array = np.array([[5, 7], [9, 0]])
    assert pad_rows("source", array, 0).tolist() == array.tolist()
    with pytest.raises(ValueError, match=r"target must be a list of rows.*\[5, 7\]"):
        pad_rows("target", [5, 7], 0)


def test_limits_and_seeds():
    assert row_limits(4, 3).tolist() == [4, 4, 4]
    assert row_limits([4, 1, 2], 3).tolist() == [4, 1, 2]
    assert row_limits(4, 3).dtype == "int32"
    assert row_limits(MOST_TOKENS, 2).tolist() == [MOST_TOKENS] * 2
    # In int32 the last one would be 4.
    for length in (MOST_TOKENS + 1, 10**9, [4, 2**32 + 4]):
        with pytest.raises(ValueError, match="max_length must not be above 65536"):
            row_limits(length, 2)
    assert len(set(seeds_of_rows(4, 3).tolist())) == 3
    assert seeds_of_rows(4, 5)[:3].tolist() == seeds_of_rows(4, 3).tolist()
    for seed in (4, -1, 2**31 - 1):
        expected = ops.convert_to_numpy(row_seeds(seed, 70)).tolist()
        assert seeds_of_rows(seed, 70).tolist() == expected
    assert seeds_of_rows([4, -1, 2], 3).tolist() == [4, -1, 2]
    assert seeds_of_rows([4, -1, 2], 3).dtype == "int32"


@pytest.mark.parametrize("padding", [0, 6])
def test_prefixes(padding):
    padded = pad_prefixes([[5, 7, 9], []], LIMITS, (2,), padding)
    assert padded.dtype == "int32"
    # Of a few widths, and never empty.
    assert padded.shape == (2, 8)
    assert padded[0].tolist() == [5, 7, 9] + [padding] * 5
    assert padded[1].tolist() == [padding] * 8
    wide = pad_prefixes([[5] * 9], [9], (2,), padding)
    assert wide.shape == (1, 16)
    given = np.array([[5, padding], [7, 9]])
    assert pad_prefixes(given, LIMITS, (2,), padding)[:, :2].tolist() == given.tolist()
    assert pad_prefixes([[], []], LIMITS, (2,), padding).shape == (2, 8)
    # As long as the row may be.
    assert pad_prefixes([[5] * 4, [5] * 3], LIMITS, (2,), padding).shape == (2, 8)


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ([[5]], "prefix must have a row for each row.*received 1 for 2"),
        ([[5], [6], [7]], "prefix must have a row for each row.*received 3 for 2"),
        ([[5], [7, 2]], r"neither an end id nor padding.*\[7, 2\] for row 1"),
        ([[3, 5], []], r"neither an end id nor padding.*\[3, 5\] for row 0"),
        ([[5, 0, 7], []], r"neither an end id nor padding.*\[5, 0, 7\] for row 0"),
        ([[0, 7], []], r"neither an end id nor padding.*\[0, 7\] for row 0"),
        ([[5] * 4, [5] * 4], "4 tokens with max_length=3 for row 1"),
        ([[5], [10]], "prefix ids must be from 0 to 9; received ids from 5 to 10"),
        ([[-1], [5]], "prefix ids must be from 0 to 9; received ids from -1 to 5"),
        ([[2**40], [5]], "prefix ids must be from 0 to 9.*1099511627776"),
        ([5, 6], r"prefix must be a list of rows of ids.*\[5, 6\]"),
        ([[5.0], [6.0]], "prefix must be integer token ids.*float64"),
        (np.array([5, 6]), r"prefix must be 2D integer ids.*shape \(2,\)"),
    ],
)
def test_refuses_prefixes(prefix, message):
    with pytest.raises(ValueError, match=message):
        pad_prefixes(prefix, LIMITS, (2, 3), 0, vocabulary_size=10)


def test_phrases():
    phrases = [[[5, 7], [[8], [6, 6, 6]]], []]
    padded = pad_phrases(phrases, [4, 1], (2,), 0)
    assert padded.dtype == "int32"
    assert padded.tolist() == [
        [[[5, 7, -1], [-1, -1, -1]], [[8, -1, -1], [6, 6, 6]]],
        [[[-1, -1, -1], [-1, -1, -1]], [[-1, -1, -1], [-1, -1, -1]]],
    ]
    assert pad_phrases([[], []], [4, 1], (2,), 0).shape == (2, 1, 1, 1)
    assert pad_phrases([], np.zeros(0, "int32"), (2,), 0).shape == (0, 1, 1, 1)


def test_phrases_of_numpy_integers():
    phrases = [[np.array([5, 7]), [np.array([8]), np.array([9])]]]
    padded = pad_phrases(phrases, [4], (2,), 0)
    assert padded.tolist() == [[[[5, 7], [-1, -1]], [[8, -1], [9, -1]]]]


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ([[]], "phrases must have a list for each row.*received 1 for 2"),
        ([[], [], []], "phrases must have a list for each row.*received 3 for 2"),
        ([[[5, 2]], []], r"A phrase must be a list of token ids.*\[5, 2\] for row 0"),
        ([[], [[3]]], r"A phrase must be a list of token ids.*\[3\] for row 1"),
        ([[], [[0]]], r"A phrase must be a list of token ids.*\[0\] for row 1"),
        ([[], [[-1]]], r"A phrase must be a list of token ids.*\[-1\] for row 1"),
        ([[], [[10]]], r"A phrase must be a list of token ids.*\[10\] for row 1"),
        ([[], [[5.0]]], r"A phrase must be a list of token ids.*\[5.0\] for row 1"),
        ([[], [["a"]]], r"A phrase must be a list of token ids.*\['a'\] for row 1"),
        ([[], [[[5], []]]], r"A phrase must be a list of token ids.*\[\] for row 1"),
        ([[[5, 6], [7, 8]], []], "4 tokens and the end with max_length=4 for row 0"),
        ([[], [[[5, 6, 7], [7, 8, 9]]]], "3 tokens and the end.*=3 for row 1"),
    ],
)
def test_refuses_phrases(phrases, message):
    with pytest.raises(ValueError, match=message):
        pad_phrases(phrases, LIMITS, (2, 3), 0, vocabulary_size=10)


@pytest.mark.parametrize(
    "phrases", [[[[]], []], [[5, 6], []], [5, 6]], ids=["empty", "flat", "flatter"]
)
def test_refuses_phrases_of_another_depth(phrases):
    with pytest.raises(ValueError, match="phrase"):
        pad_phrases(phrases, LIMITS, (2, 3), 0, vocabulary_size=10)


def test_few_sizes():
    for rows, width in ((1, 1), (3, 5), (9, 17), (33, 40)):
        arrays = {
            "source": np.full((rows, width), 5, "int32"),
            "limits": np.full((rows,), 4, "int32"),
            "seeds": np.full((rows,), 9, "int32"),
            "phrases": np.full((rows, 1, 1, 3), 7, "int32"),
        }
        padded = pad_to_few_sizes(arrays, 6)
        size = {1: 1, 3: 4, 9: 16, 33: 64}[rows]
        assert padded["source"].shape == (size, {1: 8, 5: 8, 17: 32, 40: 64}[width])
        assert padded["phrases"].shape == (size, 1, 1, 3)
        for name, fill in (("source", 6), ("limits", 0), ("seeds", 0), ("phrases", -1)):
            inside = tuple(map(slice, arrays[name].shape))
            assert np.array_equal(padded[name][inside], arrays[name])
            outside = np.ones(padded[name].shape, bool)
            outside[inside] = False
            assert (padded[name][outside] == fill).all()
    # Not beyond the positions of the model.
    source = {"source": np.full((1, 9), 5, "int32")}
    padded = pad_to_few_sizes(source, 0, max_source_length=10, max_length=9)
    assert padded["source"].shape == (1, 10)


def test_phrases_need_room_after_a_prefix():
    limits = np.array([4, 4])
    phrases = pad_phrases([[[5, 6, 7]], []], limits, (2,), 0)
    # What the prefix has of a phrase already is no longer needed.
    for good in ([[5], [9, 9, 9]], [[], []]):
        require_room(pad_prefixes(good, limits, (2,), 0), phrases, limits, 0)
    prefix = pad_prefixes([[9, 5], []], limits, (2,), 0)
    with pytest.raises(ValueError, match="received 2 tokens, 2 and the end with max_l"):
        require_room(prefix, phrases, limits, 0)


@pytest.mark.parametrize("kind", ["ragged", "nested", "tensors", "objects", "arrays"])
def test_rows_of_any_lengths_from_any_library(kind):
    lists = [[5, 7, 2], [9, 2], []]
    if kind == "ragged":
        tf = pytest.importorskip("tensorflow")
        rows = tf.ragged.constant(lists, dtype=tf.int32)
    elif kind == "nested":
        torch = pytest.importorskip("torch")
        tensors = [torch.tensor(row, dtype=torch.int64) for row in lists]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It is a prototype.
            rows = torch.nested.nested_tensor(tensors)
    elif kind == "tensors":
        rows = [ops.convert_to_tensor(row, "int32") for row in lists]
    elif kind == "objects":
        rows = np.array(lists, dtype=object)
    else:
        rows = [np.array(row, "int32") for row in lists]
    found = pad_rows("source", rows, 0)
    assert found.tolist() == [[5, 7, 2], [9, 2, 0], [0, 0, 0]]


def test_ragged_rows_are_checked_too():
    tf = pytest.importorskip("tensorflow")
    for rows in (
        tf.ragged.constant([[1.5], [2.5, 3.5]]),
        tf.ragged.constant([[[1], [2, 3]], [[4]]]),
        [[[1], [2, 3]], [[4]]],
        np.array([1, [2]], dtype=object),
    ):
        with pytest.raises(ValueError, match="source must be"):
            pad_rows("source", rows, 0)


def test_lengths_are_few():
    lengths = [bucketed_length(length) for length in range(1, 513)]
    assert all(few >= length for length, few in enumerate(lengths, start=1))
    assert lengths == sorted(lengths) and len(set(lengths)) == 18
