"""Arrow tables as NumPy arrays, without what pyarrow imports for it: pandas takes longer than any file here."""

import numpy as np
import pyarrow.parquet as pq


def read_parquet(path, columns=None):
    """Read a Parquet file (``pyarrow.parquet.read_table`` imports ``pyarrow.dataset`` and pandas).

    Args:
        path: the file.
        columns: names of the columns wanted; all by default.

    Returns:
        pyarrow.Table

    Raises:
        KeyError: a column is missing.
        OSError, pyarrow.ArrowException: the file is missing or is no Parquet file.
    """
    with pq.ParquetFile(path) as file:
        for name in columns or []:
            file.schema_arrow.field(name)
        return file.read(columns)


def numbers(array):
    """A pyarrow array of numbers, none of them null, as a NumPy array that shares its memory."""
    return np.from_dlpack(array)


def column(table, name, missing=-1):
    """One integer column as a NumPy array (int64); null (a hidden label) becomes ``missing``."""
    array = table[name].combine_chunks()
    if not array.null_count:
        return numbers(array).astype(np.int64)
    return np.array([missing if value is None else value for value in array.to_pylist()], np.int64)


def texts(table, name):
    """One column of texts as a NumPy array of str objects; null stays None."""
    return np.array(table[name].to_pylist(), object)
