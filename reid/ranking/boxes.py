"""The boxes that a ranking is about: read from any form of a split, with or without labels."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from reid.core.errors import ReidError
from reid.core.splits import SPLITS
from reid.core.tables import column, has_role, is_query
from reid.data.index import build_index, read_bbox_info, read_index
from reid.raw.archive import member_name, open_zip
from reid.raw.filenames import is_clutter, parse_name
from reid.retrieval.order import Ranked

SCHEMA = pa.schema(  # what a ranking needs of an index
    [("role", pa.string()), ("bbox_idx", pa.int32()), ("action_idx", pa.int32()), ("person_uid", pa.int32())]
)
BOX_COLUMNS = SCHEMA.names


def read_boxes(path: Path | str) -> pa.Table:
    """Read the boxes of a split from an index (``.parquet``), a raw zip or a ``bbox_info.json``.

    Returns:
        pyarrow.Table with :data:`SCHEMA`, as an index has them: queries, then gallery, each by bbox_idx; person_uid is
        null where it is hidden.

    Raises:
        ReidError: the file is none of the three, or of the training split.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        table = read_index(path, BOX_COLUMNS)[0]
    elif path.suffix == ".zip":
        table = build_index(path, _split_of(path))[0].select(BOX_COLUMNS)
    elif path.suffix == ".json":
        table = _read_json(path)
    else:
        raise ReidError(f"{path}: give an index (.parquet), a raw zip (.zip) or a bbox_info.json (.json)")
    if has_role(table, "train").any():
        raise ReidError(f"{path}: is of the training split, which has no queries")
    if not is_query(table).any():
        raise ReidError(f"{path}: holds no query")
    return table


def _read_json(path: Path) -> pa.Table:
    """The boxes of a ``bbox_info.json`` of valid, test or challenge."""
    try:
        info = read_bbox_info(path.read_bytes(), split="valid")
        rows = []
        for role in ("query", "gallery"):
            for idx, record in sorted(info[role].items()):
                person = record.get("person_uid")
                rows.append((role, idx, int(record["action_idx"]), None if person is None else int(person)))
        return pa.table([pa.array([row[i] for row in rows], f.type) for i, f in enumerate(SCHEMA)], schema=SCHEMA)
    except OSError as error:
        raise ReidError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise ReidError(f"{path}: is not a bbox_info.json of valid, test or challenge ({error!r})") from error


def _split_of(path: Path) -> str:
    """The split of a zip, from its members: the challenge has names without labels."""
    with open_zip(path) as archive:
        for info in archive.infolist():
            name = member_name(info)
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
