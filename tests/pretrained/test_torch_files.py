import builtins
import collections
import io
import os
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch

from keras_encdec.pretrained.torch_files import tensors_of_torch_file

pytestmark = pytest.mark.once


class Harm:
    """Is pickled as a call of a function."""

    def __init__(self, function=os.system, *args):
        self.call = function, args or ("false",)

    def __reduce__(self):
        return self.call


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
def test_reads_what_state_dicts_hold(zipped, tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    state = module.to(torch.bfloat16).state_dict()
    state["parameter"] = torch.nn.Parameter(torch.randn(2, 2))
    state["empty"], state["scalar"] = torch.ones(0, 3), torch.tensor(2.5)
    state["wide"] = torch.arange(3).expand(2, 3)
    state["flags"] = torch.tensor([True, False])
    assert state._metadata
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    tensors = tensors_of_torch_file(path)
    assert [*tensors] == [*state]
    assert tensors["0.weight"].dtype == ml_dtypes.bfloat16
    for name, tensor in state.items():
        read, tensor = tensors[name].read(), tensor.detach()
        assert read.shape == tuple(tensor.shape)
        if tensor.dtype == torch.bfloat16:
            read, tensor = read.astype("float32"), tensor.float()
        np.testing.assert_array_equal(read, tensor.numpy())


HARMS = {
    "system": Harm(),
    "eval": Harm(eval, "1"),
    "getattr": Harm(getattr, "text", "upper"),
    "_load_from_bytes": Harm(torch.storage._load_from_bytes, b""),
    "_rebuild_qtensor": Harm(torch._utils._rebuild_qtensor, 1),
    "object": Harm(builtins.object, ()),
    "Linear": torch.nn.Linear(1, 1),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", HARMS)
def test_refuses_what_names_anything_but_tensors(name, zipped, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    state = {"harm": HARMS[name], "table": torch.ones(2)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=f"nothing else; .* names .*{name}"):
        tensors_of_torch_file(path)


def zip_of(pickled, path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickled)
        archive.writestr("model/data/0", bytes(16))
    return path


def tensor_of(offset, size, numel=4, key=b"0"):
    """The pickle of a tensor that is not what torch would write."""
    head = b"\x80\x02}X\x01\x00\x00\x00ac" + b"torch._utils\n_rebuild_tensor_v2\n"
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    storage += b"X\x01\x00\x00\x00" + key + b"X\x03\x00\x00\x00cpu"
    sizes = [b"J" + struct.pack("<i", x) for x in (numel, offset, size, 1)]
    numel, offset, size, stride = sizes
    behind = offset + size + b"\x85" + stride + b"\x85" + b"\x89" + b"}"
    return head + b"(" + storage + numel + b"tQ" + behind + b"tRs."


def test_refuses_tensors_that_reach_out_of_their_storage(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    good = tensors_of_torch_file(zip_of(tensor_of(1, 3), path))["a"]
    np.testing.assert_array_equal(good.read(), np.zeros(3, "float32"))
    for bad in (
        tensor_of(2, 3),
        tensor_of(-1, 3),
        tensor_of(0, -3),
        tensor_of(0, 9, numel=9),
        tensor_of(0, 3, key=b"1"),
    ):
        with pytest.raises(ValueError, match="could not be read"):
            tensors_of_torch_file(zip_of(bad, path))


# What is done to the functions that a pickle may name.
BUILDS = [
    b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",
    b"\x80\x02ctorch\nFloatStorage\n}X\x01\x00\x00\x00aK\x01sb.",
    b"\x80\x02ctorch\nFloatStorage\n(K\x03X\x01\x00\x00\x00>NNNJ\xff\xff\xff\xff"
    b"J\xff\xff\xff\xffK\x00tb.",
    b"\x80\x02ctorch._utils\n_rebuild_tensor\nN}X\x09\x00\x00\x00_functionK\x01s\x86b.",
    b"\x80\x02K\x01.",
    b"\x80\x02]K\x01a.",
    pickle.dumps({"a": 1}, 2),
    pickle.dumps({1: collections.OrderedDict()}, 2),
    b"",
]


@pytest.mark.parametrize("pickled", BUILDS)
def test_refuses_what_changes_functions_or_holds_no_tensors(pickled, tmp_path):
    with pytest.raises(ValueError, match="could not be read|nothing else"):
        tensors_of_torch_file(zip_of(pickled, tmp_path / "pytorch_model.bin"))
    assert np.dtype("<f4").byteorder == "="


@pytest.mark.parametrize("zipped", [True, False])
def test_refuses_what_is_cut_off(zipped, tmp_path):
    written = io.BytesIO()
    state = {"a": torch.ones(30), "b": torch.ones(30)}
    torch.save(state, written, _use_new_zipfile_serialization=zipped)
    path = tmp_path / "pytorch_model.bin"
    whole = written.getvalue()
    for length in (0, 1, 10, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="It may be truncated"):
            tensors_of_torch_file(path)


@pytest.mark.parametrize("name", ["model/data.pkl", "model/byteorder"])
def test_inflates_nothing(name, tmp_path):
    path = zip_of(tensor_of(1, 3), tmp_path / "pytorch_model.bin")
    contents = {"model/data.pkl": tensor_of(1, 3), "model/byteorder": b"little"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data/0", bytes(16))
        for each, content in contents.items():
            kind = zipfile.ZIP_DEFLATED if each == name else zipfile.ZIP_STORED
            archive.writestr(each, content, kind)
    with pytest.raises(ValueError, match=f"{name} is compressed"):
        tensors_of_torch_file(path)
