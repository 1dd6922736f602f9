"""The Parquet index of a split: one row per thumbnail, read from the zip's directory and checked.

Nothing is extracted. Rows are sorted by role and bbox_idx, so that position i of every later array is row i here.
"""

import json
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reid.core.errors import ReidError, summarise
from reid.core.files import replacing
from reid.core.splits import LABELLED
from reid.core.tables import read_parquet
from reid.raw.archive import member_name, open_zip
from reid.raw.filenames import Thumbnail, is_clutter, parse_name, split_roles

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
_SMALLEST_PNG = 57  # bytes: signature, header and end with nothing between
_LEVELS = ("championship", "season", "game", "action")


def locate(name: str, split: str) -> tuple[str, list[str], str]:
    """Say where a member belongs.

    Args:
        name: the member's name in the zip; the leading split folder may be missing.
        split: which split the zip is of.

    Returns:
        (role, levels, file): role of the member; its folders below the role; its last part.

    Raises:
        ValueError: it is not in a folder of this split.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if parts and parts[0] == split:
        parts = parts[1:]
    *folders, file = parts
    if split == "train":
        role = "train"
    elif folders and folders[0] in ("query", "gallery"):
        role = folders.pop(0)
    else:
        raise ValueError(f"is not below {split}/query or {split}/gallery")
    depth = 0 if split == "challenge" else len(_LEVELS)
    if len(folders) != depth:
        below = "directly in its role's folder" if depth == 0 else "in <championship>/<season>/<game>/<action>"
        raise ValueError(f"lies {len(folders)} folders deep, not {below}")
    return role, folders, file


def build_index(zip_path: Path | str, split: str) -> tuple[Any, Counter[str]]:
    """Read and check the directory of a zip.

    Args:
        zip_path: the zip of one split.
        split: one of ``reid.core.splits.SPLITS``.

    Returns:
        (pyarrow.Table, Counter): the index with :data:`SCHEMA`; how many members of which kind were passed over.

    Raises:
        ReidError: the zip cannot be read, or its content is not a SoccerNet-ReID split; all problems in one message.
    """
    rows, infos, problems, passed_over = _read_directory(zip_path, split)
    if not rows and not problems:
        raise ReidError(f"{zip_path}: holds no thumbnails of {split}; is it the zip of another split?")
    roles = {role: i for i, role in enumerate(split_roles(split))}
    rows.sort(key=lambda row: (roles[row[0]], row[1]))
    table = pa.table([pa.array([row[i] for row in rows], f.type) for i, f in enumerate(SCHEMA)], schema=SCHEMA)
    rows.clear()  # the tables' values as Python objects, which take ten times its memory
    problems += _inconsistencies(table, split)
    for name, content in infos:
        problems += _disagreements(table, split, name, content)
    if problems:
        raise ReidError(
            summarise(problems, f"{zip_path} is not a whole {split} split")
            + "\nFetch or pack the zip again; nothing is left out silently."
        )
    return table, passed_over


def _read_directory(
    zip_path: Path | str, split: str
) -> tuple[list[tuple], list[tuple[str, bytes]], list[str], Counter[str]]:
    """Read and check the names in a zip, each by itself.

    Returns:
        (list of tuples, list, list, Counter): rows of :data:`SCHEMA`; name and content of each bbox_info.json;
        problems; how many members of which kind were passed over.
    """
    labelled = split in LABELLED
    rows: list[tuple] = []
    infos: list[tuple[str, bytes]] = []
    problems: list[str] = []
    passed_over: Counter[str] = Counter()
    with open_zip(zip_path) as archive:
        for info in archive.infolist():
            if info.filename.endswith("/"):
                continue
            name = member_name(info)
            if is_clutter(name):
                passed_over["clutter of file browsers and packers"] += 1
                continue
            if name.endswith("bbox_info.json"):
                try:
                    infos.append((name, archive.read(info)))
                except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
                    problems.append(f"{name}: cannot be unpacked ({error})")
                continue
            if not name.lower().endswith(".png"):
                passed_over[f"other files ({PurePosixPath(name).suffix or 'no suffix'})"] += 1
                continue
            try:
                role, levels, file = locate(name, split)
                thumbnail = parse_name(file)
                if labelled and thumbnail.person_uid is None:
                    raise ValueError("has no labels in its name, but only the challenge has none")
                if not labelled and thumbnail.person_uid is not None:
                    raise ValueError("has labels in its name, but those of the challenge are hidden")
                if info.file_size < _SMALLEST_PNG:
                    raise ValueError(f"has {info.file_size} bytes, which is no image")
                if info.flag_bits & 1:
                    raise ValueError("is encrypted; pack the zip without a password")
                if info.compress_type not in (0, 8):
                    raise ValueError(f"has compression method {info.compress_type}; pack it stored or deflated")
            except ValueError as error:
                problems.append(f"{name}: {error}")
                continue
            where = (info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC)
            rows.append((role, *thumbnail, *(levels or (None,) * len(_LEVELS)), info.filename, *where))
    return rows, infos, problems, passed_over


def _inconsistencies(table: Any, split: str) -> list[str]:
    """Problems between rows: double bbox_idx, persons in two actions, empty roles, queries without a match."""
    names = ("role", "bbox_idx", "action_idx", "person_uid", "member")
    columns = [table[name].to_pylist() for name in names]
    problems: list[str] = []
    seen: dict[tuple[str, int], str] = {}
    action_of: dict[int, int] = {}
    for role, box, own, person, member in zip(*columns, strict=True):
        if (role, box) in seen:
            problems.append(f"{member}: bbox_idx {box} is already that of {seen[role, box]}")
        seen[role, box] = member
        if person is not None and (action := action_of.setdefault(person, own)) != own:
            problems.append(
                f"{member}: person {person} is already in action {action}; person ids hold inside one action"
            )
    present = set(columns[0])
    problems += [f"{split}/{role}: there is no thumbnail" for role in split_roles(split) if role not in present]
    if split != "train":
        gallery = {(own, person) for role, _, own, person, _ in zip(*columns, strict=True) if role == "gallery"}
        actions, persons = ({pair[i] for pair in gallery} for i in (0, 1))
        for role, _, own, person, member in zip(*columns, strict=True):
            if role == "query" and own not in actions:
                problems.append(f"{member}: the gallery has no box of action {own}")
            elif role == "query" and person is not None and person not in persons:
                problems.append(f"{member}: person {person} has no match in the gallery")
    return problems


def read_bbox_info(content: bytes | str, split: str) -> dict[str, dict[int, dict[str, Any]]]:
    """Read the content of a ``bbox_info.json``.

    Args:
        content: of the file.
        split: train's file is one flat dictionary, the others have one for each role.

    Returns:
        dict: role to {bbox_idx: record}

    Raises:
        ValueError: it has another form.
    """
    data = json.loads(content)
    if split == "train" and isinstance(data, dict) and "train" not in data:
        data = {"train": data}
    if not isinstance(data, dict) or set(data) != set(split_roles(split)):
        raise ValueError(f"does not hold {' and '.join(split_roles(split))}")
    info = {role: {int(record["bbox_idx"]): record for record in boxes.values()} for role, boxes in data.items()}
    for role, boxes in data.items():
        if len(info[role]) != len(boxes):
            raise ValueError(f"{role} holds a bbox_idx twice")
    return info


def _disagreements(table: Any, split: str, name: str, content: bytes) -> list[str]:
    """Problems between the file names and a ``bbox_info.json`` of the same zip."""
    try:
        info = read_bbox_info(content, split)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{name}: cannot be read as bbox_info.json ({error})"]
    problems: list[str] = []
    seen: dict[str, set[int]] = {role: set() for role in info}
    fields = [field for field in Thumbnail._fields if split in LABELLED or field in ("bbox_idx", "action_idx")]
    for row in table.select(["role", *Thumbnail._fields, *_LEVELS, "member"]).to_pylist():
        record = info[row["role"]].get(row["bbox_idx"])
        seen[row["role"]].add(row["bbox_idx"])
        if record is None:
            problems.append(f"{row['member']}: is not in {name}")
            continue
        for field in fields:
            if str(record.get(field)) != str(row[field]):
                problems.append(f"{row['member']}: {field} is {row[field]}, but {record.get(field)} in {name}")
        path = unicodedata.normalize("NFC", str(record.get("relative_path", ""))).strip("/")
        if split in LABELLED and path != "/".join(row[level] for level in _LEVELS):
            problems.append(f"{row['member']}: relative_path is {path} in {name}")
    for role, records in info.items():
        problems += [
            f"{name}: {role} {bbox_idx} is not in the zip" for bbox_idx in records if bbox_idx not in seen[role]
        ]
    return problems


def write_index(path: Path | str, table: Any, split: str, zip_sha256: str) -> None:
    """Write an index, with the split and the SHA-256 of its zip in the file's metadata."""
    about = json.dumps({"split": split, "sha256": zip_sha256})
    with replacing(path) as partial:
        pq.write_table(table.replace_schema_metadata({"reid": about}), partial, compression="zstd")


def read_index(path: Path | str, columns: Sequence[str] | None = None) -> tuple[Any, dict[str, str]]:
    """Read an index.

    Args:
        path: a file written by :func:`write_index`.
        columns: names of the columns wanted; all by default.

    Returns:
        (pyarrow.Table, dict): the columns; ``{"split": ..., "sha256": ...}``.

    Raises:
        ReidError: the file is missing or is no index.
    """
    try:
        table = read_parquet(path, columns, "scripts/index.py")
        return table, json.loads(table.schema.metadata[b"reid"])
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise ReidError(
            f"{path}: is not an index of this pipeline ({error}); make it with scripts/index.py"
        ) from error
