import numpy as np
import pytest

from keras_encdec.pretrained.stored_tensors import StoredTensor

pytestmark = pytest.mark.once


def test_reads_its_place_in_a_file(tmp_path):
    numbers = np.arange(20, dtype="<f4")
    path = tmp_path / "numbers"
    path.write_bytes(numbers.tobytes())
    tensor = StoredTensor(path, np.dtype("<f4"), (2, 3), 8)
    np.testing.assert_array_equal(tensor.read(), numbers[2:8].reshape(2, 3))
    turned = StoredTensor(path, np.dtype("<f4"), (3, 2), 8, (1, 3))
    np.testing.assert_array_equal(turned.read(), tensor.read().T)
    path.write_bytes(numbers.tobytes()[:20])
    with pytest.raises(ValueError, match="became shorter"):
        tensor.read()
