"""A call is what its programs are made for, and what goes into them."""

import numpy as np
import pytest

from keras_encdec import BeamSampler, EncoderDecoder, Generator
from keras_encdec.generation.inputs.calls import inputs_of_call

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def generator():
    model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
    return Generator(model, BeamSampler(2))


def test_arrays_have_a_row_for_each_source(generator):
    given = inputs_of_call(
        *(generator, [[5, 7, 2], [9, 2]], [3, 5], 7, 2, [[4], []]),
        positions=None,
        return_scores=True,
    )
    assert given.arrays["source"].tolist() == [[5, 7, 2], [9, 2, 0]]
    assert given.arrays["limits"].tolist() == [3, 5] and given.longest == 5
    assert given.arrays["prefix"][:, 0].tolist() == [4, 0]
    assert len(np.unique(given.arrays["seeds"])) == 2
    # One program serves all lengths up to 8.
    assert given.options == {
        "max_length": 8,
        "num_return_sequences": 2,
        "return_scores": True,
    }


def test_lengths_are_those_of_the_positions(generator):
    given = inputs_of_call(generator, [[5, 2]], 6, 0, 1, positions=6)
    assert given.options["max_length"] == given.longest == 6
    with pytest.raises(ValueError, match="max_length=5; received 6"):
        inputs_of_call(generator, [[5, 2]], 6, 0, 1, positions=5)
    with pytest.raises(ValueError, match="num_return_sequences"):
        inputs_of_call(generator, [[5, 2]], 6, 0, 3, positions=None)
