"""What the verbs of a Keras model are given, as arrays."""

import keras
import numpy as np
import pytest

from keras_encdec.keras_model import as_array

SOURCE = np.array([[5, 7, 2], [9, 2, 0]])


@pytest.mark.once
def test_as_array_takes_what_has_values():
    assert as_array(None) is None
    assert as_array(keras.KerasTensor((2, 3))) is None
    assert as_array(iter([1])) is None
    for x in (SOURCE, SOURCE.tolist(), keras.ops.convert_to_tensor(SOURCE)):
        np.testing.assert_array_equal(as_array(x), SOURCE)
