"""Arrow tables as NumPy arrays, without what pyarrow imports for it: pandas takes longer than any file here."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reid.core.errors import ReidError
from reid.core.files import regular
from reid.core.integrity import read_verified

_LARGEST = 1 << 33  # bytes: twenty times what the largest table of the true size takes


def read_parquet(path: Path | str | io.IOBase, columns: Sequence[str] | None = None, maker: str = "") -> Any:
    """Read a Parquet file (``pyarrow.parquet.read_table`` imports ``pyarrow.dataset`` and pandas).

    Args:
        path: the file, or an open one. It is checked against its digests.
        columns: names of the columns wanted; all by default.
        maker: the program that makes such a file, for messages.

    Returns:
        pyarrow.Table

    Raises:
        KeyError: a column is missing.
        OSError, pyarrow.ArrowException: the file is no Parquet file.
        ReidError: it is missing, or not what was written.
    """
    source = path if isinstance(path, io.IOBase) else pa.BufferReader(read_verified(regular(path, maker)))
    with pq.ParquetFile(source) as file:
        for name in columns or []:
            file.schema_arrow.field(name)
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        if (size := sum(group.total_byte_size for group in groups)) > _LARGEST:
            raise ReidError(f"{path}: unpacks to {size:,} bytes, and {_LARGEST:,} is the most that a table can have")
        return file.read(columns)


def numbers(array: Any) -> np.ndarray:
    """A pyarrow array of numbers, none of them null, as a NumPy array that shares its memory (bool: uint8, a copy)."""
    return np.from_dlpack(array.cast(pa.uint8()) if array.type == pa.bool_() else array)


def values(table: Any, name: str) -> np.ndarray:
    """One column of numbers, none of them null, as a NumPy array of the column's own type (bool: uint8)."""
    return numbers(table[name].combine_chunks())


def column(table: Any, name: str) -> np.ndarray:
    """One integer column as a NumPy array (int64); null (a hidden label) becomes -1."""
    array = table[name].combine_chunks()
    if not array.null_count:
        return numbers(array).astype(np.int64)
    return np.array([-1 if value is None else value for value in array.to_pylist()], np.int64)


def labels(table: Any, name: str) -> tuple[np.ndarray, list[str]]:
    """One column of texts as codes.

    Returns:
        int64 array: for each row the position of its text in the list, -1 for null
        list of str: the texts, in order of their first row
    """
    array = table[name].combine_chunks().dictionary_encode()
    return column({"code": pa.chunked_array([array.indices])}, "code"), array.dictionary.to_pylist()


def has_role(table: Any, role: str) -> np.ndarray:
    """Which rows of an index have a role: bool array."""
    code, roles = labels(table, "role")
    return np.array([name == role for name in roles], bool)[code]


def is_query(table: Any) -> np.ndarray:
    """Which rows of an index are queries: bool array."""
    return has_role(table, "query")


def arrow(values: np.ndarray, kind: Any) -> Any:
    """A NumPy array as a pyarrow array of type ``kind`` (``pa.array`` imports pandas)."""
    if kind == pa.bool_():
        buffer = np.packbits(values, bitorder="little")
    else:
        buffer = np.ascontiguousarray(values, kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(buffer)])
