import numpy as np
import pytest
from keras import ops

from keras_encdec.generation import CombinedSampler

pytestmark = pytest.mark.once


def test_reaches_each_limit_among_what_the_last_one_left():
    logits = ops.log(ops.convert_to_tensor([[0.4, 0.3, 0.2, 0.1]]))
    # Of the best two the first has 4/7.
    for p, kept in ((0.5, [0]), (0.6, [0, 1])):
        left = CombinedSampler(k=2, p=p).truncate(logits)
        found = np.flatnonzero(np.isfinite(ops.convert_to_numpy(left)[0]))
        assert found.tolist() == kept
    left = ops.convert_to_numpy(CombinedSampler().truncate(logits))
    assert np.isfinite(left).all()


def test_refuses_what_its_parts_do():
    with pytest.raises(ValueError, match="k must be"):
        CombinedSampler(k=0)
