"""JSON and tables of text: what is read, and that all else is refused at once, in one line, with what it is."""

import os
import socket
import time

import pytest

from reid.core.errors import ReidError
from reid.core.files import parse_json, read_csv, read_json, write_csv, write_json
from reid.core.forms import Number

# ---- JSON


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"", r"is not valid JSON \(.*\); it is empty"),
        (b"{", r"is not valid JSON \(.*\); it is JSON, or the beginning of it"),
        (b'{"a": 1}}', "is not valid JSON"),
        (b"{'a': 1}", "is not valid JSON"),
        (b"a: 1", r"is not valid JSON \(.*\); it is text"),
        (b"<html><body>404", r"is not valid JSON \(.*\); it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", r"is not valid JSON \(.*\); it is a Git LFS pointer"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8 text; it is text in UTF-16, not in UTF-8"),
        ('{"é": 1}'.encode("latin-1"), "is not UTF-8 text; it is JSON, or the beginning of it"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8 text; it is a PNG image"),
        (b"[" * 5000, "is nested too deeply"),
        (b"[" * 5000 + b"]" * 5000, "is nested too deeply"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "is nested too deeply"),
        (b"[1e400]", "1e400 is not a finite number"),
        (b"[-1e400]", "-1e400 is not a finite number"),
        (b"[" + b"9" * 400 + b".0]", "9{40,46}.{,3} is not a finite number"),
        (b"[Infinity]", "Infinity is not a finite number"),
        (b"[-Infinity]", "-Infinity is not a finite number"),
        (b"[NaN]", "NaN is not a finite number"),
        (b"[" + b"1" * 5000 + b"]", "a number in it has more than 4,300 digits"),
        (b'{"a": 1, "b": {"x": 1, "y": 2, "x": 3}}', 'the key "x" stands twice'),
        (b'{"\\n\\ud800": 1, "\\n\\ud800": 1}', r'the key "\\n\\ud800" stands twice'),
    ],
)
def test_what_is_no_json_is_refused_with_what_it_is(tmp_path, content, problem):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ReidError, match=rf"a\.json: {problem}") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(tmp_path))


def test_json_of_windows_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a":\r\n 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_numbers_of_json_are_those_of_python():
    text = b"[0, -0, 1.5, 1e3, 1E-300, 123456789012345678901234567890, 4.9e-324]"
    wanted = [0, 0, 1.5, 1000.0, 1e-300, 123456789012345678901234567890, 4.9e-324]
    assert parse_json(text, "it") == wanted


@pytest.mark.parametrize("read", [read_json, lambda path: read_csv(path, {"a": str}, "x.py")], ids=["JSON", "CSV"])
def test_what_is_no_file_or_has_no_end_is_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "nowhere").symlink_to("gone")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    for name, problem in {
        "none": "there is no such file",
        ".": "is a directory, not a file",
        "pipe": "is a named pipe, not a file",
        "zero": "is a device, not a file",
        "socket": "is a socket, not a file",
        "nowhere": "is a link to nothing, not a file",
    }.items():
        with pytest.raises(ReidError, match=f"{tmp_path / name}: {problem}"):
            read(tmp_path / name)
    server.close()
    with open(tmp_path / "long", "wb") as file:
        file.truncate(1 << 40)  # takes no room
    started = time.process_time()
    with pytest.raises(ReidError, match="long: has 1,099,511,627,776 bytes, and .* is the most"):
        read(tmp_path / "long")
    assert time.process_time() - started < 1


def test_link_to_a_file_is_read(tmp_path):
    write_json(tmp_path / "a.json", [1])
    (tmp_path / "b.json").symlink_to("a.json")
    assert read_json(tmp_path / "b.json") == [1]


# ---- tables

COLUMNS = {"name": str, "count": Number(0, 10, whole=True).of_text}


def table(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_table_is_read_whatever_else_it_holds(tmp_path, end):
    write_csv(
        tmp_path / "a.csv", ["x", "count", "name"], [[1.5, 3, "a"], [None, 10, 'with "quotes", a comma\nand lines']]
    )
    rows = [{"name": "a", "count": 3}, {"name": 'with "quotes", a comma\nand lines', "count": 10}]
    assert read_csv(tmp_path / "a.csv", COLUMNS, "x.py") == rows
    text = end.join(["\ufeffname\tcount", "a\t3", "", "b\t10", ""])
    assert read_csv(table(tmp_path / "b.tsv", text), COLUMNS, "x.py", "\t") == [rows[0], {"name": "b", "count": 10}]
    assert read_csv(table(tmp_path / "c.csv", f"name,count{end}"), COLUMNS, "x.py") == []


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "it has no column name; it is empty"),
        ("{}", "it has no column name; it is JSON, or the beginning of it"),
        ("<!DOCTYPE html>", "it has no column name; it is a web page"),
        ("name,count", "its last line is cut short"),
        ("name,count\na,1\nb,1", "its last line is cut short"),
        ("name,x\na,1\n", "it has no column count"),
        ("name,count,name\na,1,b\n", "it has several columns name"),
        ("name,count\na\n", "line 2 has 1 values for 2 columns"),
        ("name,count\na,1\nb,2,3\n", "line 3 has 3 values for 2 columns"),
        ("name,count\na,\n", 'line 2: "" is not a whole number from 0 to 10'),
        ("name,count\na,1\nb,1.0\n", 'line 3: "1.0" is not a whole number'),
        ("name,count\na,11\n", "line 2: 11 is not a whole number from 0 to 10"),
        ("name,count\na,-1\n", "line 2: -1 is not a whole number from 0 to 10"),
        ("name,count\na, 1\n", 'line 2: " 1" is not a whole number'),
        ("name,count\na,1_0\n", 'line 2: "1_0" is not a whole number'),
        ("name,count\na,١\n", r'line 2: "\\u0661" is not a whole number'),
        ("name,count\na," + "1" * 5000 + "\n", 'line 2: "1{40,47}... is not a whole number'),
        ("name,count\n" + "a" * 200_000 + ",1\n", "field larger than field limit"),
        ('name,count\n"a,1\n', "unexpected end of data"),
        ('name,count\n"a"b,1\n', ".,. expected after"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path, text, problem):
    wanted = rf"a\.csv: is not the table expected .{problem}.*; make it with x\.py"
    with pytest.raises(ReidError, match=wanted) as caught:
        read_csv(table(tmp_path / "a.csv", text), COLUMNS, "x.py")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(tmp_path))


def test_table_that_is_no_text_is_refused_with_what_it_is(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(ReidError, match=r"is not the table expected .it is a PNG image.; make it with x\.py"):
        read_csv(tmp_path / "a.csv", COLUMNS, "x.py")
