import dataclasses

import numpy as np
import pytest
from keras import ops

from keras_encdec import BeamSampler, GreedySampler, TopKSampler
from keras_encdec.generation import row_seeds
from keras_encdec.generation.loop import run_loop, run_segment
from keras_encdec.generation.task import make_task

SOURCE = np.array([[5, 7, 2, 0], [9, 3, 4, 2]], "int32")


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [GreedySampler(), TopKSampler(5), BeamSampler(3)])
def test_segments_of_any_length_give_what_one_gives(small_model, sampler):
    arrays = (ops.convert_to_tensor(x) for x in (SOURCE, np.array([7, 7], "int32")))
    task = make_task(small_model(), sampler, *arrays, row_seeds(3, 2), max_length=7)
    expected = run_loop(sampler, task)
    task = dataclasses.replace(task, cache_length=2)
    state = run_segment(sampler, task, sampler.start(task), 2)
    assert int(state.index) == 2
    for length in (3, 7):
        state = run_segment(sampler, task, sampler.grow(task, state, length), length)
    found = sampler.finish(task, state)
    ids = (ops.convert_to_numpy(x.ids) for x in (found, expected))
    np.testing.assert_array_equal(*ids)
