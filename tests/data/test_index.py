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
import unicodedata
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import ROOT
from builders.split import TinySplit
from reid.core.errors import ReidError
from reid.core.splits import SPLITS
from reid.data.index import SCHEMA, build_index, read_index, write_index
from reid.raw.archive import read_member

LEVELS = ("championship", "season", "game", "action")
HIDDEN = ("person_uid", "frame_idx", "clazz", "id", "UAI", *LEVELS)
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
            assert read_member(file.fileno(), *place) == members[row["member"]]
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
    with pytest.raises(ReidError, match="a.parquet: is not an index of this pipeline"):
        read_index(path, columns)


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
        (".png", ".PNG", "name is neither"),
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


@pytest.mark.parametrize("split", ["valid", "challenge"])
@pytest.mark.parametrize("role", ["query", "gallery"])
def test_empty_role(make_zip, split, role):
    tiny = TinySplit(split)
    tiny.boxes = [box for box in tiny.boxes if box["role"] != role]
    fails(make_zip(tiny.members(labels=False)), split, f"  - {split}/{role}: there is no thumbnail")


@pytest.mark.parametrize("members", [{}, {"valid/a.txt": b""}, {"__MACOSX/a.png": b""}])
def test_zip_without_thumbnails(make_zip, members):
    message = fails(make_zip(members), "valid")
    assert "holds no thumbnails of valid; is it the zip of another split?" in message


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
    fails(path, "valid", r"valid/query/.*\.png: is encrypted; pack the zip without a password")


def test_unknown_compression_method(make_zip):
    path = make_zip(TinySplit("valid").members(labels=False), method=zipfile.ZIP_LZMA)
    fails(path, "valid", r"\.png: has compression method 14; pack it stored or deflated")


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


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff\xfe", b"null", b'{"query": [], "gallery": {}}', b'{"query": {}}']
)
def test_json_of_another_form(make_zip, content):
    members = TinySplit("valid").members() | {"valid/bbox_info.json": content}
    fails(make_zip(members), "valid", "valid/bbox_info.json: cannot be read as bbox_info.json", problems=1)


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
