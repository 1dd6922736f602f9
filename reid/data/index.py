"""The Parquet index of a split: one row per thumbnail, read from the zip's directory and checked.

Nothing is extracted. Rows are sorted by role and bbox_idx, so that position i of every later array is row i here.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from reid.core.cli import log
from reid.core.errors import ReidError, summarise
from reid.core.files import parse_json
from reid.core.splits import LABELLED, SPLITS
from reid.core.tables import about, numbers, read_parquet, write_parquet
from reid.data.completeness import missing
from reid.raw.archive import read_member
from reid.raw.directory import SMALLEST_PNG, Member, list_members
from reid.raw.filenames import LEVELS, Thumbnail, locate, parse_name, split_roles
from reid.raw.members import counted, normalise, shown, some, sort_paths
from reid.raw.sizes import check_image_size, most_label_bytes

SCHEMA = pa.schema(
    [
        ("role", pa.string()),
        ("bbox_idx", pa.int32()),
        ("action_idx", pa.int32()),
        ("person_uid", pa.int32()),
        ("frame_idx", pa.int32()),
        ("clazz", pa.string()),
        ("id", pa.string()),
        ("UAI", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("championship", pa.string()),
        ("season", pa.string()),
        ("game", pa.string()),
        ("action", pa.string()),
        ("member", pa.string()),
        ("offset", pa.int64()),
        ("packed", pa.int64()),
        ("size", pa.int64()),
        ("method", pa.int8()),
        ("crc", pa.uint32()),
    ]
)
_CORE = ("role", "bbox_idx", "action_idx")  # what every row has; of the others a split has all values or none
_MOST_LABELS = 2  # bbox_info.json of a zip: under either name
_LABELS = ("person_uid", "frame_idx", "clazz", "id", "UAI", *LEVELS)  # a split has all of them or none
COMPARED = ("role", "bbox_idx", "action_idx", "person_uid", "member")  # what rows must agree in
_ABOUT = {"split": SPLITS, "sha256": str}


def read_path(path: str, split: str) -> tuple[str, list[str], Thumbnail]:
    """Say of which thumbnail a member is.

    Args:
        path: as for :func:`reid.raw.filenames.locate`.
        split: which split the zip is of.

    Returns:
        (role, levels, Thumbnail): role and folders as :func:`locate` gives them; what the name says

    Raises:
        ValueError: it is not in a folder of this split, or its name is none that this split has.
    """
    role, levels, file = locate(path, split)
    thumbnail = parse_name(file)
    if split in LABELLED and thumbnail.person_uid is None:
        raise ValueError("has no labels in its name, but only the challenge has none")
    if split not in LABELLED and thumbnail.person_uid is not None:
        raise ValueError("has labels in its name, but those of the challenge are hidden")
    return role, levels, thumbnail


def build_index(zip_path: Path | str, split: str, published: bool = False) -> tuple[Any, Counter[str]]:
    """Read and check the directory of a zip.

    What looks like a thumbnail and is not used, numbers that are missing, and actions in several folders are said in
    warnings.

    Args:
        zip_path: the zip of one split.
        split: one of ``reid.core.splits.SPLITS``.
        published: whether it is the published data set, whose numbers of thumbnails are known.

    Returns:
        (pyarrow.Table, Counter): the index with :data:`SCHEMA`; how many members of which kind were passed over.

    Raises:
        ReidError: the zip cannot be read, or its content is not a SoccerNet-ReID split; all problems in one message.
    """
    members = list_members(zip_path)
    found = sort_paths([member.name for member in members], split)
    for line in found.aside:
        log.warning("%s: %s", zip_path, line)
    problems = list(found.lost)
    rows, wrong = _read_names([members[i] for i in found.images], split)
    problems += wrong
    if not rows and not problems:
        others = counted(found.passed_over) or "nothing at all"
        raise ReidError(f"{zip_path}: holds no thumbnails of {split}, but {others}")
    roles = {role: i for i, role in enumerate(split_roles(split))}
    rows.sort(key=lambda row: (roles[row[0]], row[1]))
    table = pa.table([pa.array([row[i] for row in rows], f.type) for i, f in enumerate(SCHEMA)], schema=SCHEMA)
    rows.clear()  # the tables' values as Python objects, which take ten times its memory
    if len(table):
        problems += inconsistencies(table, split)
        problems += _check_labels(zip_path, table, split, [members[i] for i in found.labels])
    if problems:
        raise ReidError(
            summarise(problems, f"{zip_path} is not a whole {split} split")
            + "\nFetch or pack the zip again; nothing is left out silently."
        )
    for line in [*missing(table, split, published), *_scattered(table)]:
        log.warning("%s: %s", zip_path, line)
    return table, found.passed_over


def _read_names(members: list[Member], split: str) -> tuple[list[tuple], list[str]]:
    """Read and check the names of images, each by itself.

    Returns:
        (list of tuples, list of str): rows of :data:`SCHEMA`; problems.
    """
    rows: list[tuple] = []
    problems: list[str] = []
    for member in members:
        name, offset, packed, size, method, crc, _, _ = member
        try:
            role, levels, thumbnail = read_path(name, split)
            if size < SMALLEST_PNG:
                raise ValueError(f"has {size} bytes, which is no image")
            if reason := member.problem():
                raise ValueError(reason)
            check_image_size(thumbnail.height, thumbnail.width, size)
        except ValueError as error:
            problems.append(f"{shown(name)}: {error}")
            continue
        where = (offset, packed, size, method, crc)
        rows.append((role, *thumbnail, *(levels or (None,) * len(LEVELS)), name, *where))
    return rows, problems


def inconsistencies(table: Any, split: str) -> list[str]:
    """Problems between rows: double bbox_idx, persons in two actions, empty roles, queries without a match.

    Args:
        table: the index (columns :data:`COMPARED`), in any order.
        split: which split it is of.
    """
    columns = [table[name].to_pylist() for name in COMPARED]
    problems: list[str] = []
    seen: dict[tuple[str, int], str] = {}
    action_of: dict[int, int] = {}
    for role, box, own, person, member in zip(*columns, strict=True):
        if (role, box) in seen:
            problems.append(f"{shown(member)}: bbox_idx {box} is already that of {shown(seen[role, box])}")
        seen[role, box] = member
        if person is not None and (action := action_of.setdefault(person, own)) != own:
            problems.append(
                f"{shown(member)}: person {person} is already in action {action}; person ids hold inside one action"
            )
    present = set(columns[0])
    problems += [f"{split}/{role}: there is no thumbnail" for role in split_roles(split) if role not in present]
    if split != "train":
        gallery = {(own, person) for role, _, own, person, _ in zip(*columns, strict=True) if role == "gallery"}
        actions, persons = ({pair[i] for pair in gallery} for i in (0, 1))
        for role, _, own, person, member in zip(*columns, strict=True):
            if role == "query" and own not in actions:
                problems.append(f"{shown(member)}: the gallery has no box of action {own}")
            elif role == "query" and person is not None and person not in persons:
                problems.append(f"{shown(member)}: person {person} has no match in the gallery")
    return problems


def _scattered(table: Any) -> list[str]:
    """Actions whose thumbnails lie in several folders, for a warning: that SoccerNet's do not is nowhere promised."""
    folders: dict[int, list[str]] = {}
    places = table.select(["action_idx", *LEVELS]).group_by(["action_idx", *LEVELS]).aggregate([])
    for row in places.sort_by([(name, "ascending") for name in places.column_names]).to_pylist():
        folders.setdefault(row["action_idx"], []).append("/".join(row[level] or "" for level in LEVELS))
    several = {action: paths for action, paths in folders.items() if len(paths) > 1}
    if not several:
        return []
    action, paths = next(iter(several.items()))
    return [
        f"{len(several):,} action{'s' * (len(several) > 1)} with thumbnails in more than one folder, as {action} in "
        f"{some(paths)}; whose negative a person is depends on the game that the folder names"
    ]


def read_bbox_info(
    content: bytes, split: str, name: Path | str = "bbox_info.json"
) -> dict[str, dict[int, dict[str, Any]]]:
    """Read the content of a ``bbox_info.json``.

    Args:
        content: of the file.
        split: train's file is one flat dictionary, the others have one for each role.
        name: what messages of :func:`reid.core.files.parse_json` call it.

    Returns:
        dict: role to {bbox_idx: record}; bbox_idx, action_idx and person_uid of a record are int, where it has them

    Raises:
        ReidError: it is not JSON, or a key stands twice.
        ValueError, KeyError, TypeError, AttributeError: it has another form.
    """
    data = parse_json(content, str(name))
    if split == "train" and isinstance(data, dict) and "train" not in data:
        data = {"train": data}
    if not isinstance(data, dict) or set(data) != set(split_roles(split)):
        raise ValueError(f"does not hold {' and '.join(split_roles(split))}")
    info: dict[str, dict[int, dict[str, Any]]] = {}
    for role, boxes in data.items():
        info[role] = {}
        for key, record in boxes.items():
            for field in ("bbox_idx", "action_idx", "person_uid"):
                value = record.get(field)
                whole = type(value) is int and 0 <= value < 10**9  # nearly all are
                if not whole and (value is not None or field == "bbox_idx"):
                    record[field] = _whole(value, f"{field} of {role} {_brief(key)}")
            if info[role].setdefault(record["bbox_idx"], record) is not record:
                raise ValueError(f"{role} holds a bbox_idx twice: {record['bbox_idx']}")
    return info


def _whole(value: Any, name: str) -> int:
    """A number of a record, which may be text.

    Raises:
        ValueError: it is not an integer that fits the index.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 and value == str(int(value)):
        value = int(value)
    if type(value) is not int or not 0 <= value < 10**9:
        raise ValueError(f"{name} is {_brief(value)}, not an integer from 0 to 999,999,999")
    return value


def _brief(value: Any) -> str:
    """A value from a file for a message."""
    text = shown(str(value))
    return text if len(text) <= 80 else f"{text[:80]} ..."


def _check_labels(zip_path: Path | str, table: Any, split: str, members: list[Member]) -> list[str]:
    """Problems of the ``bbox_info.json`` of a zip, and between them and the file names."""
    if len(members) > _MOST_LABELS:
        names = ", ".join(shown(member.name) for member in members[:3])
        return [f"there are {len(members)} bbox_info.json ({names}, ...); one is enough"]
    problems: list[str] = []
    most = most_label_bytes(len(table))
    with open(zip_path, "rb") as file:
        for member in members:
            name, offset, packed, size, method, crc, _, _ = member
            try:
                if reason := member.problem():
                    raise ValueError(reason)
                content = read_member(file.fileno(), name, offset, packed, size, method, crc, most)
            except ValueError as error:
                problems.append(f"{shown(name)}: cannot be unpacked ({error})")
                continue
            problems += _disagreements(table, split, shown(name), content)
    return problems


def _disagreements(table: Any, split: str, name: str, content: bytes) -> list[str]:
    """Problems between the file names and a ``bbox_info.json`` of the same zip."""
    try:
        info = read_bbox_info(content, split, name)
    except ReidError as error:
        return [str(error)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{name}: cannot be read as bbox_info.json ({error})"]
    problems: list[str] = []
    seen: dict[str, set[int]] = {role: set() for role in info}
    fields = [field for field in Thumbnail._fields if split in LABELLED or field in ("bbox_idx", "action_idx")]
    rows = table.select(["role", *Thumbnail._fields, *LEVELS, "member"])
    for row in (row for batch in rows.to_batches(1 << 14) for row in batch.to_pylist()):  # not 250,000 dicts at once
        record = info[row["role"]].get(row["bbox_idx"])
        seen[row["role"]].add(row["bbox_idx"])
        if record is None:
            problems.append(f"{shown(row['member'])}: is not in {name}")
            continue
        for field in fields:
            value, own = record.get(field), row[field]
            if (value != own or type(value) is not type(own)) and str(value) != str(own):  # numbers may be text
                problems.append(f"{shown(row['member'])}: {field} is {_brief(own)}, but {_brief(value)} in {name}")
        path = normalise(str(record.get("relative_path", ""))).strip("/")
        if split in LABELLED and path != "/".join(row[level] for level in LEVELS):
            problems.append(f"{shown(row['member'])}: relative_path is {_brief(path)} in {name}")
    for role, records in info.items():
        problems += [
            f"{name}: {role} {bbox_idx} is not in the zip" for bbox_idx in records if bbox_idx not in seen[role]
        ]
    return problems


def write_index(path: Path | str, table: Any, split: str, zip_sha256: str) -> None:
    """Write an index, with the split and the SHA-256 of its zip in the file's metadata."""
    what = json.dumps({"split": split, "sha256": zip_sha256})
    write_parquet(path, table.replace_schema_metadata({"reid": what}))


def read_index(path: Path | str, columns: Sequence[str] | None = None) -> tuple[Any, dict[str, str]]:
    """Read an index.

    Args:
        path: a file written by :func:`write_index`.
        columns: names of the columns wanted; those of :data:`SCHEMA` by default.

    Returns:
        (pyarrow.Table, dict): the columns; ``{"split": ..., "sha256": ...}``, the split one of
            ``reid.core.splits.SPLITS``.

    Raises:
        ReidError: the file is missing, is no index or one of no known split, or lacks one of these columns.
    """
    try:
        table = read_parquet(path, SCHEMA.names if columns is None else columns, "scripts/index.py")
        what = about(table, _ABOUT)
        _check_columns(table)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise ReidError(
            f"{path}: is not an index of this pipeline ({error}); make it with scripts/index.py"
        ) from error
    return table, what


def _check_columns(table: Any) -> None:
    """Check that columns hold what an index holds.

    Raises:
        ValueError: no row, another type, a value that is missing, negative or no size.
    """
    if not table.num_rows:
        raise ValueError("it has no rows")
    for field in SCHEMA:
        if field.name not in table.column_names:
            continue
        values = table[field.name]
        if values.type != field.type:
            raise ValueError(f"its column {field.name} is {values.type}, not {field.type}")
        if values.null_count not in ((0,) if field.name in _CORE else (0, len(values))):
            raise ValueError(f"its column {field.name} lacks {values.null_count:,} of its {len(values):,} values")
        if not values.null_count and not pa.types.is_string(field.type):
            smallest = numbers(values.combine_chunks()).min()
            if smallest < 0:
                raise ValueError(f"its column {field.name} has a negative number")
            if smallest < 1 and field.name in ("height", "width"):
                raise ValueError(f"its column {field.name} has a 0")
    hidden = {name: table[name].null_count > 0 for name in _LABELS if name in table.column_names}
    if len(set(hidden.values())) > 1:
        empty, full = (next(name for name in hidden if hidden[name] is state) for state in (True, False))
        raise ValueError(f"its column {empty} has no value, but {full} has; a split has all labels or none")
