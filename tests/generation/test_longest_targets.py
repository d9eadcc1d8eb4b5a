"""What is known of the lengths of targets ends a search sooner, and changes nothing."""

import numpy as np
import pytest
from keras import ops

from keras_encdec import BeamSampler, Generator, GreedySampler
from keras_encdec.generation.longest_targets import longest_of_pairs, longest_targets


@pytest.mark.parametrize("factor, tokens", [(1.5, 10), (0.3, 0), (0.1, 2), (0.0, 7)])
def test_is_the_factor_of_tokens_and_some_more(factor, tokens):
    lengths = np.arange(1, 41)
    source = (np.arange(40) < lengths[:, None]).astype("int32") * 7
    found = longest_targets(ops.array(source), ops.full((40,), 30), (factor, tokens), 0)
    hundredths = round(factor * 100) * lengths + tokens * 100
    expected = np.minimum(hundredths // 100, 30)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), expected)


def test_of_features():
    source = np.zeros((2, 5, 3), "float32")
    source[0, :4, 1], source[1, :2, 2] = 1.0, -1.0
    found = longest_targets(ops.array(source), ops.full((2,), 30), (2.0, 1), 0)
    assert ops.convert_to_numpy(found).tolist() == [9, 5]


def test_all_pairs_keep_to_what_is_learned_of_them():
    lengths = np.random.default_rng(0).integers(1, 80, size=(500, 2))
    factor, tokens = longest = longest_of_pairs(lengths)
    assert (lengths[:, 1] <= factor * lengths[:, 0] + tokens + 1e-6).all()
    assert (lengths[:, 1] > (factor - 0.011) * lengths[:, 0] + tokens).any()
    assert longest_of_pairs(lengths, (factor + 1, 3)) == (factor + 1, tokens)
    assert longest_of_pairs(lengths, (0.0, 20)) == (factor, 20)
    assert longest_of_pairs(np.zeros((0, 2), "int64")) == (0.0, 10)
    assert longest_of_pairs(np.array([[0, 12]])) == (2.0, 10)
    assert longest_of_pairs(np.array([[9, 9]]), longest) == longest


class EndsEarlyOrNever:
    """A model whose rows most likely end at their fourth token, or go on for long."""

    def encode(self, source):
        return source

    def new_cache(self, batch_size, length):
        return ()

    def step(self, tokens, index, memory, cache):
        end, on = (
            ops.where(index == 3, 3.0, -3.0),
            0.2 * ops.cast(tokens % 7, "float32"),
        )
        ends = ops.cast(ops.arange(12) == 2, "float32") * end
        return on[:, None] * ops.cos(ops.arange(12, dtype="float32")) + ends, cache


def test_beams_end_in_fewer_steps_with_the_same_result(counted):
    call = EndsEarlyOrNever(), BeamSampler(3), [[5, 7, 9], [4, 4, 3]], [40, 40]
    expected, all_steps = counted(*call, end_id=2)
    lengths = (expected != 0).sum(axis=1).max()
    found, steps = counted(*call, end_id=2, longest_of=(0.0, int(lengths)))
    np.testing.assert_array_equal(found, expected)
    assert steps < all_steps


def test_nothing_is_cut(small_model):
    """Where targets are longer than it says, greedy ones are, and beams go on too."""
    sources, model = [[5, 7, 9, 11], [4, 8, 12, 3]], small_model()
    for sampler in (GreedySampler(), BeamSampler(1), BeamSampler(3, length_penalty=0)):
        ids = Generator(model, sampler, longest_targets=None)(sources, 12)
        found = Generator(model, sampler, longest_targets=(0.25, 0))(sources, 12)
        np.testing.assert_array_equal(found, ids)
        assert (ids != 0).sum() > 4


@pytest.mark.parametrize("longest", [(1.5,), (-1, 10), (float("nan"), 1), (0, 0), 1.5])
def test_what_is_no_such_pair_is_refused(small_model, longest):
    with pytest.raises(ValueError, match="longest_targets is a factor"):
        Generator(small_model(), longest_targets=longest)
