"""Rankings and boxes that are made to do harm: one clear error, in bounded time and memory, by both programs."""

import json
import os
import resource
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import ROOT
from builders.hostile import MINUTES
from reid.core.errors import ReidError
from reid.data.index import write_index
from reid.ranking.query_gallery import SCHEMA, read_boxes, read_queried
from reid.ranking.ranking_file import check_ranking, read_ranking

# bbox_idx: (action_idx, person_uid)
QUERY, GALLERY = {0: (7, 70), 1: (3, 30)}, {0: (3, 30), 1: (7, 70), 2: (7, 71)}
GOOD = {"0": [2, 1], "1": [0]}


def rows(query=QUERY, gallery=GALLERY):
    """Boxes as tuples of what an index has of them, in its order."""
    return [
        (role, idx, *boxes[idx]) for role, boxes in (("query", query), ("gallery", gallery)) for idx in sorted(boxes)
    ]


def table_of(boxes):
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in boxes], schema=SCHEMA)


def info_of(query=QUERY, gallery=GALLERY, **changes):
    """Content of bbox_info.json; ``changes`` are to the record of query 0."""
    keys = ("bbox_idx", "action_idx", "person_uid")
    info = {
        role: {str(idx): dict(zip(keys, (idx, *box), strict=True)) for idx, box in boxes.items()}
        for role, boxes in (("query", query), ("gallery", gallery))
    }
    info["query"]["0"].update(changes)
    return info


BOXES = table_of(rows())


def refused(path, *parts):
    """The message with which a ranking is refused, which holds all parts; what it says is in short lines."""
    with pytest.raises(ReidError) as caught:
        check_ranking(read_ranking(path), BOXES, path)
    message = str(caught.value)
    assert str(path) in message
    for part in parts:
        assert part in message
    assert all(
        len(line) < 300 + len(str(path)) and line.isprintable() and line.isascii() for line in message.splitlines()
    )
    return message


def ranking(first="[2, 1]", key='"0"'):
    """A ranking whose first list or key is other JSON."""
    return f'{{{key}: {first}, "1": [0]}}'


KEYS = {
    '"00"': "query 00: there is no such query",
    '"01"': "query 01: there is no such query",
    '" 0"': 'query " 0": there is no such query',
    '"0 "': 'query "0 ": there is no such query',
    '"0.0"': 'query "0.0": there is no such query',
    '"-0"': 'query "-0": there is no such query',
    '"-1"': 'query "-1": there is no such query',
    '"+0"': 'query "+0": there is no such query',
    '"0e0"': 'query "0e0": there is no such query',
    '"0x0"': 'query "0x0": there is no such query',
    '"٠"': r'query "\u0660": there is no such query',
    '""': 'query "": there is no such query',
    '"true"': 'query "true": there is no such query',
    r'"\u0000"': r'query "\u0000": there is no such query',
    r'"0\n  - all is well"': r'query "0\n  - all is well": there is no such query',
    r'"\ud800"': r'query "\ud800": there is no such query',
    r'"\u202e"': r'query "\u202e": there is no such query',
    f'"{"1" * 5000}"': f'query "{"1" * 44}...: there is no such query',
    f'"{"x" * 100_000}"': f'query "{"x" * 44}...: there is no such query',
}


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_key_that_is_no_number_of_a_query_is_named(tmp_path, key):
    (tmp_path / "r.json").write_text(ranking(key=key), encoding="utf-8")
    refused(tmp_path / "r.json", KEYS[key], "query 0: is missing", "2 problems")


VALUES = {
    "true": "query 0: true is not an integer",
    "false": "query 0: false is not an integer",
    "null": "query 0: null is not an integer",
    "1.0": "query 0: 1.0 is not an integer",
    "1e0": "query 0: 1.0 is not an integer",
    "-0.0": "query 0: -0.0 is not an integer",
    '"1"': 'query 0: "1" is not an integer',
    "[1]": "query 0: [1] is not an integer",
    "{}": "query 0: {} is not an integer",
    "-1": "query 0: there is no gallery box -1",
    "-0": "query 0: gallery box 0 is of action 3",
    "4294967297": "query 0: there is no gallery box 4294967297",
    "18446744073709551617": "query 0: there is no gallery box 18446744073709551617",
    "9" * 4000: "query 0: there is no gallery box a number of about 4,000 digits",
    "1e308": "query 0: 1e+308 is not an integer",
    "[" * 400 + "]" * 400: "query 0: [[...]] is not an integer",
    '{"a":' * 400 + "1" + "}" * 400: "query 0: {...} is not an integer",
    f'"{"x" * 100_000}"': f'query 0: "{"x" * 44}... is not an integer',
}


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_value_that_is_no_box_is_named(tmp_path, value):
    (tmp_path / "r.json").write_text(ranking(f"[2, {value}]"))
    refused(tmp_path / "r.json", VALUES[value])
    if "is not an integer" in VALUES[value] and not value.startswith("["):
        (tmp_path / "r.json").write_text(ranking(value))
        refused(tmp_path / "r.json", "where a list of gallery boxes should be")


NO_JSON = {
    "1e400": (ranking("[1e400]"), "1e400 is not a finite number"),
    "minus 1e400": (ranking("[-1e400]"), "-1e400 is not a finite number"),
    "Infinity": (ranking("[Infinity]"), "Infinity is not a finite number"),
    "NaN": (ranking("NaN"), "NaN is not a finite number"),
    "5,000 digits": (ranking(f"[{'1' * 5000}]"), "a number in it has more than 4,300 digits"),
    "a million digits": (ranking(f"[{'1' * 10**6}]"), "a number in it has more than 4,300 digits"),
    "a key twice": ('{"0": [2, 1], "0": [1, 2], "1": [0]}', 'the key "0" stands twice'),
    "5,000 brackets": ("[" * 5000 + "]" * 5000, "is nested too deeply"),
    "5,000 brackets in a list": (ranking("[" * 5000 + "]" * 5000), "is nested too deeply"),
    "5,000 objects": (ranking('{"a":' * 5000 + "1" + "}" * 5000), "is nested too deeply"),
    "a comment": ('{"0": [2, 1], // mine\n"1": [0]}', "is not valid JSON"),
    "a comma": ('{"0": [2, 1], "1": [0],}', "is not valid JSON"),
    "two objects": ("{} {}", "is not valid JSON"),
    "empty": ("", "it is empty"),
    "blank": (" \n", "is not valid JSON"),
    "a list": ("[[2, 1], [0]]", "must hold one JSON object with a list for each query, not a list"),
    "null": ("null", "must hold one JSON object with a list for each query, not null"),
    "a text": ('"0"', "must hold one JSON object with a list for each query, not a text"),
    "true": ("true", "must hold one JSON object with a list for each query, not true or false"),
}


@pytest.mark.parametrize("kind", NO_JSON)
def test_json_that_is_no_ranking_is_one_line(tmp_path, kind):
    content, problem = NO_JSON[kind]
    (tmp_path / "r.json").write_text(content)
    assert "\n" not in refused(tmp_path / "r.json", problem)


def test_ranking_of_windows_is_taken(tmp_path):
    (tmp_path / "r.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD, indent=1).replace("\n", "\r\n").encode())
    assert check_ranking(read_ranking(tmp_path / "r.json"), BOXES, "r").gallery.tolist() == [2, 1, 0]


def test_ranking_beyond_all_sizes_is_refused_by_its_size(tmp_path):
    with open(tmp_path / "r.json", "wb") as file:
        file.truncate(1 << 30)
    started = time.process_time()
    refused(tmp_path / "r.json", "has 1,073,741,824 bytes, and 33,554,432 is the most that such a file can have")
    assert time.process_time() - started < 1


SHARE = 1 if MINUTES else 8  # of the limit; the whole of it in `make fuzz`
FULL = {
    "boxes of nowhere": lambda: f'{{"0": [{",".join(map(str, range(3, 4_000_000 // SHARE)))}]}}',
    "the same box": lambda: f'{{"0": [{"1," * (16_000_000 // SHARE)}1]}}',
    "queries of nowhere": lambda: "{" + ",".join(f'"{i}":[]' for i in range(2, 2_500_000 // SHARE)) + "}",
    "empty lists": lambda: f'{{"0": [{"[]," * (10_000_000 // SHARE)}1]}}',
    "digits": lambda: f'{{"0": [{("9" * 4000 + ",") * (8000 // SHARE)}1]}}',
}


@pytest.mark.parametrize("kind", FULL)
def test_ranking_that_fills_its_limit_takes_bounded_time_and_memory(tmp_path, kind):
    """The work of both programs, in a process that may not have more."""
    (tmp_path / "r.json").write_text(FULL[kind]())
    assert (tmp_path / "r.json").stat().st_size > 25e6 / SHARE
    (tmp_path / "boxes.json").write_text(json.dumps(info_of()))
    command = [sys.executable, ROOT / "scripts/check_ranking.py", "r.json", "--boxes", "boxes.json"]
    memory, seconds = 3 << 30, 60  # of addresses, and of work

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert (
        done.stderr.startswith("error: r.json is not a valid ranking of the boxes in boxes.json: ")
        and len(done.stderr) < 5000
    )


# ---- boxes

FOREIGN_INFO = {
    "empty": ("", "it is empty|is empty"),
    "text": ("boxes", "is text"),
    "list": ("[]", "is not a bbox_info.json of valid, test or challenge"),
    "no roles": ("{}", "is not a bbox_info.json of valid, test or challenge .does not hold query and gallery"),
    "train": (json.dumps(info_of()["query"]), "does not hold query and gallery"),
    "a role more": (json.dumps({**info_of(), "train": {}}), "does not hold query and gallery"),
    "lists for roles": ('{"query": [], "gallery": []}', "is not a bbox_info.json of"),
    "numbers for records": ('{"query": {"0": 1}, "gallery": {"0": 2}}', "is not a bbox_info.json of"),
    "no action": ('{"query": {"0": {"bbox_idx": 0}}, "gallery": {}}', "query 0: action_idx is missing"),
    "null for an action": (json.dumps(info_of(action_idx=None)), "query 0: action_idx is missing"),
    "no bbox_idx": ('{"query": {"0": {"action_idx": 0}}, "gallery": {}}', "bbox_idx"),
    "Infinity": (json.dumps(info_of(bbox_idx=float("inf"))), "Infinity is not a finite number"),
    "1e400": (json.dumps(info_of()).replace('"bbox_idx": 0', '"bbox_idx": 1e400'), "1e400 is not a finite number"),
    "fraction": (json.dumps(info_of(action_idx=2.9)), "2.9"),
    "float": (json.dumps(info_of(action_idx=7.0)), "7.0"),
    "true": (json.dumps(info_of(action_idx=True)), "[Tt]rue"),
    "list for a number": (json.dumps(info_of(action_idx=[7])), "action_idx"),
    "negative": (json.dumps(info_of(bbox_idx=-1)), "-1"),
    "too large": (json.dumps(info_of(bbox_idx=2**31)), "2147483648"),
    "hidden in part": (json.dumps(info_of(person_uid=None)), "some boxes have a person_uid and some have none"),
    "box twice": (json.dumps(info_of(bbox_idx=1)), "twice"),
    "key twice": ('{"query": {"0": {}, "0": {}}, "gallery": {}}', 'the key "0" stands twice'),
    "role twice": ('{"query": {}, "query": {}, "gallery": {}}', 'the key "query" stands twice'),
    "deep": ('{"query": ' + "[" * 5000 + "]" * 5000 + "}", "is nested too deeply"),
    "nested in a record": (json.dumps(info_of(action_idx=json.loads("[" * 300 + "]" * 300))), "action_idx"),
    "no query": (json.dumps({**info_of(), "query": {}}), "holds no query"),
    "no gallery": (json.dumps({**info_of(), "gallery": {}}), "query 0: the gallery has no box of its action 7"),
    "action without gallery": (json.dumps(info_of(action_idx=8)), "query 0: the gallery has no box of its action 8"),
}


@pytest.mark.parametrize("kind", FOREIGN_INFO)
def test_foreign_bbox_info_is_one_line_with_its_name(tmp_path, kind):
    content, problem = FOREIGN_INFO[kind]
    path = tmp_path / "info.json"
    path.write_text(content)
    with pytest.raises(ReidError, match=rf"info\.json: .*({problem})") as caught:
        read_boxes(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 + len(str(path))


def test_bbox_info_is_read_under_any_name(tmp_path):
    (tmp_path / "boxes.txt").write_bytes(b"\xef\xbb\xbf" + json.dumps(info_of()).encode())
    assert read_boxes(tmp_path / "boxes.txt").equals(BOXES)


INDEXES = {
    "no rows": (rows({}, {}), "has no rows"),
    "no query": (rows({}), "holds no query"),
    "no gallery": (rows(gallery={}), "query 0: the gallery has no box of its action 7"),
    "other roles": ([("probe", *row[1:]) if row[0] == "query" else row for row in rows()], "no query|role"),
    "some other roles": ([*rows(), ("extra", 9, 7, 70)], "neither of the queries nor of the gallery|role"),
    "train": ([("train", *row[1:]) for row in rows()], "training split"),
    "query twice": ([rows()[0], *rows()], "query 0 stands behind 0"),
    "box twice": ([*rows(), rows()[-1]], "gallery 2 stands behind 2"),
    "descending": (rows()[::-1], "stands behind"),
    "action without gallery": (rows({**QUERY, 5: (9, 90)}), "query 5: the gallery has no box of its action 9"),
    "null role": ([(None, *rows()[0][1:]), *rows()[1:]], "role"),
    "null number": ([("query", None, 7, 70), *rows()[1:]], "bbox_idx"),
    "null action": ([("query", 0, None, 70), *rows()[1:]], "action_idx"),
    "negative number": ([("query", -1, 7, 70), *rows()[1:]], "bbox_idx"),
    "negative action": ([("query", 0, -7, 70), *rows()[1:]], "action_idx"),
    "hidden in part": ([("query", 0, 7, None), *rows()[1:]], "person_uid"),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_foreign_index_is_one_line_with_its_name(tmp_path, kind):
    boxes, problem = INDEXES[kind]
    write_index(tmp_path / "i.parquet", table_of(boxes), "valid", "0" * 64)
    for read in (read_boxes, lambda path: read_queried(path, SCHEMA.names)):
        with pytest.raises(ReidError, match=rf"i\.parquet: .*({problem})") as caught:
            read(tmp_path / "i.parquet")
        assert "\n" not in str(caught.value)


KINDS = {
    "fractions": ("bbox_idx", pa.array([0.0, 1.0, 0.0, 1.0, 2.0])),
    "texts": ("bbox_idx", pa.array(["0", "1", "0", "1", "2"])),
    "bool": ("action_idx", pa.array([True, False, False, True, True])),
    "lists": ("action_idx", pa.array([[7], [3], [3], [7], [7]])),
    "numbers for roles": ("role", pa.array([0, 0, 1, 1, 1])),
    "fractions for people": ("person_uid", pa.array([70.0, 30.0, 30.0, 70.0, 71.0])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_index_with_columns_of_another_type_is_one_line_with_its_name(tmp_path, kind):
    name, column = KINDS[kind]
    table = BOXES.set_column(BOXES.column_names.index(name), name, column)
    pq.write_table(
        table.replace_schema_metadata({"reid": '{"split": "valid", "sha256": "0"}'}), tmp_path / "i.parquet"
    )
    with pytest.raises(ReidError, match=rf"i\.parquet: .*{name}"):
        read_boxes(tmp_path / "i.parquet")


@pytest.mark.parametrize(
    "content", [None, "{", "[]", "3", '"valid"', "{}", '{"split": 3, "sha256": ""}', "[" * 5000, b"\xff"]
)
def test_index_with_foreign_metadata_is_one_line_with_its_name(tmp_path, content):
    pq.write_table(
        BOXES.replace_schema_metadata(None if content is None else {"reid": content}), tmp_path / "i.parquet"
    )
    with pytest.raises(ReidError, match=r"i\.parquet: is not an index of this pipeline") as caught:
        read_boxes(tmp_path / "i.parquet")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 + len(str(tmp_path))


def test_labels_that_are_asked_for_must_be_known(tmp_path):
    hidden = [(role, idx, action, None) for role, idx, action, _ in rows()]
    write_index(tmp_path / "i.parquet", table_of(hidden), "challenge", "0" * 64)
    assert read_queried(tmp_path / "i.parquet", SCHEMA.names)[0].equals(table_of(hidden))
    with pytest.raises(ReidError, match=r"i\.parquet: has no labels to score with .those of challenge are hidden"):
        read_queried(tmp_path / "i.parquet", SCHEMA.names, labelled=True)


@pytest.mark.parametrize("query", [{0: (7, 72)}, {0: (7, 30)}])  # nowhere; in the gallery of another action
def test_labels_that_are_asked_for_give_each_query_a_match(tmp_path, query):
    write_index(tmp_path / "i.parquet", table_of(rows({**QUERY, **query})), "valid", "0" * 64)
    read_queried(tmp_path / "i.parquet", SCHEMA.names)
    with pytest.raises(ReidError, match=r"i\.parquet: query 0: its person is not in the gallery, so it cannot be"):
        read_queried(tmp_path / "i.parquet", SCHEMA.names, labelled=True)


OTHERS = {
    "empty": (b"", "is empty"),
    "text": (b"query,gallery\n", "is text"),
    "image": (b"\x89PNG\r\n\x1a\n", "is a PNG image"),
    "pickle": (b"\x80\x04\x95", "is a pickle"),
    "web page": (b"<!DOCTYPE html>", "is a web page"),
    "array": (b"\x93NUMPY\x01\x00", "is a NumPy array"),
    "half a zip": (b"PK\x03\x04" + bytes(100), "."),
    "zip without anything": (b"PK\x05\x06" + bytes(18), "holds no thumbnails"),
    "half a table": (b"PAR1" + bytes(100), "it is cut short"),
}


@pytest.mark.parametrize("suffix", ["parquet", "zip", "json", "dat"])
@pytest.mark.parametrize("kind", OTHERS)
def test_file_of_another_kind_is_known_by_its_content_whatever_its_name(tmp_path, suffix, kind):
    content, problem = OTHERS[kind]
    (tmp_path / f"b.{suffix}").write_bytes(content)
    with pytest.raises(ReidError, match=rf"b\.{suffix}: .*{problem}"):
        read_boxes(tmp_path / f"b.{suffix}")


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, problem in {"none": "there is no such file", ".": "is a directory", "pipe": "is a named pipe"}.items():
        for read in (read_boxes, read_ranking):
            with pytest.raises(ReidError, match=f"{tmp_path / name}: {problem}"):
                read(tmp_path / name)
