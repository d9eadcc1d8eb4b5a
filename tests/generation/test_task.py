"""The constants of a loop, and what they make of logits."""

import numpy as np
import pytest
from keras import ops

from keras_encdec import BeamSampler, GreedySampler, RandomSampler
from keras_encdec.generation.task import as_tuple, make_task


class Model:
    def encode(self, source):
        return "memory"


def task(sampler, **options):
    source = ops.array([[5, 7, 2], [9, 2, 0]], "int32")
    limits, seeds = ops.array([4, 3], "int32"), ops.array([1, 2], "int32")
    return make_task(Model(), sampler, source, limits, seeds, max_length=4, **options)


def test_rows_of_a_source_stand_in_turn():
    beams = task(BeamSampler(3), prefix=ops.array([[5], [0]], "int32"))
    assert beams.rows_per_source == 3
    assert ops.convert_to_numpy(beams.limits).tolist() == [4, 4, 4, 3, 3, 3]
    assert ops.convert_to_numpy(beams.source)[3].tolist() == [9, 2, 0]
    assert ops.convert_to_numpy(beams.prefix)[:, 0].tolist() == [5, 5, 5, 0, 0, 0]
    assert beams.new_ids().shape == (6, 4)


def test_the_first_sample_is_the_only_one_s_and_no_two_are_alike():
    one = ops.convert_to_numpy(task(RandomSampler()).seeds)
    many = task(RandomSampler(), num_return_sequences=3)
    seeds = ops.convert_to_numpy(many.seeds).reshape(2, 3)
    assert np.array_equal(seeds[:, 0], one)
    assert len(np.unique(seeds)) == 6


def test_padding_is_never_picked():
    ids, logits = ops.zeros((2, 4), "int32"), ops.zeros((2, 5))
    processed = task(GreedySampler()).process(ids, logits, 0)
    processed = ops.convert_to_numpy(processed)
    assert np.isneginf(processed[:, 0]).all()
    assert np.isfinite(processed[:, 1:]).all()


def test_a_prefix_is_forced_and_then_no_more():
    prefix = ops.array([[3, 4], [1, 0]], "int32")
    made = task(GreedySampler(), prefix=prefix)
    ids, logits = ops.zeros((2, 4), "int32"), ops.zeros((2, 5))
    possible = [
        np.isfinite(ops.convert_to_numpy(made.process(ids, logits, i))).sum(1).tolist()
        for i in range(3)
    ]
    assert possible == [[1, 1], [1, 4], [4, 4]]


@pytest.mark.parametrize(
    ("end", "tokens"), [(2, [2]), ([2, 5], [2, 5]), (np.int64(3), [3])]
)
def test_end_ids(end, tokens):
    assert as_tuple(end) == tuple(tokens)
    made = task(GreedySampler(), end_id=end)
    ends = ops.convert_to_numpy(made.is_end(ops.arange(8, dtype="int32")))
    assert np.flatnonzero(ends).tolist() == tokens
