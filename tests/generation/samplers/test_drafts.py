"""Drafts are accepted row by row, or, of models with one index, by all rows alike."""

import numpy as np
import pytest

from keras_encdec import GreedySampler
from keras_encdec.generation.samplers.speculative import SpeculativeSampler


@pytest.mark.parametrize("by_row", [True, False])
def test_no_row_waits_for_an_unlucky_one(edits, counted, by_row):
    # The first draft of one is wrong early, of the other late.
    sources = [[7, 11, 13, 5, 17, 19, 23, 29, 31], [7, 5, 11, 13, 17, 19, 25, 23, 29]]
    model, sampler = edits(5), SpeculativeSampler(GreedySampler(), edits(0), 4)
    model.steps_by_row = by_row
    ids, steps = counted(model, sampler, sources)
    expected = [[98 - x if x % 5 == 0 else x for x in row] for row in sources]
    np.testing.assert_array_equal(ids, expected)
    alone = [counted(model, sampler, [row])[1] for row in sources]
    assert alone == [2, 3]
    assert steps == (max(alone) if by_row else 4)
