"""Rows in buckets: each in one, and by the split that saves most."""

import itertools

import numpy as np
import pytest

from keras_encdec.text.buckets import buckets_of

pytestmark = pytest.mark.once


def cells(lengths, buckets):
    """The ids of all buckets with their padding."""
    return sum(len(rows) * lengths[rows].max(axis=0).sum() for rows in buckets)


@pytest.mark.parametrize("num_shapes", [1, 3, 8])
def test_every_row_is_in_one_bucket(num_shapes):
    lengths = np.random.default_rng(0).integers(1, 30, (500, 2))
    buckets = buckets_of(lengths, 60, num_shapes)
    assert len(buckets) == num_shapes
    assert sorted(np.concatenate(buckets)) == [*range(500)]


def test_two_buckets_are_the_best_of_all_splits():
    lengths = np.random.default_rng(1).integers(1, 9, (40, 2))
    parted = []
    for side, least in itertools.product((0, 1), range(2, 9)):
        long = lengths[:, side] >= least
        parts = [np.flatnonzero(~long), np.flatnonzero(long)]
        if all(len(x) and len(x) * lengths[x].max() >= 16 for x in parts):
            parted.append(cells(lengths, parts))
    assert cells(lengths, buckets_of(lengths, 16, 2)) == min(parted)
