import json

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from keras_encdec.pretrained.checkpoint_files import open_checkpoint

pytestmark = pytest.mark.once

TENSORS = {
    "a": np.arange(6, dtype="float32").reshape(2, 3),
    "b": np.arange(3).astype(ml_dtypes.bfloat16),
}


def check(checkpoint):
    assert checkpoint.shapes == {"a": (2, 3), "b": (3,)}
    assert checkpoint.dtypes["b"] == ml_dtypes.bfloat16
    assert "a" in checkpoint and len(checkpoint) == 2
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(checkpoint[name], array)


def test_reads_safetensors_one_by_one(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    check(open_checkpoint(tmp_path))


def test_reads_shards_by_their_index(tmp_path):
    for name, array in TENSORS.items():
        save_file({name: array}, tmp_path / f"{name}.safetensors")
    index = {"weight_map": {name: f"{name}.safetensors" for name in TENSORS}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    check(open_checkpoint(tmp_path))
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="b.safetensors"):
        open_checkpoint(tmp_path)


def test_reads_what_torch_wrote(tmp_path):
    state = {"a": torch.arange(6.0).reshape(3, 2).reshape(2, 3)}
    state["b"] = torch.arange(3).to(torch.bfloat16)
    torch.save(state, tmp_path / "pytorch_model.bin")
    check(open_checkpoint(tmp_path))


def test_refuses_what_is_truncated_or_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="model.safetensors or"):
        open_checkpoint(tmp_path)
    save_file(TENSORS, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="truncated"):
        open_checkpoint(tmp_path)
