"""A process that is alone; those of several are PyTorch's own tests'."""

import keras
import numpy as np
import pytest
from keras import Variable

from keras_encdec import backend


def test_a_process_alone_is_the_first_and_asks_nobody():
    assert (backend.process_count(), backend.process_index()) == (1, 0)
    assert backend.from_first(lambda: "mine") == "mine"
    assert backend.in_first_alone(lambda x: x)("written") == "written"
    assert backend.any_process(True, False) == [True, False]
    assert backend.gathered("mine") == ["mine"]
    variable = Variable([1.0])
    backend.share_variables([variable])
    assert np.array(variable).tolist() == [1.0]
    state = backend.random_state()
    backend.part_random_numbers(keras.Sequential())
    for name, value in backend.random_state().items():
        np.testing.assert_array_equal(value, state[name])
    with pytest.raises(OSError, match="full"):
        backend.from_first(_fail)


def _fail():
    raise OSError("full")
