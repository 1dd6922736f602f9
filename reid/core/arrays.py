"""NumPy's ``.npy`` files, mapped into memory, checked as they are read. (``np.load`` would open zips and pickles.)"""

import math
import mmap
import os
import tokenize
from pathlib import Path
from typing import Any

import numpy as np

from reid.core import file_type
from reid.core.checksums import Checker, verify

_MAGIC = b"\x93NUMPY"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def map_array(path: Path | str) -> np.memmap:
    """Map an array of numbers into memory, read-only.

    Args:
        path: a ``.npy`` file of one or more dimensions, of booleans, integers, floats or complex numbers.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is another kind of file, or has more or fewer bytes than its header says; what it is.
    """
    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"it is {file_type.describe(path)}")
        file.seek(0)
        try:
            shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
        except (ValueError, TypeError, KeyError, OverflowError, SyntaxError, RecursionError, tokenize.TokenError) as e:
            raise ValueError("its header is damaged, or of a version that is not known") from e
        offset, size = file.tell(), os.fstat(file.fileno()).st_size
    if dtype.kind not in "biufc":
        raise ValueError(f"it holds {_called(dtype)}, not numbers")
    if not 1 <= len(shape) <= 8:
        raise ValueError(f"it has {len(shape)} dimensions")
    if any(type(count) is not int or count < 0 for count in shape) or (
        offset + math.prod(shape) * dtype.itemsize != size
    ):
        raise ValueError(f"its header says {dtype} {by(shape)}, which is not what its {size:,} bytes hold")
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def by(shape: tuple[int, ...]) -> str:
    """A shape in words."""
    return " x ".join(str(size) if size < 10**18 else "..." for size in shape)


def _called(dtype: Any) -> str:
    if dtype.hasobject:
        return "Python objects"
    return "records of several fields" if dtype.names else f"values of type {dtype}"


class CheckedArray:
    """A ``.npy`` file mapped into memory whose blocks are checked when rows of them are first read.

    Args:
        path: the file.

    Attributes:
        shape, dtype, ndim: of the array.

    Raises:
        OSError, ValueError: it is no such file.
        ReidError: what is read differs from what was written.
    """

    def __init__(self, path: Path | str) -> None:
        try:
            self.array: np.memmap = map_array(path)
        except ValueError:
            verify(path)  # that it is damaged is the better reason
            raise
        self.shape, self.dtype, self.ndim = self.array.shape, self.array.dtype, self.array.ndim
        self._raw = np.memmap(path, np.uint8, mode="r")
        self._data, self._first = self._raw.data, int(self.array.offset)
        self._row = self.array.nbytes // len(self.array) if len(self.array) else 0
        self._checker = Checker(path, len(self._raw))
        sums = self._checker.sums
        if sums:
            together = self.array.flags.c_contiguous and self._row  # else a row lies in many places, or in none
            self._check(np.arange(sums.number(self._first - 1) + 1 if together else len(sums.digests)))

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by an integer, a slice, or an array or list of integers or booleans."""
        sums = self._checker.sums
        if sums and self._row:
            chosen = np.atleast_1d(np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows))
            if chosen.dtype == bool or not len(chosen):
                chosen = np.flatnonzero(chosen)
            start = self._first + np.unique(chosen % len(self)) * self._row
            first, last = (
                np.maximum((byte - sums.head) // sums.block + bool(sums.head), 0)
                for byte in (start, start + self._row - 1)
            )
            numbers = np.unique(first[:, None] + np.arange(int((last - first).max(initial=0)) + 1))
            self._check(numbers[numbers < len(sums.digests)])
        found: np.ndarray = self.array[rows]
        return found

    def release(self) -> None:
        """Let the system have the memory of what was read; it is mapped again when it is needed."""
        for mapped in (self.array.base, self._raw.base):
            if isinstance(mapped, mmap.mmap):
                mapped.madvise(mmap.MADV_DONTNEED)

    def _check(self, numbers: np.ndarray) -> None:
        self._checker.check(self._data, numbers.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)
