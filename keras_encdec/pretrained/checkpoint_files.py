"""The weights of a checkpoint's folder by their names, read one by one.

Of `model.safetensors` or `pytorch_model.bin`, whole or in shards, without PyTorch.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from keras_encdec.pretrained.stored_tensors import StoredTensor
from keras_encdec.pretrained.torch_files import tensors_of_torch_file

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
# The first that is there is read, as transformers does.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# What a folder of Git holds of a large file that was not fetched.
_LFS_POINTER = b"version https://git-lfs"


class Checkpoint(Mapping[str, np.ndarray]):
    """Tensors by their names; each is read from its file when it is looked up.

    Attributes:
        path: The file that was opened: of weights, or the index of several.
        shapes: The shape of each tensor by its name, known without reading it.
        dtypes: The dtype of each, likewise.
    """

    def __init__(self, path: Path, tensors: Mapping[str, StoredTensor]) -> None:
        self.path = path
        self._tensors = tensors
        self.shapes = {name: tensor.shape for name, tensor in tensors.items()}
        self.dtypes = {name: tensor.dtype for name, tensor in tensors.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    # `Mapping` would read the tensor.
    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.path)!r}, {len(self)} tensors)"


def open_checkpoint(folder: str | Path) -> Checkpoint:
    """Opens the weights of a folder: what is wrong with the files is told at once.

    It reads `model.safetensors`, its shards by their index, `pytorch_model.bin` or its
    shards, the first of these that is there. Numbers are read when a tensor is looked
    up, and no code of the checkpoint runs.

    Args:
        folder: The folder, `str` or `Path`; or one of these files.

    Returns:
        A `Checkpoint`: a mapping from names to NumPy arrays, each in the dtype of the
        file (`bfloat16` is that of `ml_dtypes`), with `shapes` and `dtypes`.

    Raises:
        FileNotFoundError: If there are no such files, or shards of the index lack.
        ValueError: If a file is truncated, or not what its name says, or a pickle
            names anything but tensors.

    Example:
        ```python
        import pathlib
        import tempfile
        import numpy as np
        from safetensors.numpy import save_file
        from keras_encdec.pretrained.checkpoint_files import open_checkpoint

        folder = pathlib.Path(tempfile.mkdtemp())
        save_file({"bias": np.zeros(3, "float32")}, folder / "model.safetensors")
        checkpoint = open_checkpoint(folder)
        print(checkpoint.shapes, checkpoint["bias"])
        ```
    """
    path = _weights_of(Path(folder))
    if path.name.endswith(".index.json"):
        return Checkpoint(path, _tensors_of_shards(path))
    return Checkpoint(path, _tensors_of_file(path))


def _weights_of(folder: Path) -> Path:
    if folder.is_file():
        return folder
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    if not folder.is_dir():
        raise FileNotFoundError(
            "A checkpoint is read from its folder; received "
            f"{str(folder)!r}, which is not there. Give the folder with its weights "
            "and config.json."
        )
    others = sorted(x.name for x in folder.iterdir() if x.is_file())
    raise FileNotFoundError(
        f"The weights of a checkpoint are in {WEIGHT_FILES[0]} or {WEIGHT_FILES[2]}, "
        f"or in shards with an index; {str(folder)!r} holds "
        f"{', '.join(others) or 'no files'}. Weights of TensorFlow or Flax are "
        "converted by a transformers of version 4: load them with from_tf or "
        "from_flax, and save them."
    )


def _tensors_of_file(path: Path) -> dict[str, StoredTensor]:
    with path.open("rb") as file:
        beginning = file.read(len(_LFS_POINTER))
    if beginning == _LFS_POINTER:
        raise ValueError(
            f"Weights must be there to be read; {str(path)!r} is a pointer of Git LFS "
            "to them. Run `git lfs pull` in its folder."
        )
    if path.suffix == ".safetensors":
        return _tensors_of_safetensors(path)
    return tensors_of_torch_file(path)


def _tensors_of_shards(index: Path) -> dict[str, StoredTensor]:
    try:
        shards = json.loads(index.read_text("utf-8"))["weight_map"]
        files = sorted(set(shards.values()))
        outside = [file for file in files if Path(file).name != file]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            "An index of shards must have a weight_map from names of tensors to files; "
            f"{str(index)!r} has none that can be read: {error!r}. Copy it again."
        ) from error
    if outside:
        raise ValueError(
            f"Shards lie beside their index; {str(index)!r} names {outside[0]!r}. Do "
            "not use it unless you know who wrote it."
        )
    missing = [file for file in files if not (index.parent / file).is_file()]
    if missing:
        raise FileNotFoundError(
            f"All {len(files)} files of {str(index)!r} must be beside it; missing are "
            f"{', '.join(missing)}. Download them too."
        )
    tensors: dict[str, Any] = {}
    for file in files:
        tensors |= _tensors_of_file(index.parent / file)
    lacking = [name for name in shards if name not in tensors]
    if lacking:
        raise ValueError(
            f"{str(index)!r} and its files must be of one checkpoint; no file holds "
            f"{', '.join(lacking[:5])}{', ...' if lacking[5:] else ''}. Download them "
            "again."
        )
    return tensors


def _tensors_of_safetensors(path: Path) -> dict[str, StoredTensor]:
    whole = path.stat().st_size
    try:
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            if whole < 8 or start > whole:
                raise ValueError(f"its header ends {start - whole:,} bytes behind it")
            header = json.loads(file.read(start - 8))
        header.pop("__metadata__", None)
        tensors = {k: _of_header(path, k, v, start) for k, v in header.items()}
        ends = [t.offset + t.extent * t.dtype.itemsize for t in tensors.values()]
        end = max(ends, default=start)
        if end != whole:
            what = "lacks its last" if end > whole else "has behind its tensors"
            raise ValueError(f"it {what} {abs(end - whole):,} bytes")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path.name} must be a file of safetensors; {str(path)!r} could not be "
            f"read: {error}. It may be truncated: compare its size with the original's "
            "and copy it again."
        ) from error
    return tensors


def _of_header(path: Path, name: str, told: Any, start: int) -> StoredTensor:
    if told["dtype"] not in _DTYPES:
        raise ValueError(f"{name} is of the unknown dtype {told['dtype']!r}")
    dtype, shape = _DTYPES[told["dtype"]], tuple(told["shape"])
    first, end = told["data_offsets"]
    numbers = (*shape, first, end)
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"{name} has a shape of {shape} at {first} to {end}")
    if end - first != math.prod(shape) * dtype.itemsize:
        raise ValueError(
            f"{name} of shape {shape}, {told['dtype']}, takes {end - first:,} bytes"
        )
    return StoredTensor(path, dtype, shape, start + first)
