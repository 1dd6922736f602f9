"""Arrow tables as NumPy arrays, without what pyarrow imports for it: pandas takes longer than any file here."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reid.core import file_type
from reid.core.checksums import read_verified, sums_path, verify
from reid.core.errors import ReidError
from reid.core.files import parse_json, regular, replacing
from reid.core.forms import fit

_LARGEST, _MOST = 1 << 32, 1 << 28  # bytes and values of a table: twenty times what the true size takes
_MAGIC = b"PAR1"  # at both ends


def read_parquet(path: Path | str | bytes, columns: Sequence[str] | None = None, maker: str = "") -> Any:
    """Read a Parquet file (``pyarrow.parquet.read_table`` imports ``pyarrow.dataset`` and pandas).

    By this thread alone: with Arrow's own, a program that ended soon after was now and then aborted at its end. A file
    is checked against its digests. What has none is not this pipeline's own: its values are counted before they are
    unpacked, for a few bytes may stand for billions, and checked for texts and lists that are damaged.

    Args:
        path: the file, or its content.
        columns: names of the columns wanted; all by default.
        maker: the program that makes such a file, for messages.

    Returns:
        pyarrow.Table

    Raises:
        KeyError: a column is missing.
        OSError: the file cannot be read.
        pyarrow.ArrowException: it is no Parquet file.
        ReidError: it is missing, not what was written, or too large.
    """
    foreign = isinstance(path, bytes) or not os.path.exists(sums_path(path))
    content = path if isinstance(path, bytes) else _content(regular(path, maker))
    try:
        return _read(content, columns, "the table" if isinstance(path, bytes) else str(path), foreign)
    except UnicodeDecodeError as error:  # Arrow lets it through
        raise pa.ArrowInvalid(f"a name in it is no text ({error})") from error
    except OSError as error:  # Arrow's own, of a content that lies in memory
        raise pa.ArrowInvalid(str(error)) from error


def write_parquet(path: Path | str, table: Any) -> None:
    """Write a table as Parquet; Arrow itself opens no file whose name is not UTF-8."""
    with replacing(path) as partial, open(partial, "wb") as file:
        pq.write_table(table, file, compression="zstd")


def _read(content: bytes, columns: Sequence[str] | None, called: str, foreign: bool) -> pa.Table:
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        for name in columns or []:
            file.schema_arrow.field(name)
        if not foreign:
            return file.read(columns, use_threads=False)
        _count(file, columns, called)
        coded = [field.name for field in file.schema_arrow if field.type in (pa.string(), pa.binary())]
    with pq.ParquetFile(pa.BufferReader(content), read_dictionary=coded) as file:
        return _decoded(file.read(columns, use_threads=False), coded, called)


def _count(file: Any, columns: Sequence[str] | None, name: str) -> None:
    """Refuse a file that holds too much, before it is unpacked."""
    paths = [file.schema.column(i).path.split(".")[0] for i in range(len(file.schema))]
    chosen = [i for i, path in enumerate(paths) if columns is None or path in columns]
    size = values = 0
    for number in range(file.num_row_groups):
        # damaged metadata are an error here; asked for them first, Arrow would end the process
        next(file.iter_batches(1, row_groups=[number], columns=columns, use_threads=False), None)
        chunks = [file.metadata.row_group(number).column(i) for i in chosen]
        size += sum(chunk.total_uncompressed_size for chunk in chunks)
        values += sum(chunk.num_values for chunk in chunks)
    for what, found, most in (("bytes", size, _LARGEST), ("values", values, _MOST)):
        if found > most:
            raise ReidError(f"{name}: holds {found:,} {what}, and {most:,} is the most that a table can have")


def _content(path: Path) -> bytes:
    """Content of a Parquet file; of another no more than its ends are read."""
    with open(path, "rb") as file:
        start, size = file.read(512), file.seek(0, io.SEEK_END)
        file.seek(max(0, size - len(_MAGIC)))
        whole = start.startswith(_MAGIC) and file.read() == _MAGIC and size > 2 * len(_MAGIC)
    if not whole:
        verify(path)  # that it is damaged is the better reason
        cut = start.startswith(_MAGIC)
        raise pa.ArrowInvalid("it is cut short" if cut else f"it is {file_type.describe_bytes(start)}")
    return read_verified(path, _LARGEST)


def _decoded(table: Any, coded: list[str], name: str) -> Any:
    """A table whose texts are not codes any more; they may be many times as long."""
    table.validate(full=True)
    chunks = [chunk for array in table.columns if pa.types.is_dictionary(array.type) for chunk in array.chunks]
    if (size := sum(map(_bytes_of, chunks))) > _LARGEST:
        raise ReidError(f"{name}: holds {size:,} bytes of text, and {_LARGEST:,} is the most that a table can have")
    for i, field in enumerate(table.column_names):
        if field in coded:
            table = table.set_column(i, field, table.column(i).cast(table.column(i).type.value_type))
    return table


def _bytes_of(codes: Any) -> int:
    """Bytes that the texts of codes take, each by itself."""
    texts = codes.dictionary.cast(pa.large_binary())
    ends = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return int(np.diff(ends)[numbers(codes.indices.drop_null())].sum()) if len(texts) else 0


def about(table: Any, form: dict[str, Any]) -> dict[str, Any]:
    """What a table of this pipeline says of itself, in the file's metadata.

    Args:
        table: of :func:`read_parquet`.
        form: that it must have, as for :func:`reid.core.forms.fit`.

    Raises:
        ValueError: it says nothing, or something else.
    """
    content = (table.schema.metadata or {}).get(b"reid")
    if content is None:
        raise ValueError("its metadata do not say what it is")
    try:
        result: dict[str, Any] = parse_json(content, "its metadata")
    except ReidError as error:
        raise ValueError(str(error)) from error
    fit(result, form, "its metadata")
    return result


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
