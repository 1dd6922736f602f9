"""Arrow tables as NumPy arrays."""

import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reid.core.errors import ReidError
from reid.core.forms import COUNT
from reid.core.tables import about, arrow, column, has_role, is_query, labels, read_parquet, values, write_parquet


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


def test_a_table_is_written_and_read_under_a_name_that_is_no_text(tmp_path):
    path, table = tmp_path / os.fsdecode(b"\xff.parquet"), pa.table({"x": [1, 2], "y": ["a", "b"]})
    write_parquet(path, table)
    assert read_parquet(path).equals(table)
    write_parquet(tmp_path / "a.parquet", table)
    assert path.read_bytes() == (tmp_path / "a.parquet").read_bytes()


# ---- what is no table of ours


def table_file(folder, table, name="a.parquet", **options):
    pq.write_table(table, folder / name, **options)
    return folder / name


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"", "it is empty"),
        (b"PAR1", "it is cut short"),
        (b"PAR1PAR1", "it is cut short"),
        (b"PAR1 and no more", "it is cut short"),
        (b"a,b\n1,2\n", "it is text"),
        (b"\x89PNG\r\n\x1a\n and more", "it is a PNG image"),
        (b"PK\x03\x04 and more", "it is a zip archive"),
        (b"\x80\x04\x95 and more", "it is a pickle"),
        (b"ARROW1\0\0 and more", "it is an Arrow or Feather file"),
        (b"<html>", "it is a web page"),
        (b"PAR1" + bytes(100) + b"PAR1", "."),
        (b"PAR1" + b"\xff" * 100 + b"\x10\0\0\0PAR1", "."),
    ],
)
def test_file_of_another_kind_is_an_error_of_arrow_with_what_it_is(tmp_path, content, problem):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises((pa.ArrowException, OSError), match=problem):
        read_parquet(tmp_path / "a.parquet")


def test_a_name_that_is_no_text_is_an_error_of_arrow(tmp_path):
    path = table_file(tmp_path, pa.table({"a_name": pa.array([[1], [2]])}), store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"a_name", b"a\xffname"))
    with pytest.raises(pa.ArrowException, match="a name in it is no text"):
        read_parquet(path)


def test_half_a_file_is_cut_short(tmp_path):
    path = table_file(tmp_path, pa.table({"x": np.arange(1000)}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(pa.ArrowException, match="it is cut short"):
        read_parquet(path)


def test_what_is_no_file_is_the_users_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, problem in {"none": "there is no such file", ".": "is a directory", "pipe": "is a named pipe"}.items():
        with pytest.raises(ReidError, match=f"{problem}.*; make it with scripts/x.py"):
            read_parquet(tmp_path / name, maker="scripts/x.py")


def test_content_is_read_as_a_file_is(tmp_path):
    table = pa.table({"x": [1, 2], "y": ["a", None]})
    assert read_parquet(table_file(tmp_path, table).read_bytes(), ["y"]).equals(table.select(["y"]))
    with pytest.raises(KeyError):
        read_parquet((tmp_path / "a.parquet").read_bytes(), ["z"])


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "b"] * 40),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([5, 7, 5]).dictionary_encode(),
        pa.array(["a", "b"], pa.large_string()),
        pa.array(["a", "b"], pa.string_view()),
        pa.array([b"\xff\xfe", b""]),
        pa.array([], pa.string()),
        pa.nulls(3, pa.string()),
        pa.nulls(3),
        pa.array([["a", None], None, []]),
        pa.array([{"a": "x"}, None]),
        pa.array([1, None, 3]),
    ],
    ids=lambda column: str(column.type),
)
def test_foreign_tables_of_any_type_are_read_as_arrow_reads_them(tmp_path, column):
    path = table_file(tmp_path, pa.table({"x": column, "n": np.arange(len(column))}), row_group_size=50)
    assert read_parquet(path).equals(pq.read_table(path))
    assert read_parquet(path, ["x"]).equals(pq.read_table(path, columns=["x"]))


def repeated(text, times):
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), pa.array([text]))


BOMBS = {
    "rows": lambda: pa.table({"x": pa.chunked_array([np.zeros(1 << 24, np.int8)] * 17)}),
    "lists": lambda: pa.table(
        {"x": pa.chunked_array([pa.FixedSizeListArray.from_arrays(np.zeros(1 << 24, np.int8), 1 << 20)] * 17)}
    ),
    "texts": lambda: pa.table({"x": repeated("x" * 10_000, 1_000_000)}),
    "texts of a category": lambda: pa.table({"x": repeated("x" * 10_000, 1_000_000)}),
    "long numbers": lambda: pa.table({"x": pa.chunked_array([np.zeros(1 << 24)] * 15 + [np.zeros(1 << 25)])}),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_small_file_that_unpacks_without_bound_is_refused_before_it_does(tmp_path, kind):
    path = table_file(tmp_path, BOMBS[kind](), compression="zstd", store_schema=kind != "texts")
    assert path.stat().st_size < 3e6
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    with pytest.raises(ReidError, match=r"a\.parquet: holds [\d,]+ (values|bytes of text), and .* is the most"):
        read_parquet(path, ["x"])
    # what Arrow read ahead may not be freed yet: megabytes, where 250 MB and more would be unpacked
    assert pa.total_allocated_bytes() - before < 5e7 and tracemalloc.get_traced_memory()[1] < 5e7
    tracemalloc.stop()


def test_column_that_is_not_wanted_may_hold_anything(tmp_path):
    path = table_file(tmp_path, BOMBS["texts"]().append_column("y", pa.array(np.zeros(1_000_000))))
    assert len(read_parquet(path, ["y"])) == 1_000_000


def test_sparse_file_is_refused_by_its_size(tmp_path):
    with open(tmp_path / "a.parquet", "wb") as file:
        file.write(b"PAR1")
        file.seek(1 << 40)
        file.write(b"PAR1")
    with pytest.raises(ReidError, match=r"a\.parquet: has 1,099,511,627,780 bytes, and .* is the most"):
        read_parquet(tmp_path / "a.parquet")


def test_text_that_is_no_text_is_refused(tmp_path):
    wrong = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xff\xfe"))
    with pytest.raises(pa.ArrowException, match="(?i)utf"):
        read_parquet(table_file(tmp_path, pa.table({"x": wrong})))


def test_columns_of_one_name_are_not_guessed_between(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(KeyError):
        read_parquet(table_file(tmp_path, table), ["x"])


FORM = {"split": ("valid", "test"), "number": COUNT}


@pytest.mark.parametrize(
    "content, problem",
    [
        (None, "its metadata do not say what it is"),
        ("", "its metadata: is not valid JSON"),
        ("valid", "its metadata: is not valid JSON"),
        (b"\xff\xfe", "its metadata: is not UTF-8"),
        ("[" * 5000, "its metadata: is nested too deeply"),
        ("null", "its metadata: null is not an object"),
        ("[]", r"its metadata: \[\] is not an object"),
        ('"valid"', "its metadata: .* is not an object"),
        ("{}", "its metadata.split is missing"),
        ('{"split": "train", "number": 1}', 'its metadata.split: "train" is not valid or test'),
        ('{"split": ["valid"], "number": 1}', "its metadata.split: .* is not valid or test"),
        ('{"split": "valid", "number": 1e400}', "its metadata: 1e400 is not a finite number"),
        ('{"split": "valid", "split": "test", "number": 1}', "its metadata: .* stands twice"),
    ],
)
def test_foreign_metadata_are_refused_with_what_they_are(tmp_path, content, problem):
    table = pa.table({"x": [1]}).replace_schema_metadata(None if content is None else {"reid": content, "pandas": "x"})
    with pytest.raises(ValueError, match=problem):
        about(read_parquet(table_file(tmp_path, table)), FORM)


def test_metadata_of_the_form_are_read(tmp_path):
    wanted = {"split": "valid", "number": 3, "more": [1]}
    table = pa.table({"x": [1]}).replace_schema_metadata({"reid": json.dumps(wanted)})
    assert about(read_parquet(table_file(tmp_path, table)), FORM) == wanted


def test_random_changes_of_a_foreign_file_end_in_a_table_or_one_kind_of_error(tmp_path):
    """In another process, for what is wrong might end it."""
    program = """
import sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from reid.core.errors import ReidError
from reid.core.tables import read_parquet

rng, path = np.random.default_rng(0), sys.argv[1]
kinds = {"snappy": 0, "zstd": 0, "none": 0}
for compression in kinds:
    table = pa.table({"a": np.arange(200), "b": ["x", "yy"] * 100, "c": [[1.0, 2.0]] * 200})
    pq.write_table(table.replace_schema_metadata({"reid": "{}"}), path, compression=compression)
    whole = open(path, "rb").read()
    for _ in range(700):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 5)):
            content[rng.integers(len(content))] = rng.integers(256)
        with open(path, "wb") as file:
            file.write(content)
        try:
            read_parquet(path)
        except (ReidError, pa.ArrowException, OSError, KeyError, ValueError):
            kinds[compression] += 1
print(kinds)
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "a"], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(count > 100 for count in eval(done.stdout).values())
