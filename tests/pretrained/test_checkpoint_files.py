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


def header(path, told, data=b""):
    text = json.dumps(told).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize(
    "told",
    [
        {"dtype": "F5", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        {"shape": [2], "data_offsets": [0, 8]},
        [1, 2],
    ],
)
def test_refuses_a_wrong_header(told, tmp_path):
    header(tmp_path / "model.safetensors", {"a": told}, bytes(8))
    with pytest.raises(ValueError, match="must be a file of safetensors"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("data", [b"", b"1234567", b"\xff" * 16, bytes(8) + b"[]"])
def test_refuses_what_has_no_header(data, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="must be a file of safetensors"):
        open_checkpoint(tmp_path)


def test_tells_of_pointers_and_of_other_formats(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    for name in ("model.safetensors", "pytorch_model.bin"):
        (tmp_path / name).write_bytes(pointer)
        with pytest.raises(ValueError, match="git lfs pull"):
            open_checkpoint(tmp_path)
        (tmp_path / name).unlink()
    (tmp_path / "tf_model.h5").touch()
    with pytest.raises(FileNotFoundError, match="holds tf_model.h5. .* from_tf"):
        open_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match="which is not there"):
        open_checkpoint(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({}, "weight_map"),
        ({"weight_map": ["a"]}, "weight_map"),
        ({"weight_map": {"a": 1}}, "weight_map"),
        ({"weight_map": {"a": "../a.safetensors"}}, "lie beside"),
        ({"weight_map": {"a": "a.safetensors", "c": "a.safetensors"}}, "holds c"),
    ],
)
def test_refuses_a_wrong_index(index, words, tmp_path):
    save_file({"a": TENSORS["a"]}, tmp_path / "a.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=words):
        open_checkpoint(tmp_path)


def test_refuses_an_index_that_is_too_deep(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="weight_map"):
        open_checkpoint(tmp_path)
