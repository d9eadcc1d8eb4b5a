"""What `torch.save` wrote of a state dict, read without PyTorch and without its code.

Such a file is a pickle, which names functions to be called, beside the numbers. The
few that make tensors stand here; whatever else a pickle names, it is not loaded.
"""

import collections
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from keras_encdec.pretrained.stored_tensors import StoredTensor

# By the class of the storage that holds the numbers.
_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
# The first pickle of a file from before the zip format, and the second.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001


class _StorageType(NamedTuple):
    """What stands for a class of storages: not a dtype, which could be changed."""

    dtype: np.dtype


class _Storage(NamedTuple):
    """Numbers that one or several tensors are views of."""

    key: str
    dtype: np.dtype
    size: int
    start: int


class _Tensor(NamedTuple):
    """A tensor as the pickle tells it: a view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def tensors_of_torch_file(path: Path) -> dict[str, StoredTensor]:
    """Returns where each tensor of a state dict lies, read off a file of `torch.save`.

    Args:
        path: The file, in the zip format or that from before it.

    Returns:
        A dict from names to `StoredTensor`.

    Raises:
        ValueError: If the file is truncated or another one, its pickle names anything
            but tensors, or what it holds is no dict of tensors.
    """
    try:
        with path.open("rb") as file:
            read = _of_zip if file.read(2) == b"PK" else _of_plain_file
            state, places = read(file)
        return _stored(state, places, path)
    except _NotAllowed as error:
        raise ValueError(
            "A checkpoint is read without running code: its pickle may name tensors "
            f"and nothing else; {str(path)!r} names {error}. Do not load it elsewhere "
            "either unless you know who wrote it; if it is yours, save its state dict "
            "alone, or as model.safetensors."
        ) from None
    # What the bytes of another file may lead a pickle to.
    except (
        *(AttributeError, EOFError, IndexError, KeyError, MemoryError, TypeError),
        *(OverflowError, UnicodeError, ValueError, pickle.UnpicklingError),
        *(zipfile.BadZipFile, NotImplementedError, RecursionError),
    ) as error:
        raise ValueError(
            f"{path.name} must be what torch.save wrote of a state dict; {str(path)!r} "
            f"could not be read: {error or type(error).__name__}. It may be truncated: "
            "compare its size with the original's and copy it again."
        ) from error


class _NotAllowed(Exception):
    """A pickle names what is no part of a tensor."""


class _Callable:
    """A function that a pickle may call, and can do nothing else with."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: object) -> None:
        raise _NotAllowed(f"an attribute to be set, {name!r}")

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


def _rebuild_tensor(
    storage: object, offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any
) -> _Tensor:
    if not isinstance(storage, _Storage) or len(shape) != len(strides):
        raise ValueError("a tensor is not built of a storage, a shape and strides")
    _require_sizes(offset, *shape, *strides)
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _FUNCTIONS:
            return _Callable(_FUNCTIONS[module, name])
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        raise _NotAllowed(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtypes, key, _, size, *view = pid
        if kind != "storage" or not isinstance(dtypes, _StorageType):
            raise _NotAllowed(f"a persistent object of the kind {kind!r:.80}")
        start = 0
        # A storage may be a part of another one, in files from before the zip format.
        if view and view[0] is not None:
            _, start, size = view[0]
        return _Storage(key, dtypes.dtype, *_require_sizes(size, start))


def _require_sizes(*numbers: Any) -> tuple[int, ...]:
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"sizes must be ints of 0 or more, and are {numbers!r:.80}")
    return numbers


class _Place(NamedTuple):
    """Where the numbers of a storage are in the file, and how many bytes."""

    offset: int
    size: int


def _of_zip(file: BinaryIO) -> tuple[Any, dict[str, _Place]]:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        # A few bytes could become more than the memory holds.
        for name, entry in entries.items():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed, which torch.save does not")
        pickles = [name for name in entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"it holds {len(pickles)} files data.pkl, not one")
        root = pickles[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in entries and archive.read(order) != b"little":
            raise ValueError("its numbers are not little-endian")
        with archive.open(pickles[0]) as stream:
            state = _Unpickler(stream).load()
        places = {}
        for name, entry in entries.items():
            if name.startswith(f"{root}data/"):
                # The local header says where the numbers begin, the directory not.
                file.seek(entry.header_offset + 26)
                lengths = file.read(4)
                start = entry.header_offset + 30
                start += int.from_bytes(lengths[:2], "little")
                start += int.from_bytes(lengths[2:], "little")
                places[name.removeprefix(f"{root}data/")] = _Place(
                    start, entry.file_size
                )
    return state, places


def _of_plain_file(file: BinaryIO) -> tuple[Any, dict[str, _Place]]:
    file.seek(0)
    numbers = [_Unpickler(file).load() for _ in range(2)]
    if numbers != [_MAGIC_NUMBER, _PROTOCOL_VERSION]:
        raise ValueError("it does not begin as one does")
    system = _Unpickler(file).load()
    if not system["little_endian"]:
        raise ValueError("its numbers are not little-endian")
    state = _Unpickler(file).load()
    keys = _Unpickler(file).load()
    dtypes = {
        tensor.storage.key: tensor.storage.dtype
        for tensor in _require_state(state).values()
    }
    places, offset = {}, file.tell()
    for key in keys:
        file.seek(offset)
        # A number of elements goes before them.
        size = int.from_bytes(file.read(8), "little") * dtypes[key].itemsize
        places[key] = _Place(offset + 8, size)
        offset += 8 + size
    return state, places


def _require_state(state: Any) -> Mapping[str, _Tensor]:
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, not a dict")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise ValueError(
                f"its dict must hold tensors by their names, and holds "
                f"{type(tensor).__name__} under {name!r:.80}"
            )
    return state


def _stored(
    state: Any, places: Mapping[str, _Place], path: Path
) -> dict[str, StoredTensor]:
    """Returns the tensors of a state dict, all of which are there."""
    whole = path.stat().st_size
    tensors = {}
    for name, (storage, offset, shape, strides) in _require_state(state).items():
        place, first = places[storage.key], storage.start + offset
        tensor = StoredTensor(
            path,
            storage.dtype,
            shape,
            place.offset + first * storage.dtype.itemsize,
            strides,
        )
        end = (first + tensor.extent) * storage.dtype.itemsize
        if end > place.size or offset + tensor.extent > storage.size:
            raise ValueError(f"{name} of shape {shape} is larger than its storage")
        if place.offset + end > whole:
            raise ValueError(
                f"{name} ends {place.offset + end - whole:,} bytes behind the file"
            )
        tensors[name] = tensor
    return tensors
