"""The table of scored queries, and what is no such table."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import scored
from reid.core.errors import ReidError
from reid.evaluation.queries import SCHEMA, read_queries, write_queries

REFUSAL = r"^q: is not a table of scored queries \({}.*; make it with scripts/evaluate\.py --queries"
ABOUT = {"split": "valid", "trained_on": False}


@pytest.fixture(scope="module")
def queries(tmp_path_factory):
    return scored.make_queries(tmp_path_factory.mktemp("queries"))


def store(path, table, about=ABOUT):
    """Write a table with metadata of one's own: JSON's value, bytes, or None."""
    content = about if about is None or isinstance(about, bytes) else json.dumps(about)
    pq.write_table(table.replace_schema_metadata(None if about is None else {"reid": content}), path)
    return path


def changed(table, name, values, kind=None):
    """The table with another column; ``values`` may be a function of the old one's list."""
    values = values(table[name].to_pylist()) if callable(values) else values
    place = table.schema.get_field_index(name)
    return table.set_column(place, name, values if isinstance(values, pa.Array) else pa.array(values, kind))


def test_table_of_wider_types_with_more_columns_in_any_order_is_read(tmp_path, queries):
    table = queries.select(SCHEMA.names[::-1]).append_column("note", pa.array(["x"] * len(queries)))
    for name, kind in {"bbox_idx": pa.int64(), "height": pa.uint16(), "clazz": pa.large_string()}.items():
        table = changed(table, name, table[name].combine_chunks().cast(kind))
    table = changed(table, "championship", table["championship"].combine_chunks().dictionary_encode())
    read, about = read_queries(store(tmp_path / "q.parquet", table, {**ABOUT, "more": 1}), "q")
    assert (
        read.cast(SCHEMA).equals(queries.cast(SCHEMA)) and read.schema.remove_metadata() == SCHEMA and about == ABOUT
    )


def test_content_is_read_as_the_file_is(tmp_path, queries):
    write_queries(tmp_path / "q.parquet", queries, "test", True)
    assert read_queries((tmp_path / "q.parquet").read_bytes(), "q")[1] == {"split": "test", "trained_on": True}


@pytest.mark.parametrize(
    "about, problem",
    [
        (None, "its metadata do not say what it is"),
        (b"{", "its metadata: is not valid JSON"),
        (b"\xff", "its metadata: is not UTF-8"),
        (b"[" * 5000, "its metadata: is nested too deeply"),
        ([], "its metadata: .* is not an object"),
        ("valid", "its metadata: .* is not an object"),
        (3, "its metadata: 3 is not an object"),
        ({"split": "valid"}, "its metadata.trained_on is missing"),
        ({"trained_on": True}, "its metadata.split is missing"),
        ({"split": "train", "trained_on": True}, "its metadata.split: .* is not valid or test"),
        ({"split": None, "trained_on": True}, "its metadata.split: null is not"),
        ({"split": {"valid": 1}, "trained_on": True}, "its metadata.split: {...} is not"),
        ({"split": "valid", "trained_on": "no"}, 'its metadata.trained_on: "no" is not true or false'),
        ({"split": "valid", "trained_on": 0}, "its metadata.trained_on: 0 is not true or false"),
    ],
)
def test_foreign_metadata_are_refused_with_what_they_are(tmp_path, queries, about, problem):
    with pytest.raises(ReidError, match=REFUSAL.format(problem)):
        read_queries(store(tmp_path / "q.parquet", queries, about), "q")


def first(value):
    return lambda values: [value, *values[1:]]


FOREIGN = {
    "null number": ("AP", first(None), "a value of its column AP is null"),
    "null text": ("clazz", first(None), "a value of its column clazz is null"),
    "null bool": ("jersey_known", first(None), "a value of its column jersey_known is null"),
    "text for a number": ("AP", lambda values: list(map(str, values)), "its column AP is string, not double"),
    "whole numbers for fractions": ("AP", lambda values: [1] * len(values), "its column AP is int64, not double"),
    "fractions for whole numbers": (
        "bbox_idx",
        lambda values: [v + 0.0 for v in values],
        "its column bbox_idx is double",
    ),
    "numbers for texts": ("clazz", lambda values: [1] * len(values), "its column clazz is int64, not string"),
    "numbers for bool": (
        "jersey_known",
        lambda values: [1] * len(values),
        "its column jersey_known is int64, not",
    ),
    "categories of numbers": (
        "clazz",
        lambda v: pa.array([1] * len(v)).dictionary_encode(),
        "its column clazz is int64",
    ),
    "lists": ("AP", lambda values: [[v] for v in values], "its column AP is list<.*>, not double"),
    "AP above 1": ("AP", first(1.5), "AP is 1.5 in row 0, not a number from 0 to 1"),
    "AP below 0": ("AP", first(-0.1), "AP is -0.1 in row 0, not a number from 0 to 1"),
    "NaN": ("INP", first(np.nan), "INP is nan in row 0, not a number from 0 to 1"),
    "infinity": ("resolution_ratio", first(np.inf), "resolution_ratio is inf in row 0"),
    "no rank": (
        "first_match_rank",
        first(0),
        "first_match_rank is 0 in row 0, not a whole number from 1 to",
    ),
    "negative number": ("bbox_idx", first(-1), "bbox_idx is -1 in row 0, not a whole number from 0 to 2,147,483,647"),
    "number that does not fit": ("action_idx", first(2**40), "Integer value 1099511627776 not in range"),
    "query twice": ("bbox_idx", lambda values: [values[1], *values[1:]], "a query stands more than once"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_tables_are_refused_with_what_is_wrong(tmp_path, queries, kind):
    name, values, problem = FOREIGN[kind]
    path = store(tmp_path / "q.parquet", changed(queries, name, values))
    with pytest.raises(ReidError, match=REFUSAL.format(problem)):
        read_queries(path, "q")


@pytest.mark.parametrize("name", SCHEMA.names)
def test_each_column_must_be_there(tmp_path, queries, name):
    with pytest.raises(ReidError, match=f"q: is not a table of scored queries .*{name}"):
        read_queries(store(tmp_path / "q.parquet", queries.drop_columns([name])), "q")


def test_table_without_rows_is_refused(tmp_path, queries):
    with pytest.raises(ReidError, match="q: is not a table of scored queries .it has no rows"):
        read_queries(store(tmp_path / "q.parquet", queries.slice(0, 0)), "q")


def test_written_table_of_which_a_byte_has_changed_is_refused(tmp_path, queries):
    path = tmp_path / "q.parquet"
    write_queries(path, queries, "valid", False)
    content = path.read_bytes()
    for place in [0, len(content) - 1, *np.random.default_rng(0).integers(0, len(content), 25).tolist()]:
        other = bytearray(content)
        other[place] ^= 1 << place % 8
        path.write_bytes(other)
        with pytest.raises(ReidError, match=r"q\.parquet: is not what was written"):
            read_queries(path, path)
