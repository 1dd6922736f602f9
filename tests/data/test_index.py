"""The index of a split: one row per thumbnail, sorted, checked, and every problem named."""

import argparse
import hashlib
import json
import os
import random
import re
import runpy
import subprocess
import sys
import tracemalloc
import unicodedata
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import ROOT
from builders.split import TinySplit
from builders.zips import Part, write_parts
from reid.core.errors import ReidError
from reid.core.splits import SPLITS
from reid.data.index import SCHEMA, build_index, read_index, write_index
from reid.raw.archive import read_member

LEVELS = ("championship", "season", "game", "action")
HIDDEN = ("person_uid", "frame_idx", "clazz", "id", "UAI", *LEVELS)
SPELLINGS = {
    "./ before": lambda name: f"./{name}",
    "backslashes": lambda name: name.replace("/", "\\"),
    ".\\ and backslashes": lambda name: ".\\" + name.replace("/", "\\"),
    "/ before": lambda name: f"/{name}",
    "//": lambda name: name.replace("/", "//"),
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
}
PLACES = ["offset"]  # the only column that follows the order of the members in the file


def fails(path, split, *patterns, problems=None):
    """The index is refused, and each pattern is found in one line of the message."""
    with pytest.raises(ReidError) as caught:
        build_index(path, split)
    message = str(caught.value)
    assert message.startswith(str(path))
    for pattern in patterns:
        assert any(re.search(pattern, line) for line in message.splitlines()), f"{pattern!r} is not in {message}"
    if problems is not None:
        assert f": {problems} problem{'s' if problems != 1 else ''}\n" in message, message
    return message


def expected_rows(tiny):
    """The rows of a tiny split, from its records alone."""
    rows = []
    for role in ("train", "query", "gallery"):
        for box in sorted((b for b in tiny.boxes if b["role"] == role), key=lambda b: b["bbox_idx"]):
            row = {key: value for key, value in box.items() if key != "relative_path"}
            row |= dict(zip(LEVELS, box["relative_path"].split("/"), strict=True))
            rows.append(row | (dict.fromkeys(HIDDEN) if tiny.split == "challenge" else {}))
    return rows


def plain_parse(path, split):
    """A second way to the rows: names cut with os.path and split("-")."""
    rows = []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".png"):
                continue
            folder, file = os.path.split(os.path.relpath(info.filename, split))
            fields = os.path.splitext(file)[0].split("-")
            height, width = fields.pop().split("x")
            row = {"role": "train" if split == "train" else folder.split("/")[0], "member": info.filename}
            row |= {"bbox_idx": int(fields[0]), "action_idx": int(fields[1])}
            row |= {"height": int(height), "width": int(width), **dict.fromkeys(HIDDEN)}
            if split != "challenge":
                row |= {"person_uid": int(fields[2]), "frame_idx": int(fields[3])}
                row |= {"clazz": fields[4], "id": fields[5], "UAI": fields[6]}
                row |= dict(zip(LEVELS, folder.split("/")[-4:], strict=True))
            row |= {"offset": info.header_offset, "packed": info.compress_size, "size": info.file_size}
            rows.append(row | {"method": info.compress_type, "crc": info.CRC})
    return sorted(rows, key=lambda row: (["train", "query", "gallery"].index(row["role"]), row["bbox_idx"]))


# ---- the contract


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("leading", [True, False], ids=["with the split's folder", "without"])
def test_rows_say_what_the_records_say(make_zip, split, leading):
    tiny = TinySplit(split)
    table, passed_over = build_index(make_zip(tiny.members(leading)), split)
    rows = expected_rows(tiny)
    assert table.select([*rows[0]]).to_pylist() == rows
    assert table.schema.equals(SCHEMA) and not passed_over


def test_schema_has_a_column_for_every_field():
    text, int32, int64 = pa.string(), pa.int32(), pa.int64()
    assert {field.name: field.type for field in SCHEMA} == {
        **dict.fromkeys(["role", "clazz", "id", "UAI", *LEVELS, "member"], text),
        **dict.fromkeys(["bbox_idx", "action_idx", "person_uid", "frame_idx", "height", "width"], int32),
        **dict.fromkeys(["offset", "packed", "size"], int64),
        **{"method": pa.int8(), "crc": pa.uint32()},
    }


def test_hidden_labels_are_null(make_zip):
    table, _ = build_index(make_zip(TinySplit("challenge").members()), "challenge")
    assert all(table[name].null_count == len(table) for name in HIDDEN)
    assert all(table[name].null_count == 0 for name in SCHEMA.names if name not in HIDDEN)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_labels_that_are_known_are_never_null(make_zip, split):
    table, _ = build_index(make_zip(TinySplit(split).members()), split)
    assert sum(table[name].null_count for name in SCHEMA.names) == 0


def test_rows_are_sorted_by_number_and_not_by_name(make_zip):
    """Query comes before gallery, and 9 before 10."""
    tiny = TinySplit("valid")
    numbers = {"query": [10, 2, 9, 100], "gallery": [3, 30, 9, 11, 100, 0]}
    for box in tiny.boxes:
        box["bbox_idx"] = numbers[box["role"]].pop()
    table, _ = build_index(make_zip(tiny.members()), "valid")
    assert table["role"].to_pylist() == ["query"] * 4 + ["gallery"] * 6
    assert table["bbox_idx"].to_pylist() == [2, 9, 10, 100, 0, 3, 9, 11, 30, 100]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_row_leads_to_its_image(make_zip, method):
    tiny = TinySplit("valid")
    members = tiny.members()
    path = make_zip(members, method=method)
    table, _ = build_index(path, "valid")
    with open(path, "rb") as file:
        for row in table.to_pylist():
            place = (row["offset"], row["packed"], row["size"], row["method"], row["crc"])
            assert read_member(file.fileno(), row["member"], *place) == members[row["member"]]
            assert row["member"] == "valid/" + tiny.name(tiny.box(row["role"], row["bbox_idx"]))


def test_order_of_the_directory_does_not_matter_to_the_bytes(tmp_path, make_zip):
    """The same members at the same places, listed in another order."""
    indexes = []
    for seed in range(3):
        path = make_zip(TinySplit("valid").members(), f"{seed}.zip")
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = b"written again"
            random.Random(seed).shuffle(archive.filelist)
        write_index(tmp_path / f"{seed}.parquet", build_index(path, "valid")[0], "valid", "0" * 64)
        indexes.append((tmp_path / f"{seed}.parquet").read_bytes())
    assert indexes[0] == indexes[1] == indexes[2]


@pytest.mark.parametrize("split", SPLITS)
def test_order_of_the_members_changes_their_places_alone(make_zip, split):
    members = list(TinySplit(split).members().items())
    one, _ = build_index(make_zip(members, "one.zip"), split)
    random.Random(1).shuffle(members)
    two, _ = build_index(make_zip(members, "two.zip"), split)
    assert not one["offset"].equals(two["offset"])
    assert one.drop_columns(PLACES).equals(two.drop_columns(PLACES))


@pytest.mark.parametrize("split", SPLITS)
def test_leading_folder_changes_member_and_place_alone(make_zip, split):
    one, _ = build_index(make_zip(TinySplit(split).members(), "one.zip"), split)
    two, _ = build_index(make_zip(TinySplit(split).members(leading=False), "two.zip"), split)
    assert [f"{split}/{name}" for name in two["member"].to_pylist()] == one["member"].to_pylist()
    assert one.drop_columns([*PLACES, "member"]).equals(two.drop_columns([*PLACES, "member"]))


def test_file_is_the_same_every_time_and_names_its_zip(tmp_path, make_zip):
    table, _ = build_index(make_zip(TinySplit("valid").members()), "valid")
    for name in ("one", "two"):
        write_index(tmp_path / f"{name}.parquet", table, "valid", "ab" * 32)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    read, about = read_index(tmp_path / "one.parquet")
    assert about == {"split": "valid", "sha256": "ab" * 32}
    assert read.replace_schema_metadata(None).equals(table) and read.schema.equals(SCHEMA)


def test_some_columns_can_be_read(tmp_path, make_zip):
    table, _ = build_index(make_zip(TinySplit("valid").members()), "valid")
    write_index(tmp_path / "a.parquet", table, "valid", "0" * 64)
    read, about = read_index(tmp_path / "a.parquet", ["width", "role"])
    assert sorted(read.column_names) == ["role", "width"] and about["split"] == "valid"


@pytest.mark.parametrize("name", SCHEMA.names)
def test_index_without_one_of_its_columns_is_refused_where_all_are_wanted(tmp_path, make_zip, name):
    table, _ = build_index(make_zip(TinySplit("train").members()), "train")
    write_index(tmp_path / "a.parquet", table.drop_columns(name), "train", "0" * 64)
    with pytest.raises(ReidError, match=f"a.parquet: is not an index .*{name}.*; make it with scripts/index.py$"):
        read_index(tmp_path / "a.parquet")
    assert read_index(tmp_path / "a.parquet", [n for n in SCHEMA.names if n != name])[0].num_columns == 19


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "another table", "no such column"])
def test_what_is_no_index_is_refused(tmp_path, kind):
    path, columns = tmp_path / "a.parquet", None
    if kind == "another table":
        pq.write_table(pa.table({"x": [1]}), path)
    elif kind == "no such column":
        pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"reid": "{}"}), path)
        columns = ["role"]
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"role,bbox_idx\n" * 10)
    reason = "there is no such file" if kind == "missing" else "is not an index of this pipeline"
    with pytest.raises(ReidError, match=f"a.parquet: {reason}.*make it with scripts/index.py"):
        read_index(path, columns)


def without_values(values, type):
    return pa.array([None, *values[1:]], type)


@pytest.mark.parametrize("split", ["train", "valid", "challenge"])
@pytest.mark.parametrize(
    "name, change, reason",
    [
        *[
            (name, without_values, "lacks 1 of its 10 values")
            for name in ("bbox_idx", "role", "member", "offset", "crc")
        ],
        *[
            (name, lambda v, _: pa.array([float(x) for x in v]), "is double, not int")
            for name in ("bbox_idx", "width")
        ],
        *[(name, lambda v, _: pa.array(list(map(str, v))), "is string, not") for name in ("action_idx", "offset")],
        *[(name, lambda v, t: pa.array([-1, *v[1:]], t), "has a negative number") for name in ("bbox_idx", "packed")],
        *[(name, lambda v, t: pa.array([0, *v[1:]], t), r"has a 0\)") for name in ("height", "width")],
        ("role", lambda v, _: pa.array([1] * len(v)), "is int64, not string"),
        ("action_idx", lambda v, t: pa.nulls(len(v), t), "lacks 10 of its 10 values"),
        ("height", lambda v, _: pa.array(v, pa.int64()), "is int64, not int32"),
    ],
)
def test_index_whose_values_cannot_be_is_refused(tmp_path, make_zip, split, name, change, reason):
    table, _ = build_index(make_zip(TinySplit(split).members()), split)
    at = table.schema.get_field_index(name)
    column = change(table[name].to_pylist(), table.schema.field(name).type)
    write_index(tmp_path / "a.parquet", table.set_column(at, name, column), split, "0" * 64)
    for columns in (None, [name]):
        with pytest.raises(ReidError, match=rf"a.parquet: is not an index .*\(its column {name} {reason}"):
            read_index(tmp_path / "a.parquet", columns)
    read_index(tmp_path / "a.parquet", ["frame_idx"])


@pytest.mark.parametrize("name", HIDDEN)
def test_index_with_some_hidden_labels_is_refused(tmp_path, make_zip, name):
    table, _ = build_index(make_zip(TinySplit("valid").members()), "valid")
    at = table.schema.get_field_index(name)
    column = without_values(table[name].to_pylist(), table.schema.field(name).type)
    write_index(tmp_path / "a.parquet", table.set_column(at, name, column), "valid", "0" * 64)
    with pytest.raises(ReidError, match=f"its column {name} lacks 1 of its 10 values"):
        read_index(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", HIDDEN)
def test_index_with_one_label_hidden_is_refused(tmp_path, make_zip, name):
    """What trains on games or scores by classes takes it that who has one has the other."""
    table, _ = build_index(make_zip(TinySplit("valid").members()), "valid")
    field = table.schema.field(name)
    table = table.set_column(table.schema.get_field_index(name), field, pa.nulls(len(table), field.type))
    write_index(tmp_path / "a.parquet", table, "valid", "0" * 64)
    other = next(one for one in HIDDEN if one != name)
    for columns in (None, [name, other]):
        with pytest.raises(ReidError, match=f"its column {name} has no value, but {other} has; a split has all"):
            read_index(tmp_path / "a.parquet", columns)
    assert read_index(tmp_path / "a.parquet", [name])[0][name].null_count == 10


def test_index_without_rows_is_refused(tmp_path, make_zip):
    table, _ = build_index(make_zip(TinySplit("valid").members()), "valid")
    write_index(tmp_path / "a.parquet", table.slice(0, 0), "valid", "0" * 64)
    with pytest.raises(ReidError, match="it has no rows"):
        read_index(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    "about",
    [
        *("", "no json", "[]", "{}", '{"split": "valid"}', '{"split": 3, "sha256": "0"}', "[" * 5000),
        *(f'{{"split": "{split}", "sha256": "0"}}' for split in ("Valid", "", "../../x", "TEST\\u001b[31m")),
    ],
)
def test_index_that_does_not_say_what_it_is_of_is_refused(tmp_path, make_zip, about):
    table, _ = build_index(make_zip(TinySplit("valid").members()), "valid")
    pq.write_table(table.replace_schema_metadata({"reid": about}), tmp_path / "a.parquet")
    with pytest.raises(ReidError, match="a.parquet: is not an index of this pipeline"):
        read_index(tmp_path / "a.parquet")


# ---- against the PKU sample


@pytest.mark.parametrize("split", SPLITS)
def test_sample_agrees_with_a_plain_parse(pku, split):
    table, passed_over = build_index(pku / f"{split}.zip", split)
    rows = plain_parse(pku / f"{split}.zip", split)
    assert len(rows) > 50 and table.select([*rows[0]]).to_pylist() == rows
    assert not passed_over


@pytest.mark.parametrize("split", SPLITS)
def test_sample_agrees_with_its_json(pku, split):
    """challenge's JSON lies beside the zip and holds what the zip hides."""
    if split == "challenge":
        info = json.loads((pku / "challenge_bbox_info.json").read_text())
    else:
        with zipfile.ZipFile(pku / f"{split}.zip") as archive:
            name = next(name for name in archive.namelist() if name.endswith(".json"))
            info = json.loads(archive.read(name))
    info = {"train": info} if split == "train" else info
    rows = build_index(pku / f"{split}.zip", split)[0].to_pylist()
    assert len(rows) == sum(map(len, info.values()))
    for row in rows:
        record = info[row["role"]][str(row["bbox_idx"])]
        path = record.pop("relative_path")
        fields = ("bbox_idx", "action_idx", "height", "width") if split == "challenge" else record
        assert {field: row[field] for field in fields} == {field: record[field] for field in fields}
        assert split == "challenge" or path == "/".join(row[level] for level in LEVELS)


# ---- names that are not ASCII


@pytest.mark.parametrize("in_json", ["NFC", "NFD"])
@pytest.mark.parametrize("in_zip", ["NFC", "NFD"])
@pytest.mark.parametrize("flag", [True, False], ids=["flagged", "not flagged"])
def test_game_names_beyond_ascii(make_zip, in_zip, in_json, flag):
    tiny = TinySplit("valid")
    game = tiny.box("query", 3)["relative_path"].split("/")[2]
    assert not game.isascii()
    members = {unicodedata.normalize(in_zip, name): content for name, content in tiny.members().items()}
    labels = json.dumps(tiny.make_labels(), ensure_ascii=False)
    members["valid/bbox_info.json"] = unicodedata.normalize(in_json, labels).encode()
    path = make_zip(members)
    if not flag:  # take back "this is UTF-8" in every header, local (byte 6) and in the directory (byte 8)
        data = bytearray(path.read_bytes())
        for signature, place in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
            for match in re.finditer(re.escape(signature), data):
                data[match.start() + place] &= ~0x08 & 0xFF
        path.write_bytes(data)
        with zipfile.ZipFile(path) as archive:
            assert not any(name.isascii() or game in name for name in archive.namelist() if "spain" in name)
    table, _ = build_index(path, "valid")
    assert set(table["game"].to_pylist()) == {"2015-08-08 - 19-30 Bournemouth 0 - 1 Aston Villa", game}


# ---- what is passed over, and counted


def test_clutter_and_other_files_are_passed_over_and_counted(make_zip):
    tiny = TinySplit("valid")
    members = tiny.members()
    name = "valid/" + tiny.name(tiny.boxes[0])
    members |= {f"__MACOSX/{os.path.dirname(name)}/._{os.path.basename(name)}": b"", "valid/.DS_Store": b""}
    members |= {"__MACOSX/valid/._bbox_info.json": b"no json", "valid/query/Thumbs.db": b"", "valid/query/": b""}
    members |= {"valid/README.md": b"", "valid/notes.txt": b"", "valid/b.txt": b"", "valid/LICENSE": b""}
    table, passed_over = build_index(make_zip(members), "valid")
    assert table.select(["role", "bbox_idx"]).to_pylist() == [
        {"role": row["role"], "bbox_idx": row["bbox_idx"]} for row in expected_rows(tiny)
    ]
    assert passed_over == {
        "clutter of file browsers and packers": 4,
        "other files (.txt)": 2,
        "other files (.md)": 1,
        "other files (no suffix)": 1,
    }


@pytest.mark.parametrize("name", ["bbox_info.json", "valid_bbox_info.json"])
def test_json_of_either_name_is_checked(make_zip, name):
    members = TinySplit("valid").members(labels=False)
    assert len(build_index(make_zip(members), "valid")[0]) == 10  # and none is fine
    message = fails(make_zip(members | {f"valid/{name}": b"{}"}), "valid", problems=1)
    assert f"valid/{name}: cannot be read as bbox_info.json (does not hold query and gallery)" in message


# ---- problems


def renamed(tiny, old, new, role="query", bbox_idx=0):
    """Members of the split with a change in one path."""
    path = f"{tiny.split}/{tiny.name(tiny.box(role, bbox_idx))}"
    assert path.count(old) == 1
    return path.replace(old, new), {
        (name.replace(old, new) if name == path else name): content
        for name, content in tiny.members(labels=False).items()
    }


@pytest.mark.parametrize(
    "old, new, reason",
    [
        ("-Player_team_left-", "-Ball-", "name is neither"),
        ("-7-", "-", "name is neither"),
        (".png", ".png.png", "name is neither"),
        ("Aston Villa/0/", "Aston Villa/", "lies 3 folders deep, not in <championship>/<season>/<game>/<action>"),
        ("Aston Villa/0/", "Aston Villa/0/0/", "lies 5 folders deep"),
        ("valid/query/", "valid/querys/", "is not below valid/query or valid/gallery"),
        ("valid/query/", "test/query/", "is not below valid/query or valid/gallery"),
        ("0-0-0-0-Player_team_left-7-000r000_000000000000-20x9", "0-0-20x9", "has no labels in its name"),
    ],
)
def test_misnamed_member_is_named_with_the_reason(make_zip, old, new, reason):
    name, members = renamed(TinySplit("valid"), old, new)
    message = fails(make_zip(members), "valid", problems=1)
    assert f"  - {name}: {reason}" in message


def test_challenge_members_must_be_flat_and_without_labels(make_zip):
    tiny = TinySplit("challenge")
    labelled = "challenge/query/0-0-0-0-Player_team_left-7-000r000_000000000000-20x9.png"
    members = tiny.members() | {labelled: b"", "challenge/gallery/a/9-0-20x9.png": b""}
    message = fails(make_zip(members), "challenge", problems=2)
    assert f"{labelled}: has labels in its name, but those of the challenge are hidden" in message
    assert "challenge/gallery/a/9-0-20x9.png: lies 1 folders deep, not directly in its role's folder" in message


def test_unlabelled_name_in_train(make_zip):
    folder = TinySplit("train").boxes[0]["relative_path"]
    members = TinySplit("train").members(labels=False) | {f"train/{folder}/99-0-20x9.png": b""}
    fails(make_zip(members), "train", "99-0-20x9.png: has no labels in its name", problems=1)


@pytest.mark.parametrize("split, role", [("train", "train"), ("valid", "gallery"), ("challenge", "query")])
def test_double_bbox_idx_names_both_files(make_zip, split, role):
    tiny = TinySplit(split)
    twin = dict(tiny.box(role, 1), frame_idx=55, height=77)
    tiny.boxes.append(twin)
    names = [f"{split}/{tiny.name(box)}" for box in (tiny.box(role, 1), twin)]
    message = fails(make_zip(tiny.members(labels=False)), split, problems=1)
    assert f"bbox_idx 1 is already that of {split}/" in message and all(name in message for name in names)


def test_same_bbox_idx_in_query_and_gallery_is_fine(make_zip):
    table, _ = build_index(make_zip(TinySplit("valid").members()), "valid")
    assert {tuple(r.values()) for r in table.select(["role", "bbox_idx"]).to_pylist()} >= {
        ("query", 0),
        ("gallery", 0),
    }


def test_same_member_twice(make_zip):
    members = list(TinySplit("train").members().items())
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = make_zip([*members, members[3]])
    fails(path, "train", "bbox_idx 3 is already that of", problems=1)


def test_query_whose_person_is_not_in_the_gallery(make_zip):
    tiny = TinySplit("valid")
    tiny.box("query", 1)["person_uid"] = 500
    message = fails(make_zip(tiny.members()), "valid", problems=1)
    assert f"valid/{tiny.name(tiny.box('query', 1))}: person 500 has no match in the gallery" in message


@pytest.mark.parametrize("split", ["test", "challenge"])
def test_query_whose_action_has_no_gallery(make_zip, split):
    tiny = TinySplit(split)
    tiny.box("query", 2).update(action_idx=77, person_uid=500)
    fails(make_zip(tiny.members()), split, "the gallery has no box of action 77", problems=1)


@pytest.mark.parametrize("split, role", [("train", "train"), ("valid", "gallery")])
def test_person_in_two_actions(make_zip, split, role):
    tiny = TinySplit(split)
    last = tiny.boxes[-1]
    assert last["action_idx"] == 1
    last["person_uid"] = tiny.box(role, 0)["person_uid"]
    message = fails(make_zip(tiny.members()), split, problems=1)
    assert f"{tiny.name(last)}: person 0 is already in action 0; person ids hold inside one action" in message


def _twin(tiny):
    tiny.boxes.append(dict(tiny.box("query", 1), frame_idx=55))


def _elsewhere(tiny):
    tiny.boxes[-1]["person_uid"] = tiny.box("gallery", 0)["person_uid"]


def _no_match(tiny):
    tiny.box("query", 1)["person_uid"] = 500


def _no_gallery(tiny):
    tiny.box("query", 2).update(action_idx=77, person_uid=500)


def _other_labels(tiny):
    tiny.labels = tiny.make_labels()
    tiny.labels["query"]["0"] = {**tiny.labels["query"]["0"], "relative_path": "a/b/c/0", "height": 1, "id": "\x1b[2J"}
    del tiny.labels["gallery"]["0"]


@pytest.mark.parametrize("bend", [_twin, _elsewhere, _no_match, _no_gallery, _other_labels])
def test_what_a_terminal_would_obey_is_escaped_in_every_message(make_zip, bend):
    tiny = TinySplit("valid")
    for box in tiny.boxes:
        box["relative_path"] = box["relative_path"].replace("_", "\x1b[2J")
    build_index(make_zip(tiny.members()), "valid")  # odd, but possible
    bend(tiny)
    message = fails(make_zip(tiny.members()), "valid")
    assert all(line.isprintable() for line in message.splitlines()), message


@pytest.mark.parametrize("split", ["valid", "challenge"])
@pytest.mark.parametrize("role", ["query", "gallery"])
def test_empty_role(make_zip, split, role):
    tiny = TinySplit(split)
    tiny.boxes = [box for box in tiny.boxes if box["role"] != role]
    fails(make_zip(tiny.members(labels=False)), split, f"  - {split}/{role}: there is no thumbnail")


@pytest.mark.parametrize(
    "members, what",
    [
        ({}, "nothing at all"),
        ({"valid/a.txt": b"", "b.txt": b""}, "2 other files (.txt)"),
        ({"__MACOSX/a.png": b""}, "1 clutter of file browsers and packers"),
    ],
)
def test_zip_without_thumbnails(make_zip, members, what):
    message = fails(make_zip(members), "valid")
    assert f"holds no thumbnails of valid, but {what}" in message


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("other", SPLITS)
@pytest.mark.parametrize("leading", [True, False], ids=["with the split's folder", "without"])
def test_zip_of_another_split_is_refused(make_zip, split, other, leading):
    """Without the folder nothing tells valid from test."""
    if split != other and (leading or {split, other} != {"valid", "test"}):
        fails(make_zip(TinySplit(other).members(leading)), split, f"is not a whole {split} split")


def patch_directory(path, place, change):
    """Change a byte of the first entry in the zip's directory."""
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + place] ^= change
    path.write_bytes(data)


def test_encrypted_member(make_zip):
    path = make_zip(TinySplit("valid").members())
    patch_directory(path, 8, 1)
    fails(path, "valid", r"valid/query/.*\.png: is encrypted; fetch or pack the zip without a password")


def test_unknown_compression_method(make_zip):
    path = make_zip(TinySplit("valid").members(labels=False), method=zipfile.ZIP_LZMA)
    fails(path, "valid", r"\.png: has compression method 14, which is not known; pack the zip stored or deflated")


@pytest.mark.parametrize("damage", ["encrypted", "method", "content"])
def test_json_that_cannot_be_unpacked(make_zip, damage):
    members = TinySplit("valid").members()
    labels = members.pop("valid/bbox_info.json")
    path = make_zip({"valid/bbox_info.json": labels, **members})
    if damage == "content":
        path.write_bytes(path.read_bytes().replace(b"Main_referee", b"Side_referee", 1))
    else:
        patch_directory(path, *{"encrypted": (8, 1), "method": (10, 99)}[damage])
    fails(path, "valid", "valid/bbox_info.json: cannot be unpacked", problems=1)


def test_no_damage_to_the_directory_escapes_as_another_error(make_zip):
    tiny = TinySplit("valid")
    tiny.boxes = [tiny.box("query", 0), tiny.box("gallery", 0)]
    path = make_zip(tiny.members())
    whole = path.read_bytes()
    refused = 0
    for position in range(whole.index(b"PK\x01\x02"), len(whole)):
        data = bytearray(whole)
        data[position] ^= 0xFF
        path.write_bytes(data)
        try:
            build_index(path, "valid")
        except ReidError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("number", ["size", "packed"])
@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("split", SPLITS)
def test_member_of_a_terabyte_is_refused(tmp_path, split, method, number):
    parts = [Part(name, content, method) for name, content in TinySplit(split).members().items()]
    setattr(parts[2], number, 1 << 40)
    path = write_parts(tmp_path / "a.zip", parts)
    fails(path, split, "is not a complete zip" if number == "packed" else "1,099,511,627,776.*the zip is damaged")


@pytest.mark.parametrize("split", SPLITS)
def test_image_larger_than_its_name_says_is_refused(make_zip, split):
    """A megabyte that unpacks to a gigabyte."""
    members = TinySplit(split).members()
    name = next(name for name in members if name.endswith(".png"))
    path = make_zip(members | {name: bytes(60_000_000)}, method=zipfile.ZIP_DEFLATED)
    fails(path, split, f"{re.escape(name)}: has 60,000,000 bytes, and an image of 20x9 has .* at most")


@pytest.mark.parametrize("size", ["99999x99999", "40001x1000"])
def test_image_of_too_many_pixels_is_refused(make_zip, size):
    _, members = renamed(TinySplit("valid"), "20x9", size)
    fails(make_zip(members), "valid", rf"{size}.png: is said to be {size}, and a thumbnail has", problems=1)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("lost", [[0], [3, 4], [10]])
def test_directory_that_does_not_list_all_is_refused(tmp_path, split, lost):
    parts = [Part(name, content) for name, content in TinySplit(split).members().items()]
    for i in lost:
        parts[min(i, len(parts) - 1)].listed = False
    fails(
        write_parts(tmp_path / "a.zip", parts), split, "its directory lists .* members, and there are more in the file"
    )


# ---- spellings


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("spell", SPELLINGS)
def test_zip_of_another_packer_gives_the_same_index(make_zip, split, spell):
    members = TinySplit(split).members()
    table, passed_over = build_index(
        make_zip({SPELLINGS[spell](name): c for name, c in members.items()}, "a.zip"), split
    )
    plain, _ = build_index(make_zip(members, "b.zip"), split)
    assert not passed_over and table.drop_columns(PLACES).equals(plain.drop_columns(PLACES))


def test_relative_path_with_backslashes_is_no_disagreement(make_zip):
    tiny = TinySplit("valid")
    tiny.labels = tiny.make_labels()
    for record in tiny.labels["query"].values():
        record["relative_path"] = record["relative_path"].replace("/", "\\")
    assert len(build_index(make_zip(tiny.members()), "valid")[0]) == 10


# ---- what looks like a thumbnail


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda folder, stem: f"{folder}/{stem}.jpg", "the name ends in .jpg, and .png is wanted"),
        (lambda folder, stem: f"{folder}/{stem}.PNG", "the name ends in .PNG, and .png is wanted"),
        (lambda folder, stem: f"{folder}/{stem}.png ", "the name ends in '.png ', and .png is wanted"),
        (lambda folder, stem: f"../{folder}/{stem}.png", "'..' in the path leads out of its folder"),
        (lambda folder, stem: f"{folder}/../{stem}.png", "'..' in the path leads out of its folder"),
        (lambda folder, stem: f"{folder}/{stem}.png/", "a folder that is named like an image"),
    ],
)
def test_thumbnail_that_cannot_be_used_is_an_error(make_zip, split, change, reason):
    members = TinySplit(split).members(labels=False)
    name = next(name for name in members if name.endswith(".png"))
    folder, file = os.path.split(name)
    content = members.pop(name)
    message = fails(make_zip(members | {change(folder, file.removesuffix(".png")): content}), split)
    assert f"1 file ({reason})" in message


def test_all_images_of_another_format_are_one_line(make_zip):
    members = TinySplit("valid").members(labels=False)
    message = fails(make_zip({name.replace(".png", ".jpg"): c for name, c in members.items()}), "valid", problems=1)
    assert "10 files (the name ends in .jpg, and .png is wanted): valid/query/" in message


@pytest.mark.parametrize("split", SPLITS)
def test_hidden_thumbnail_is_not_used_and_a_warning(make_zip, split, caplog):
    members = TinySplit(split).members()
    names = [name for name in members if name.endswith(".png")]
    hidden = {f".folder/{name}": members[name] for name in names[:4]} | {f"{split}/{'5-1-2x1'}": b"x"}
    table, _ = build_index(make_zip(members | hidden), split)
    assert len(table) == 10
    assert f"4 files (hidden, for a name in the path begins with a dot; not used): .folder/{names[0]}" in caplog.text
    assert "and 1 more" in caplog.text and "1 file (named like a thumbnail, but without .png" in caplog.text


# ---- numbers that are missing


@pytest.mark.parametrize(
    "split, role, lost, last",
    [("train", "train", [3, 2], 9), ("valid", "gallery", [2], 5), ("challenge", "query", [0], 3)],
)
def test_gaps_in_the_numbers_are_told(make_zip, split, role, lost, last, caplog):
    tiny = TinySplit(split)
    for number in lost:
        tiny.boxes.remove(tiny.box(role, number))
    build_index(make_zip(tiny.members()), split)
    words = f"{len(lost)} thumbnail{'s' * (len(lost) > 1)} of {split}/{role} may be missing"
    words += f": bbox_idx runs from 0 to {last}"
    assert f"{words} with gaps ({', '.join(map(str, sorted(lost)))})" in caplog.text and len(caplog.records) == 1


@pytest.mark.parametrize("split", SPLITS)
def test_whole_split_gives_no_warning(make_zip, split, caplog):
    build_index(make_zip(TinySplit(split).members()), split)
    assert not caplog.records


# ---- actions in several folders


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("level, other", [(3, "7"), (2, "another game")])
def test_an_action_in_two_folders_is_told(make_zip, split, level, other, caplog):
    tiny = TinySplit(split)
    box = tiny.boxes[-1]
    folders = box["relative_path"].split("/")
    folders[level] = other
    box["relative_path"] = "/".join(folders)
    path = make_zip(tiny.members())
    assert len(build_index(path, split)[0]) == 10
    (line,) = caplog.messages
    assert line.startswith(f"{path}: 1 action with thumbnails in more than one folder, as {box['action_idx']} in ")
    assert box["relative_path"] in line


# ---- disagreement with bbox_info.json


@pytest.mark.parametrize(
    "field, value",
    [
        ("action_idx", 1),
        ("person_uid", 2),
        ("frame_idx", 7),
        ("clazz", "Side_referee"),
        ("id", "8"),
        ("id", None),
        ("UAI", "000r000_1"),
        ("height", 21),
        ("width", 10),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_field_that_the_json_has_otherwise(make_zip, split, field, value):
    tiny = TinySplit(split)
    labels = tiny.make_labels()
    record = (labels if split == "train" else labels["gallery"])["0"]
    was, record[field] = record[field], value
    tiny.labels = labels
    message = fails(make_zip(tiny.members()), split, problems=1)
    name = tiny.name(tiny.box("train" if split == "train" else "gallery", 0))
    source = f"{split}/train_bbox_info.json" if split == "train" else f"{split}/bbox_info.json"
    assert f"  - {split}/{name}: {field} is {was}, but {value} in {source}" in message


@pytest.mark.parametrize("change", [lambda p: p.replace("2015-2016", "2014-2015"), lambda p: p + "/1", lambda p: ""])
def test_relative_path_that_the_json_has_otherwise(make_zip, change):
    tiny = TinySplit("valid")
    tiny.labels = tiny.make_labels()
    record = tiny.labels["query"]["1"]
    record["relative_path"] = change(record["relative_path"])
    message = fails(make_zip(tiny.members()), "valid", problems=1)
    assert f"valid/{tiny.name(tiny.box('query', 1))}: relative_path is {record['relative_path']} in " in message


def test_missing_and_extra_entries_of_the_json(make_zip):
    tiny = TinySplit("valid")
    tiny.labels = tiny.make_labels()
    del tiny.labels["gallery"]["2"]
    tiny.labels["query"]["40"] = dict(tiny.labels["query"]["3"], bbox_idx=40)
    message = fails(make_zip(tiny.members()), "valid", problems=2)
    assert f"valid/{tiny.name(tiny.box('gallery', 2))}: is not in valid/bbox_info.json" in message
    assert "valid/bbox_info.json: query 40 is not in the zip" in message


def test_entry_twice_in_the_json(make_zip):
    tiny = TinySplit("valid")
    tiny.labels = tiny.make_labels()
    tiny.labels["query"]["40"] = dict(tiny.labels["query"]["3"])
    fails(make_zip(tiny.members()), "valid", "valid/bbox_info.json: .*query holds a bbox_idx twice", problems=1)


@pytest.mark.parametrize("content", [b"[]", b"null", b"3", b'{"query": [], "gallery": {}}', b'{"query": {}}'])
def test_json_of_another_form(make_zip, content):
    members = TinySplit("valid").members() | {"valid/bbox_info.json": content}
    fails(make_zip(members), "valid", "valid/bbox_info.json: cannot be read as bbox_info.json", problems=1)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "is not valid JSON .*it is empty"),
        (b"{", "is not valid JSON"),
        (b"<!DOCTYPE html><html>", r"is not valid JSON .*it is a web page \(HTML\)"),
        (b"version https://git-lfs.github.com/spec/v1", "is not valid JSON .*it is a Git LFS pointer"),
        (b"\xff\xfe{\0}\0", "is not UTF-8 text"),
        (b"\x80\x04\x95abc", "is not UTF-8 text; it is a pickle"),
        (b"[" * 5000 + b"]" * 5000, "is nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "is nested too deeply"),
        (b'{"query": {}, "gallery": {}, "query": {}}', "the key .*query.* stands twice"),
    ],
)
@pytest.mark.parametrize("split", ["train", "valid"])
def test_what_is_no_json(make_zip, content, reason, split):
    name = f"{split}/bbox_info.json"
    members = TinySplit(split).members(labels=False) | {name: content}
    fails(make_zip(members, method=zipfile.ZIP_DEFLATED), split, f"{name}: {reason}", problems=1)


@pytest.mark.parametrize("field", ["bbox_idx", "action_idx", "person_uid"])
@pytest.mark.parametrize(
    "value", ["2.9", "2.0", "1e400", "Infinity", "NaN", "-1", "1" * 40, "true", '"2.9"', "[]", "1" * 5000]
)
@pytest.mark.parametrize("split", ["train", "valid"])
def test_number_of_the_json_that_is_no_integer(make_zip, split, field, value):
    tiny = TinySplit(split)
    members = tiny.members()
    name = next(name for name in members if name.endswith(".json"))
    text = members[name].decode()
    was = f'"{field}": {tiny.boxes[0][field]},'
    members[name] = text.replace(was, f'"{field}": {value},', 1).encode()
    assert members[name] != text.encode()
    reasons = "not an integer from 0 to 999,999,999|is not a finite number|has more than .* digits"
    message = fails(make_zip(members), split, f"{name}: .*({reasons})", problems=1)
    assert max(map(len, message.splitlines())) < 400


@pytest.mark.parametrize("split", ["train", "valid", "challenge"])
def test_key_that_stands_twice_in_the_json(make_zip, split):
    """The last one would win: a record, or a field of one."""
    tiny = TinySplit(split)
    text = json.dumps(tiny.make_labels())
    for old, new, key in (('"0": {', '"0": {}, "0": {', "0"), ('"height": ', '"height": 1, "height": ', "height")):
        content = text.replace(old, new, 1).encode()
        members = tiny.members(labels=False) | {f"{split}/bbox_info.json": content}
        fails(make_zip(members), split, f"{split}/bbox_info.json: the key .*{key}.* stands twice", problems=1)


@pytest.mark.parametrize("split", SPLITS)
def test_byte_order_mark_before_the_json_is_no_fault(make_zip, split):
    tiny = TinySplit(split)
    content = b"\xef\xbb\xbf" + json.dumps(tiny.make_labels()).encode()
    members = tiny.members(labels=False) | {f"{split}/bbox_info.json": content}
    assert len(build_index(make_zip(members), split)[0]) == 10


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_json_far_larger_than_its_images_ask_for_is_not_unpacked(make_zip, method):
    members = TinySplit("valid").members() | {"valid/bbox_info.json": b" " * 200_000_000}
    path = make_zip(members, method=method)
    tracemalloc.start()
    fails(path, "valid", "valid/bbox_info.json: cannot be unpacked .*said to unpack to 200,000,000 bytes", problems=1)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_many_jsons_are_not_all_read(make_zip):
    tiny = TinySplit("valid")
    labels = tiny.members()["valid/bbox_info.json"]
    members = tiny.members() | {"valid/valid_bbox_info.json": labels}
    assert len(build_index(make_zip(members), "valid")[0]) == 10
    members |= {f"{i}/bbox_info.json": labels for i in range(3)}
    fails(make_zip(members), "valid", "there are 5 bbox_info.json", problems=1)


@pytest.mark.parametrize("record", [{}, {"bbox_idx": "x"}, {"bbox_idx": None}, None, 3])
def test_json_with_a_record_of_another_form(make_zip, record):
    tiny = TinySplit("train")
    tiny.labels = tiny.make_labels() | {"0": record}
    fails(make_zip(tiny.members()), "train", "bbox_info.json: cannot be read as bbox_info.json", problems=1)


def test_numbers_as_text_and_slashes_around_the_path_are_no_disagreement(make_zip):
    tiny = TinySplit("valid")
    tiny.labels = tiny.make_labels()
    tiny.labels["query"]["0"] |= {
        "bbox_idx": "0",
        "height": "20",
        "relative_path": f"/{tiny.boxes[0]['relative_path']}/",
    }
    assert len(build_index(make_zip(tiny.members()), "valid")[0]) == 10


def test_json_in_the_challenge_is_checked_for_what_the_names_say(make_zip):
    tiny = TinySplit("challenge")
    labels = tiny.make_labels()
    members = tiny.members()
    path = make_zip(members | {"challenge/bbox_info.json": json.dumps(labels).encode()})
    assert build_index(path, "challenge")[0]["person_uid"].null_count == 10
    labels["query"]["1"]["action_idx"] = 9
    path = make_zip(members | {"challenge/bbox_info.json": json.dumps(labels).encode()})
    fails(path, "challenge", r"query/1-0-21x9.png: action_idx is 0, but 9 in challenge/bbox_info.json", problems=1)


# ---- all together


def test_all_kinds_of_problems_come_in_one_message(make_zip):
    tiny = TinySplit("valid")
    tiny.labels = tiny.make_labels()
    tiny.labels["gallery"]["0"]["height"] = 1
    members = tiny.members() | {"valid/query/x.png": b"", "valid/0-0-1x1.png": b""}
    members[f"valid/query/{tiny.boxes[0]['relative_path']}/9-9-999-0-Main_referee-7-a-1x1.png"] = bytes(60)
    fails(
        make_zip(members),
        "valid",
        "x.png: lies 0 folders deep",
        "valid/0-0-1x1.png: is not below",
        "the gallery has no box of action 9",
        "height is 20, but 1",
        "9-9-999-0-Main_referee-7-a-1x1.png: is not in valid/bbox_info.json",
        "Fetch or pack the zip again",
        problems=5,
    )


def test_an_empty_image_is_refused(make_zip):
    members = TinySplit("valid").members()
    name = next(name for name in members if name.endswith(".png"))
    fails(make_zip(members | {name: b""}), "valid", f"{name}: has 0 bytes, which is no image")


@pytest.mark.parametrize("bad, more", [(19, None), (20, None), (21, 1), (70, 50)])
def test_twenty_problems_are_written_out_and_all_are_counted(make_zip, bad, more):
    members = TinySplit("valid").members() | {f"valid/query/bad {i}.png": b"" for i in range(bad)}
    message = fails(make_zip(members), "valid", problems=bad)
    assert message.count("\n  - ") == min(bad, 20)
    assert (f"\n  ... and {more} more" in message) if more else ("more" not in message)


# ---- the program


def test_program_writes_the_index_with_the_hash_of_its_zip(tmp_path, make_zip):
    path, out = make_zip(TinySplit("valid").members() | {"valid/a.txt": b""}), tmp_path / "index/valid.parquet"
    arguments = ["--split", "valid", "--zip", path, "--out", out, "--log", tmp_path / "a.log"]
    result = subprocess.run([sys.executable, ROOT / "scripts/index.py", *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    table, about = read_index(out)
    assert about == {"split": "valid", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert table.replace_schema_metadata(None).equals(build_index(path, "valid")[0])
    assert "passed over 1 other files (.txt)" in result.stderr and "10 thumbnails in 2 actions" in result.stderr
    assert "10 thumbnails in 2 actions" in (tmp_path / "a.log").read_text()


def test_program_refuses_a_zip_that_is_not_the_one_of_its_receipt(tmp_path, make_zip):
    path = make_zip(TinySplit("valid").members())
    receipt = tmp_path / "valid.json"
    receipt.write_text(json.dumps({"split": "valid", "sha256": "0" * 64, "bytes": path.stat().st_size + 1}))
    main = runpy.run_path(str(ROOT / "scripts/index.py"))["main"]
    args = argparse.Namespace(split="valid", zip=path, receipt=receipt, out=tmp_path / "a.parquet")
    with pytest.raises(ReidError, match=f"{receipt}: is not the receipt of {path}"):
        main(args)
    assert not (tmp_path / "a.parquet").exists()
    receipt.write_text(json.dumps({"split": "valid", "sha256": "cd" * 32, "bytes": path.stat().st_size}))
    main(args)
    assert read_index(tmp_path / "a.parquet")[1]["sha256"] == "cd" * 32
