"""NumPy's ``.npy`` files, mapped into memory. (``np.load`` would open zips and pickles too.)"""

import math
import os
import tokenize
from pathlib import Path
from typing import Any

import numpy as np

from reid.core import file_type

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
