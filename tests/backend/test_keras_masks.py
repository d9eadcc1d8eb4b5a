import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import TokenEmbedding
from keras_encdec.backend import carried_mask, compile_function

IDS = np.array([[5, 3, 0], [4, 0, 0]], "int32")


@pytest.mark.parametrize("compiled", [False, True])
def test_is_what_a_layer_made(compiled):
    embed = TokenEmbedding(10, 4)
    embed.build((None, None))

    def mask_of(ids):
        return ops.cast(carried_mask(embed(ids)), "int32")

    if compiled:
        mask_of = compile_function(mask_of, None, embed.variables)
    found = mask_of(ops.convert_to_tensor(IDS))
    np.testing.assert_array_equal(ops.convert_to_numpy(found), IDS != 0)


def test_is_none_of_a_tensor_without_one():
    assert carried_mask(ops.ones((2, 3))) is None


def test_is_there_of_a_tensor_without_values():
    ids = keras.Input((3,), dtype="int32")
    mask = carried_mask(TokenEmbedding(10, 4)(ids))
    assert (mask.shape, mask.dtype) == ((None, 3), "bool")
    assert carried_mask(ids) is None
