"""Tensors in files: where each lies, and how it is read when it is asked for."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np


class StoredTensor(NamedTuple):
    """Where a tensor lies in a file, before it is read.

    Args:
        path: The file.
        dtype: The dtype of its numbers, little-endian.
        shape: Its shape, a tuple of ints.
        offset: The place of its first number in the file, in bytes.
        strides: From one number to the next along each axis, in numbers and not below
            0; by default one after the other, the last axis first.
    """

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...] | None = None

    @property
    def extent(self) -> int:
        """How many numbers there are from its first to its last, those between too."""
        if 0 in self.shape:
            return 0
        if self.strides is None:
            return math.prod(self.shape)
        steps = zip(self.shape, self.strides, strict=True)
        return 1 + sum((size - 1) * stride for size, stride in steps)

    def read(self) -> np.ndarray:
        """Returns it, an array of its own; nothing else of the file is read."""
        if not self.extent:
            return np.empty(self.shape, self.dtype)
        numbers = np.fromfile(self.path, self.dtype, self.extent, offset=self.offset)
        if len(numbers) < self.extent:
            raise ValueError(
                f"{str(self.path)!r} became shorter while it was read. Wait until it "
                "is written, and open it again."
            )
        if self.strides is None:
            return numbers.reshape(self.shape)
        strides = [stride * self.dtype.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers, self.shape, strides)
        return np.ascontiguousarray(view).reshape(self.shape)
