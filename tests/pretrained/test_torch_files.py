import os

import numpy as np
import pytest
import torch

from keras_encdec.pretrained.torch_files import tensors_of_torch_file

pytestmark = pytest.mark.once


class Harm:
    def __reduce__(self):
        return os.system, ("false",)


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_views_of_a_storage(zipped, tmp_path):
    table = torch.arange(12.0).reshape(3, 4)
    state = {
        "table": table,
        "turned": table.T,
        "part": table[1:, 2],
        "half": table.half(),
    }
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    tensors = tensors_of_torch_file(path)
    for name, tensor in state.items():
        np.testing.assert_array_equal(tensors[name].read(), tensor.numpy())


@pytest.mark.parametrize("zipped", [True, False])
def test_refuses_what_names_anything_but_tensors(zipped, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    state = {"harm": Harm(), "table": torch.ones(2)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="system"):
        tensors_of_torch_file(path)
