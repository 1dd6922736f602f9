"""Arrow tables as NumPy arrays."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reid.core.tables import arrow, column, has_role, is_query, labels, read_parquet, values


def test_integer_column_with_hidden_labels():
    table = pa.table({"x": pa.chunked_array([[1, None], [3]], pa.int32())})
    assert column(table, "x").tolist() == [1, -1, 3] and column(table, "x").dtype == np.int64


def test_column_of_numbers_keeps_its_type():
    table = pa.table({"x": pa.chunked_array([[0.5], [1.5]], pa.float32()), "y": [True, False]})
    assert values(table, "x").tolist() == [0.5, 1.5] and values(table, "x").dtype == np.float32
    assert values(table, "y").tolist() == [1, 0] and values(table, "y").dtype == np.uint8


def test_texts_as_codes():
    code, texts = labels(pa.table({"x": pa.chunked_array([["b", None], ["a", "b"]])}), "x")
    assert code.tolist() == [0, -1, 1, 0] and code.dtype == np.int64 and texts == ["b", "a"]


def test_roles():
    table = pa.table({"role": ["query", "gallery", "query"]})
    assert is_query(table).tolist() == [True, False, True]
    assert has_role(table, "gallery").tolist() == [False, True, False]
    assert has_role(table, "train").tolist() == [False] * 3


@pytest.mark.parametrize("kind", [pa.bool_(), pa.int8(), pa.uint32(), pa.int64(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("count", [0, 1, 8, 9, 100])
def test_array_is_that_of_pyarrow(kind, count):
    numbers = np.random.default_rng(count).integers(0, 2 if kind == pa.bool_() else 100, count)
    numbers = numbers.astype(kind.to_pandas_dtype())
    assert arrow(numbers, kind).equals(pa.array(numbers, kind))
    assert arrow(numbers[::-1], kind).equals(pa.array(numbers[::-1].copy(), kind))


def test_some_columns_are_read(tmp_path):
    table = pa.table({"x": [1, 2], "y": ["a", "b"]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_parquet(tmp_path / "a.parquet").equals(table)
    assert read_parquet(tmp_path / "a.parquet", ["y"]).equals(table.select(["y"]))
    with pytest.raises(KeyError):
        read_parquet(tmp_path / "a.parquet", ["z"])
