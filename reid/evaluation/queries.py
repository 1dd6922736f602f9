"""What is known of each query and how it was ranked: one row per query, by bbox_idx.

Columns are made and read without pandas (see :mod:`reid.core.tables`).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reid.core.errors import ReidError
from reid.core.forms import SHARE, Number
from reid.core.splits import SCORED
from reid.core.tables import about, arrow, column, labels, numbers, read_parquet, values, write_parquet
from reid.retrieval.metrics import average_precision, chance_ap, first_match_rank, inverse_negative_penalty

INDEX_COLUMNS = ["role", "bbox_idx", "action_idx", "person_uid", "clazz", "id", "height", "championship"]
SCHEMA = pa.schema(
    [
        ("bbox_idx", pa.int32()),
        ("action_idx", pa.int32()),
        ("championship", pa.string()),
        ("clazz", pa.string()),
        ("jersey_known", pa.bool_()),  # the field ID of the name is a number
        ("height", pa.int32()),  # pixels
        ("resolution_ratio", pa.float64()),  # height of the query / height of its tallest true match
        ("gallery_size", pa.int32()),
        ("positives", pa.int32()),
        ("first_match_rank", pa.int32()),  # rank, from 1
        ("last_match_rank", pa.int32()),
        ("AP", pa.float64()),
        ("INP", pa.float64()),
        ("chance_AP", pa.float64()),
    ]
)
_MAKER = "scripts/evaluate.py --queries, of a ranking with scripts/score_ranking.py --queries"
_ABOUT = {"split": SCORED, "trained_on": bool}
_TEXTS = (pa.string(), pa.large_string())
_ALIKE = {  # what is taken for a type
    pa.int32(): pa.types.is_integer,
    pa.float64(): pa.types.is_floating,
    pa.bool_(): pa.types.is_boolean,
    pa.string(): lambda kind: (kind.value_type if pa.types.is_dictionary(kind) else kind) in _TEXTS,
}
_FROM_0, _FROM_1 = (Number(low, 2**31 - 1, whole=True) for low in (0, 1))
_RANGES = {
    **dict.fromkeys(("bbox_idx", "action_idx"), _FROM_0),
    **dict.fromkeys(("height", "gallery_size", "positives", "first_match_rank", "last_match_rank"), _FROM_1),
    **dict.fromkeys(("AP", "INP", "chance_AP"), SHARE),
    "resolution_ratio": Number(0, 1e9),
}


def query_table(
    match: np.ndarray, start: np.ndarray, gallery_row: np.ndarray, query_row: np.ndarray, table: pa.Table
) -> pa.Table:
    """The table of all queries.

    Args:
        match, start: as for :func:`reid.retrieval.metrics.average_precision`.
        gallery_row: int64 array, row of each ranked box in the index.
        query_row: int64 array, row of each query in the index.
        table: the index (:data:`INDEX_COLUMNS`).

    Returns:
        pyarrow.Table with :data:`SCHEMA`, in the order of ``query_row``
    """
    rows = arrow(query_row, pa.int64())
    height = column(table, "height")
    size = np.diff(start, append=len(match))
    positives = np.add.reduceat(match.astype(np.int64), start)
    penalty = inverse_negative_penalty(match, start)
    code, ids = labels(table, "id")
    known = np.array([text.isdigit() for text in ids], bool)
    columns = {
        "bbox_idx": column(table, "bbox_idx")[query_row],
        "action_idx": column(table, "action_idx")[query_row],
        "championship": table["championship"].combine_chunks().take(rows),
        "clazz": table["clazz"].combine_chunks().take(rows),
        "jersey_known": known[code[query_row]],
        "height": height[query_row],
        "resolution_ratio": height[query_row] / np.maximum.reduceat(np.where(match, height[gallery_row], 0), start),
        "gallery_size": size,
        "positives": positives,
        "first_match_rank": first_match_rank(match, start),
        "last_match_rank": np.rint(positives / penalty),
        "AP": average_precision(match, start),
        "INP": penalty,
        "chance_AP": chance_ap(size, positives),
    }
    arrays = [
        columns[field.name] if isinstance(columns[field.name], pa.Array) else arrow(columns[field.name], field.type)
        for field in SCHEMA
    ]
    return pa.table(arrays, schema=SCHEMA)


def write_queries(path: Path | str, table: pa.Table, split: str, trained_on: bool) -> None:
    """Write a query table, with the split, and whether it was trained on, in the file's metadata."""
    what = json.dumps({"split": split, "trained_on": trained_on})
    write_parquet(path, table.replace_schema_metadata({"reid": what}))


def read_queries(source: Path | str | bytes, name: Path | str) -> tuple[pa.Table, dict[str, Any]]:
    """Read a query table.

    Args:
        source: a file written by :func:`write_queries`, or its content.
        name: what to call it in messages.

    Returns:
        (pyarrow.Table, dict): the table with :data:`SCHEMA`; ``{"split": ..., "trained_on": ...}``

    Raises:
        ReidError: the file is missing or is no such table.
    """
    try:
        table = read_parquet(source, SCHEMA.names, _MAKER)
        split = about(table, _ABOUT)
        return _cast(table), {"split": split["split"], "trained_on": split["trained_on"]}
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise ReidError(f"{name}: is not a table of scored queries ({error}); make it with {_MAKER}") from error


def _cast(table: pa.Table) -> pa.Table:
    """A query table with :data:`SCHEMA` and with values that scores can have.

    Raises:
        ValueError, pyarrow.ArrowException: it is something else.
    """
    if not len(table):
        raise ValueError("it has no rows")
    for field in SCHEMA:
        kind = table.schema.field(field.name).type
        if not _ALIKE[field.type](kind):
            raise ValueError(f"its column {field.name} is {kind}, not {field.type}")
    table = table.select(SCHEMA.names).cast(SCHEMA).combine_chunks()
    for field in SCHEMA:
        array = table[field.name].combine_chunks()
        if array.null_count:
            raise ValueError(f"a value of its column {field.name} is null")
        if field.name in _RANGES:
            wanted, given = _RANGES[field.name], numbers(array)
            outside = np.flatnonzero(~((given >= wanted.low) & (given <= wanted.high)))  # NaN, too
            if len(outside):
                raise ValueError(f"{field.name} is {given[outside[0]]} in row {outside[0]}, not {wanted}")
    if len(np.unique(values(table, "bbox_idx"))) < len(table):
        raise ValueError("a query stands more than once")
    return table
