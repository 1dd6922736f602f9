"""The boxes that a ranking is about: read from any form of a split, with or without labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from reid.core import file_type
from reid.core.checksums import read_verified
from reid.core.errors import ReidError
from reid.core.files import regular
from reid.core.splits import SPLITS
from reid.core.tables import column, is_query, labels
from reid.data.index import build_index, read_bbox_info, read_index
from reid.raw.directory import list_members
from reid.raw.filenames import is_clutter, parse_name
from reid.retrieval.order import Ranked

SCHEMA = pa.schema(  # what a ranking needs of an index
    [("role", pa.string()), ("bbox_idx", pa.int32()), ("action_idx", pa.int32()), ("person_uid", pa.int32())]
)
BOX_COLUMNS = SCHEMA.names
_FORMS = "give an index (.parquet), a raw zip (.zip) or a bbox_info.json (.json)"
_LARGEST = 1 << 28  # bytes of a bbox_info.json: ten times what the largest split with queries takes


def read_boxes(path: Path | str) -> pa.Table:
    """Read the boxes of a split from an index (Parquet), a raw zip or a ``bbox_info.json``; its content says which.

    Returns:
        pyarrow.Table with :data:`SCHEMA`, as an index has them: queries, then gallery, each by bbox_idx; person_uid is
        null where it is hidden.

    Raises:
        ReidError: the file is none of the three, or of the training split.
    """
    if Path(path).is_dir():  # as the dev kit leaves the challenge
        raise ReidError(
            f"{path}: is a directory, not a file; {_FORMS}; of the dev kit's folders (download.path) "
            "`snakemake --cores 1 data/index/challenge.parquet` makes an index"
        )
    path = regular(path)
    with open(path, "rb") as file:
        what = file_type.describe_bytes(file.read(512))
    if what.startswith("a Parquet file"):
        return read_queried(path, BOX_COLUMNS)[0]
    if what.startswith(("a zip", "an empty zip")):
        table = build_index(path, _split_of(path))[0].select(BOX_COLUMNS)
    elif what.startswith("JSON"):
        table = _read_json(path)
    else:
        raise ReidError(f"{path}: is {what}; {_FORMS}")
    _check_queries(table, path)
    return table


def read_queried(path: Path | str, columns: Sequence[str], labelled: bool = False) -> tuple[pa.Table, dict[str, str]]:
    """Read the index of a split that has queries, as :func:`reid.data.index.read_index` does.

    Args:
        path: the index.
        columns: names of the columns wanted, role among them.
        labelled: whether its labels must be known; then person_uid is among the columns.

    Raises:
        ReidError: the file is no index, its split has no queries, or its labels are hidden, or a query has no match.
    """
    table, about = read_index(path, columns)
    _check_queries(table, path)
    if labelled:
        if table["person_uid"].null_count:
            raise ReidError(f"{path}: has no labels to score with (those of {about['split']} are hidden)")
        _check_matches(table, path)
    return table, about


def _check_queries(table: pa.Table, path: Path | str) -> None:
    """Check that boxes can be ranked: each query's action has gallery boxes, and no box stands twice."""
    code, roles = labels(table, "role")
    if "train" in roles:
        raise ReidError(f"{path}: is of the training split, which has no queries")
    if "query" not in roles:
        raise ReidError(f"{path}: holds no query")
    query, gallery = (code == (roles.index(role) if role in roles else len(roles)) for role in ("query", "gallery"))
    if not (query | gallery).all():
        raise ReidError(f"{path}: holds boxes that are neither of the queries nor of the gallery")
    bbox, action = column(table, "bbox_idx"), column(table, "action_idx")
    for role, rows in (("query", query), ("gallery", gallery)):
        if len(wrong := np.flatnonzero(np.diff(bbox[rows]) <= 0)):
            before, after = bbox[rows][wrong[0] : wrong[0] + 2]
            raise ReidError(f"{path}: {role} {after} stands behind {before}; each box stands once, in ascending order")
    if len(alone := np.flatnonzero(query & ~np.isin(action, action[gallery]))):
        first = alone[0]
        raise ReidError(f"{path}: query {bbox[first]}: the gallery has no box of its action {action[first]}")


def _check_matches(table: pa.Table, path: Path | str) -> None:
    """Check that each query's person is in the gallery of its action."""
    query = is_query(table)
    person = column(table, "action_idx") << 32 | column(table, "person_uid")  # ids of people hold inside one action
    if len(alone := np.flatnonzero(query & ~np.isin(person, person[~query]))):
        box = table["bbox_idx"][int(alone[0])]
        raise ReidError(f"{path}: query {box}: its person is not in the gallery, so it cannot be scored")


def _read_json(path: Path) -> pa.Table:
    """The boxes of a ``bbox_info.json`` of valid, test or challenge."""
    try:
        info = read_bbox_info(read_verified(path, _LARGEST), "valid", path)
        rows = []
        for role in ("query", "gallery"):
            for idx, record in sorted(info[role].items()):
                if record.get("action_idx") is None:
                    raise ValueError(f"{role} {idx}: action_idx is missing")
                rows.append((role, idx, record["action_idx"], record.get("person_uid")))
        if len({person is None for *_, person in rows}) > 1:
            raise ValueError("some boxes have a person_uid and some have none")
        return pa.table([pa.array([row[i] for row in rows], f.type) for i, f in enumerate(SCHEMA)], schema=SCHEMA)
    except OSError as error:
        raise ReidError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise ReidError(f"{path}: is not a bbox_info.json of valid, test or challenge ({error})") from error


def _split_of(path: Path) -> str:
    """The split of a zip, from its members: the challenge has names without labels."""
    for name in (member.name for member in list_members(path)):
        if name.split("/")[0] in SPLITS:
            return name.split("/")[0]
        if name.endswith(".png") and not is_clutter(name):
            try:
                labelled = parse_name(name.rsplit("/", 1)[-1]).person_uid is not None
            except ValueError:
                continue
            return "valid" if labelled else "challenge"
    raise ReidError(f"{path}: holds no thumbnails")


def rows_of(ranked: Ranked, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Where the boxes of a checked ranking stand in the index.

    Args:
        ranked: the ranking.
        table: the index (columns role, bbox_idx); it ascends with bbox_idx inside a role.

    Returns:
        (int64 array, int64 array): row of the query and of the box of each (query, gallery box) in ranked order
    """
    bbox, query = column(table, "bbox_idx"), is_query(table)
    own, other = (
        np.flatnonzero(part)[np.searchsorted(bbox[part], boxes)]
        for part, boxes in ((query, ranked.query), (~query, ranked.gallery))
    )
    return own, other
