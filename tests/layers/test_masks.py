import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.layers import (
    attend_to,
    combine_masks,
    look_ahead_mask,
    padding_mask,
    step_mask,
)
from keras_encdec.layers.masks import tokens_mask

IDS = np.array([[5, 7, 0, 0], [3, 0, 9, 1], [0, 0, 0, 0]], "int32")


def to_numpy(mask):
    assert keras.backend.standardize_dtype(mask.dtype) == "bool"
    return ops.convert_to_numpy(mask)


@pytest.mark.parametrize("padding_id", [0, 7])
def test_padding_is_not_attended_to(padding_id):
    mask = to_numpy(padding_mask(IDS, padding_id))
    assert mask.shape == (3, 1, 1, 4)
    for row, column in np.ndindex(IDS.shape):
        assert mask[row, 0, 0, column] == (IDS[row, column] != padding_id)


def test_padding_mask_works_on_symbolic_ids():
    ids = keras.Input((None,), dtype="int32")
    mask = padding_mask(ids)
    assert mask.shape == (None, 1, 1, None)
    predicted = keras.Model(ids, mask).predict(IDS, verbose=0)
    np.testing.assert_array_equal(predicted, to_numpy(padding_mask(IDS)))


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
def test_attend_to_reshapes_a_keras_mask(dtype):
    mask = to_numpy(attend_to((IDS != 0).astype(dtype)))
    np.testing.assert_array_equal(mask, (IDS != 0)[:, None, None, :])


@pytest.mark.parametrize("length", [1, 2, 5])
def test_look_ahead_attends_to_the_past_and_itself(length):
    mask = to_numpy(look_ahead_mask(length))
    assert mask.shape == (1, 1, length, length)
    for query, key in np.ndindex(length, length):
        assert mask[0, 0, query, key] == (key <= query)


def test_step_masks_are_the_rows_of_the_look_ahead_mask():
    rows = [to_numpy(step_mask(i, 5)) for i in range(5)]
    assert rows[0].shape == (1, 1, 1, 5)
    np.testing.assert_array_equal(
        np.concatenate(rows, axis=2), to_numpy(look_ahead_mask(5))
    )


def test_step_mask_takes_a_tensor():
    index = ops.convert_to_tensor(2, "int32")
    np.testing.assert_array_equal(
        to_numpy(step_mask(index, 5)), to_numpy(step_mask(2, 5))
    )


def test_combined_mask_is_padding_and_look_ahead():
    mask = to_numpy(combine_masks(padding_mask(IDS), look_ahead_mask(4)))
    assert mask.shape == (3, 1, 4, 4)
    for row, query, key in np.ndindex(3, 4, 4):
        assert mask[row, 0, query, key] == (IDS[row, key] != 0 and key <= query)


def test_combined_mask_broadcasts_over_heads():
    scores = np.random.default_rng(0).normal(size=(3, 2, 4, 4))
    mask = combine_masks(padding_mask(IDS), look_ahead_mask(4))
    masked = ops.convert_to_numpy(ops.where(mask, ops.convert_to_tensor(scores), -9.0))
    allowed = np.tril((IDS != 0)[:, None, None, :] * np.ones((3, 2, 4, 4), bool))
    np.testing.assert_allclose(masked, np.where(allowed, scores, -9.0), rtol=1e-6)


def test_combination_leaves_out_none():
    mask = padding_mask(IDS)
    assert combine_masks() is None
    assert combine_masks(None, None) is None
    np.testing.assert_array_equal(
        to_numpy(combine_masks(None, mask, None)), to_numpy(mask)
    )


def test_only_masks_of_tokens_are_carried_on():
    tokens = IDS != 0
    assert tokens_mask(tokens) is tokens
    assert tokens_mask(None) is None
    assert tokens_mask(look_ahead_mask(4)) is None
