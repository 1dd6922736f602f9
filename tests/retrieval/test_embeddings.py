"""Embedding files: our own, and those made elsewhere, in each form, against the same rows by hand."""

import os
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import ROOT
from reid.core.errors import ReidError
from reid.data.index import write_index
from reid.retrieval.embeddings import read_embeddings, read_external, write_embeddings

# ---- our own


# forms that are no embeddings of seven boxes, for every door that takes them
SEVEN = np.random.default_rng(5).normal(size=(7, 4))
OTHER_FORMS = [
    (SEVEN[:-1], "has 6 rows, but the index has 7"),
    (np.vstack([SEVEN, SEVEN[:1]]), "has 8 rows, but the index has 7"),
    (SEVEN.astype(np.int32), "must be float16, float32 or float64, 7 x D, not int32 7 x 4"),
    (SEVEN > 0, "must be float16, float32 or float64, 7 x D, not bool 7 x 4"),
    (SEVEN.astype(np.longdouble), "must be float16, float32 or float64"),
    (SEVEN.astype(np.complex64), "must be float16, float32 or float64"),
    (SEVEN[:, :0], "not float64 7 x 0"),
    (SEVEN[:0], "has 0 rows, but the index has 7"),
    (SEVEN[:, 0], "not float64 7"),
    (SEVEN[:, None], "not float64 7 x 1 x 4"),
    (np.float64(3), "it has 0 dimensions"),
    (np.zeros((7, 70_000), np.float16), "has embeddings of 70,000 values, and 65,536 is the most"),
    (np.array([{}] * 7, object), "is not an array of embeddings (it holds Python objects, not numbers)"),
    (np.zeros(7, [("a", "f4"), ("b", "f4")]), "is not an array of embeddings (it holds records of several fields"),
    (np.array([["a"]] * 7), "is not an array of embeddings (it holds values of type <U1"),
    (np.zeros((7, 1), "M8[s]"), "is not an array of embeddings (it holds values of type datetime64"),
]
NO_ARRAY = r"e\.npy: is not an array of embeddings \(it.*\); make it with scripts/embed\.py"
KINDS, ORDERS = ("<f2", ">f2", "<f4", ">f4", "<f8", ">f8"), ("C", "F")


@pytest.mark.parametrize("content, words", OTHER_FORMS)
def test_embeddings_of_another_form_are_refused_by_name(tmp_path, content, words):
    np.save(tmp_path / "e.npy", content, allow_pickle=True)
    with pytest.raises(ReidError, match=rf"e\.npy: .*{re.escape(words)}"):
        read_embeddings(tmp_path / "e.npy", 7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
def test_embeddings_of_any_float_type_are_read(tmp_path, kind, order):
    rows = SEVEN.astype(np.float16)  # the same in all types
    np.save(tmp_path / "e.npy", np.asarray(rows, kind, order=order))
    embeddings = read_embeddings(tmp_path / "e.npy", 7)
    assert embeddings.dtype == np.float32 and embeddings.dtype.isnative and embeddings.flags.c_contiguous
    assert np.array_equal(embeddings, rows)


@pytest.mark.parametrize(
    "value, reason", [(np.nan, "not finite"), (-np.inf, "not finite"), (np.inf, "not finite"), (1e39, "too large")]
)
def test_embedding_that_is_no_finite_float32_is_refused_with_its_row(tmp_path, value, reason):
    rows = SEVEN.copy()
    rows[4, 1] = value
    np.save(tmp_path / "e.npy", rows)
    with pytest.raises(ReidError, match=f"the embedding of row 4 holds a value that is {reason}"):
        read_embeddings(tmp_path / "e.npy", 7)
    rows[5:] = value
    np.save(tmp_path / "e.npy", rows)
    with pytest.raises(ReidError, match=f"the embedding of row 4 and 2 more holds a value that is {reason}"):
        read_embeddings(tmp_path / "e.npy", 7)


def test_large_embeddings_whose_sum_is_no_number_are_read(tmp_path):
    rows = np.full((7, 4), 3e38, np.float32)
    np.save(tmp_path / "e.npy", rows)
    assert np.array_equal(read_embeddings(tmp_path / "e.npy", 7), rows)


@pytest.mark.parametrize("scale", [1e-39, 1e-50, 1e-300])
def test_embeddings_that_float32_would_make_zeros_or_leave_few_digits_are_refused_with_their_row(tmp_path, scale):
    rows = SEVEN.copy()
    rows[4:6] *= scale
    rows[6] = 0  # is what it was
    np.save(tmp_path / "e.npy", rows)
    with pytest.raises(ReidError, match=r"e\.npy: the embedding of row 4 and 1 more has values too small for float32"):
        read_embeddings(tmp_path / "e.npy", 7)
    rows[5, 0] = -1  # beside which the others are nothing
    np.save(tmp_path / "e.npy", rows)
    with pytest.raises(ReidError, match="the embedding of row 4 has values too small for float32; multiply all"):
        read_embeddings(tmp_path / "e.npy", 7)


@pytest.mark.parametrize("kind", KINDS)
def test_smallest_embeddings_that_keep_their_digits_are_read(tmp_path, kind):
    rows = np.full((7, 4), max(np.finfo(kind).smallest_subnormal, np.finfo(np.float32).tiny), kind)
    rows[1] = -rows[1]
    rows[2] = 0
    np.save(tmp_path / "e.npy", rows)
    assert np.array_equal(read_embeddings(tmp_path / "e.npy", 7), rows)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip cut short", b"\x93NUMPY\x01\x00", b"text", b"<html>"])
def test_file_that_is_no_array_is_refused_by_name(tmp_path, content):
    (tmp_path / "e.npy").write_bytes(content)
    with pytest.raises(ReidError, match=NO_ARRAY):
        read_embeddings(tmp_path / "e.npy", 5)


def test_what_is_no_file_is_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, problem in {"none": "there is no such file", ".": "is a directory", "pipe": "is a named pipe"}.items():
        with pytest.raises(ReidError, match=rf"{name}: {problem}.*; make it with scripts/embed\.py"):
            read_embeddings(tmp_path / name, 5)


def test_header_that_promises_more_or_less_than_the_file_holds_is_refused(tmp_path):
    np.save(tmp_path / "e.npy", SEVEN)
    for change in (-1, 1, -200):
        np.save(tmp_path / "e.npy", SEVEN)
        os.truncate(tmp_path / "e.npy", (tmp_path / "e.npy").stat().st_size + change)
        with pytest.raises(ReidError, match="its header says float64 7 x 4, which is not what its"):
            read_embeddings(tmp_path / "e.npy", 7)


def test_written_embeddings_of_which_a_byte_has_changed_are_refused(tmp_path):
    write_embeddings(tmp_path / "e.npy", SEVEN.astype(np.float32))
    content = (tmp_path / "e.npy").read_bytes()
    for place in [0, 127, 128, len(content) - 1, *np.random.default_rng(0).integers(0, len(content), 25).tolist()]:
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        (tmp_path / "e.npy").write_bytes(changed)
        with pytest.raises(ReidError, match=r"e\.npy: is not what was written"):
            read_embeddings(tmp_path / "e.npy", 7)


def test_several_arrays_in_one_file_are_refused_by_name(tmp_path):
    np.savez(tmp_path / "e.npz", np.zeros((5, 3), np.float32))
    with pytest.raises(ReidError, match=r"e\.npz: is not an array of embeddings"):
        read_embeddings(tmp_path / "e.npz", 5)


def test_written_embeddings_are_mapped_and_not_read(tmp_path):
    embeddings = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    write_embeddings(tmp_path / "sub/e.npy", embeddings)
    again = read_embeddings(tmp_path / "sub/e.npy", 5)
    assert np.array_equal(again, embeddings)
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable


# ---- those made elsewhere

BOXES = [("query", 0), ("query", 2), ("query", 5), ("gallery", 0), ("gallery", 1), ("gallery", 2), ("gallery", 9)]
TABLE = pa.table({"role": [role for role, _ in BOXES], "bbox_idx": pa.array([idx for _, idx in BOXES], pa.int32())})
ROWS = np.random.default_rng(3).normal(size=(len(BOXES), 4)).astype(np.float16).astype(np.float64)  # same in all types


def columns(order=range(7), kind=None, **changes):
    """The rows as a table of the order given."""
    return {
        "role": [BOXES[i][0] for i in order],
        "bbox_idx": [BOXES[i][1] for i in order],
        "embedding": pa.array([list(map(np.float16, ROWS[i])) for i in order], kind or pa.list_(pa.float32())),
    } | changes


def write_table(folder, content, name="valid"):
    pq.write_table(pa.table(content), folder / f"{name}.parquet")


def read(folder, split="valid"):
    return read_external(folder, split, TABLE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
def test_array_of_any_float_type_is_read_in_its_own_order(tmp_path, kind, order):
    np.save(tmp_path / "valid.npy", np.asarray(ROWS, kind, order=order))
    embeddings = read(tmp_path)
    assert embeddings.dtype == np.float32 and np.array_equal(embeddings, ROWS)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float16()),
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float64(), 4),
    ],
    ids=str,
)
def test_table_of_any_list_type_is_brought_into_the_order_of_the_index(tmp_path, kind):
    for seed in range(5):
        write_table(tmp_path, columns(np.random.default_rng(seed).permutation(len(BOXES)), kind))
        embeddings = read(tmp_path)
        assert embeddings.dtype == np.float32 and np.array_equal(embeddings, ROWS)


def test_table_in_pieces_with_coded_roles_wide_numbers_and_more_columns_is_read(tmp_path):
    order = [6, 0, 3, 1, 5, 2, 4]
    content = columns(order)
    content |= {
        "role": pa.array(content["role"]).dictionary_encode(),
        "bbox_idx": pa.array(content["bbox_idx"], pa.int64()),
        "note": ["x"] * len(order),
    }
    pq.write_table(pa.table(content), tmp_path / "valid.parquet", row_group_size=2)
    assert np.array_equal(read(tmp_path), ROWS)


def test_other_splits_and_files_of_the_folder_do_not_matter(tmp_path):
    np.save(tmp_path / "test.npy", ROWS)
    (tmp_path / "notes.txt").write_text("mine")
    write_table(tmp_path, columns())
    assert np.array_equal(read(tmp_path), ROWS) and np.array_equal(read(tmp_path, "test"), ROWS)


def refused(folder, words, split="valid"):
    with pytest.raises(ReidError) as caught:
        read(folder, split)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_no_file_and_two_files_are_refused_by_what_was_looked_for(tmp_path):
    assert refused(tmp_path / "none", "there is no such folder").startswith(str(tmp_path / "none"))
    np.save(tmp_path / "valid.npy", ROWS)
    refused(tmp_path, "holds neither test.npy nor test.parquet", "test")
    write_table(tmp_path, columns())
    refused(tmp_path, "holds both valid.npy and valid.parquet")


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
@pytest.mark.parametrize("content", [b"", b"text", b"PAR1 cut short", b"\x93NUMPY\x01\x00", b"<html>"])
def test_file_of_a_foreign_kind_is_refused_by_name(tmp_path, suffix, content):
    path = tmp_path / f"valid.{suffix}"
    path.write_bytes(content)
    message = refused(tmp_path, "is not an array of" if suffix == "npy" else "is not a table of")
    assert message.startswith(f"{path}: ")


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_what_is_no_file_is_refused_by_what_it_is(tmp_path, suffix):
    path = tmp_path / f"valid.{suffix}"
    path.mkdir()
    assert refused(tmp_path, "is a directory, not a file").startswith(f"{path}: ")
    path.rmdir()
    os.mkfifo(path)
    refused(tmp_path, "is a named pipe, not a file")
    path.unlink()
    path.symlink_to("gone")
    refused(tmp_path, "is a link to nothing, not a file")


def test_index_that_holds_a_box_twice_is_refused(tmp_path):
    write_table(tmp_path, columns())
    with pytest.raises(ReidError, match="the index holds a box twice"):
        read_external(tmp_path, "valid", pa.concat_tables([TABLE, TABLE.slice(0, 1)]))


def test_table_of_too_wide_embeddings_is_refused(tmp_path):
    write_table(tmp_path, columns(embedding=pa.array([np.zeros(70_000, np.float16)] * 7)))
    refused(tmp_path, "has embeddings of 70,000 values, and 65,536 is the most")


@pytest.mark.parametrize("content, words", OTHER_FORMS)
def test_array_of_another_form_is_refused(tmp_path, content, words):
    np.save(tmp_path / "valid.npy", content, allow_pickle=True)
    assert refused(tmp_path, words).startswith(f"{tmp_path / 'valid.npy'}: ")


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
@pytest.mark.parametrize(
    "value, reason", [(np.nan, "not finite"), (-np.inf, "not finite"), (1e39, "too large for float32")]
)
def test_value_that_is_no_finite_float32_is_refused_with_its_box(tmp_path, suffix, value, reason):
    rows = ROWS.copy()
    rows[4, 1] = value
    if suffix == "npy":
        np.save(tmp_path / "valid.npy", rows)
    else:
        order = [5, 4, 3, 2, 1, 0, 6]
        write_table(tmp_path, columns(order, embedding=rows[order].tolist()))
    refused(tmp_path, f"valid.{suffix}: the embedding of gallery 1 holds a value that is {reason}")
    rows[5] = value
    if suffix == "npy":
        np.save(tmp_path / "valid.npy", rows)
        refused(tmp_path, f"the embedding of gallery 1 and 1 more holds a value that is {reason}")


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_values_too_small_for_float32_are_refused_with_their_box(tmp_path, suffix):
    if suffix == "npy":
        np.save(tmp_path / "valid.npy", ROWS * 1e-50)
    else:
        write_table(tmp_path, columns(embedding=(ROWS * 1e-50).tolist()))
    refused(tmp_path, f"valid.{suffix}: the embedding of query 0 and 6 more has values too small for float32")


def with_value(name, place, value):
    content = columns()
    values = list(content[name]) if name != "embedding" else content[name].to_pylist()
    values[place] = value
    return content | {name: values}


@pytest.mark.parametrize(
    "content, words",
    [
        (columns([0, 1, 2, 3, 4, 5]), "gallery 9 is in the index, but not here"),
        (columns([0, 1, 3, 4, 5]), "query 5 is in the index, but not here; 1 more like it"),
        (columns([*range(7), 2]), "query 5 stands more than once"),
        (columns([0, 1, 2, 3, 4, 5, 5]), "gallery 2 stands more than once"),
        (with_value("bbox_idx", 6, 8), "gallery 8 is not in the index"),
        (with_value("role", 6, "query"), "query 9 is not in the index"),
        (with_value("role", 6, "train"), "train 9 is not in the index"),
        (with_value("bbox_idx", 6, 2**40), f"gallery {2**40} is not in the index"),
        (pa.table(columns()).slice(0, 0), "query 0 is in the index, but not here; 6 more like it"),
        (with_value("role", 3, None), "role is null in 1 of 7 rows"),
        (with_value("bbox_idx", 3, None), "bbox_idx is null in 1 of 7 rows"),
        (with_value("embedding", 3, None), "embedding is null in 1 of 7 rows"),
        (with_value("embedding", 3, [1.0, None, 2.0, 3.0]), "an embedding holds null"),
        (with_value("embedding", 3, [1.0, 2.0]), "of one length: 4 values for query 0, but 2 values for gallery 0"),
        (columns(embedding=pa.array([[]] * 7, pa.list_(pa.float32()))), "the embeddings have no values"),
        (columns(embedding=[[1, 2]] * 7), "embedding must hold lists of floats, not list<"),
        (columns(embedding=[1.0] * 7), "embedding must hold lists of floats, not double"),
        (columns(embedding=["1 2"] * 7), "embedding must hold lists of floats, not string"),
        (columns(embedding=[[[1.0]]] * 7), "embedding must hold lists of floats, not list<"),
        (columns(bbox_idx=[float(idx) for _, idx in BOXES]), "bbox_idx must hold integers, not double"),
        (columns(role=[[1]] * 7), "is not a table of embeddings"),
        ({"role": ["query"], "embedding": [[1.0]]}, "Column bbox_idx does not exist"),
        ({"x": [1]}, "there must be role, bbox_idx and embedding"),
    ],
)
def test_table_without_exactly_one_embedding_for_each_box_is_refused(tmp_path, content, words):
    write_table(tmp_path, content)
    assert refused(tmp_path, words).startswith(f"{tmp_path / 'valid.parquet'}: ")


def test_program_takes_the_split_of_the_index_and_writes_what_distances_read(tmp_path):
    write_index(tmp_path / "i.parquet", TABLE, "test", "0" * 64)
    np.save(tmp_path / "valid.npy", np.zeros((7, 2)))
    words = ["--index", "i.parquet", "--folder", ".", "--out", "out/e.npy", "--log", "out/e.log"]

    def run():
        command = [sys.executable, ROOT / "scripts/external.py", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 1 and "neither test.npy nor test.parquet" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "out/e.npy").exists()
    write_table(tmp_path, columns([6, 5, 4, 3, 2, 1, 0]), "test")
    assert run().returncode == 0
    assert np.array_equal(read_embeddings(tmp_path / "out/e.npy", 7), ROWS)
    assert "7 embeddings of 4 values" in (tmp_path / "out/e.log").read_text()


@pytest.mark.parametrize("out", ["here/test.npy", "here/../here/test.npy", "here/test.parquet", "here/valid.npy"])
def test_program_overwrites_nothing_in_the_folder_that_it_reads(tmp_path, out):
    write_index(tmp_path / "i.parquet", TABLE, "test", "0" * 64)
    (tmp_path / "here").mkdir()
    np.save(tmp_path / "here/test.npy", ROWS.astype(np.float64))
    write_table(tmp_path / "here", columns([6, 5, 4, 3, 2, 1, 0]), "test")
    np.save(tmp_path / "here/valid.npy", ROWS[:3])
    before = {path: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    words = ["--index", "i.parquet", "--folder", "./here", "--out", out]
    command = [sys.executable, ROOT / "scripts/external.py", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"{out}: lies in the folder that is read" in done.stderr
    assert {path: path.read_bytes() for path in before} == before and "Traceback" not in done.stderr
