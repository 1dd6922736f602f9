"""Files that appear whole or not at all, JSON and hashes."""

import errno
import hashlib
import json
import os
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reid.core.errors import ReidError
from reid.core.files import read_json, replacing, sha256, write_json
from reid.raw.archive import pack

# ---- files that appear whole


def test_file_appears_at_the_end_only(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with replacing(path) as partial:
        partial.write_text("half")
        assert not path.exists() and partial.parent == path.parent and partial.name.startswith(".")
        partial.write_text("whole")
    assert path.read_text() == "whole" and sorted(os.listdir(path.parent)) == [".a.txt.sums", "a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, OSError, ReidError])
@pytest.mark.parametrize("written", [True, False])
def test_error_leaves_nothing_and_keeps_the_old_file(tmp_path, error, written):
    for path in (tmp_path / "old.txt", tmp_path / "new.txt"):
        (tmp_path / "old.txt").write_text("old")
        with pytest.raises(error), replacing(path) as partial:
            if written:
                partial.write_text("half")
            raise error("stop")
    assert os.listdir(tmp_path) == ["old.txt"] and (tmp_path / "old.txt").read_text() == "old"


def test_leftover_of_a_killed_process_is_overwritten(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(RuntimeError), replacing(path) as partial:
        leftover = partial
        raise RuntimeError
    leftover.write_text("a longer text that a killed process left")
    with replacing(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new" and sorted(os.listdir(tmp_path)) == [".a.txt.sums", "a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_is_the_users_error(tmp_path, monkeypatch, number, call):
    def full(*_):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "a.json"
    path.write_text("old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(ReidError, match="a.json: the disk is full .*free some space and run again"):
        write_json(path, {"a": 1})
    assert os.listdir(tmp_path) == ["a.json"] and path.read_text() == "old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_json(path, {"a": 1}),
        lambda path: pack(path, [("a.png", b"1" * 100_000)]),
    ],
    ids=["JSON", "zip"],
)
def test_writers_on_a_device_that_is_full(tmp_path, write):
    (tmp_path / ".a.partial").symlink_to("/dev/full")
    with pytest.raises(ReidError, match="a: the disk is full"):
        write(tmp_path / "a")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_parquet_on_a_device_that_is_full(tmp_path):
    """Arrow raises its own errors: they must carry the number."""
    (tmp_path / ".a.partial").symlink_to("/dev/full")
    with pytest.raises(ReidError, match="a: the disk is full"), replacing(tmp_path / "a") as partial:
        pq.write_table(pa.table({"x": list(range(1000))}), partial)
    assert os.listdir(tmp_path) == []


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError, match="elsewhere"), replacing(tmp_path / "a.txt"):
        raise PermissionError(errno.EACCES, "Permission denied", "elsewhere")


def test_place_that_must_not_be_written_is_the_users_error(tmp_path):
    refused = pytest.raises(ReidError, match="a.txt: cannot be written .Permission denied")
    with refused, replacing(tmp_path / "a.txt") as partial:
        raise PermissionError(errno.EACCES, "Permission denied", str(partial))
    (tmp_path / "file").write_text("")
    with pytest.raises(ReidError, match="file/below/a.txt: its folder cannot be made"):
        write_json(tmp_path / "file/below/a.txt", {})
    for name in ("", ".", "sub", "sub/.."):
        (tmp_path / "sub").mkdir(exist_ok=True)
        with pytest.raises(ReidError, match="is a directory; name a file in it"):
            write_json(tmp_path / name, {})
    with pytest.raises(ReidError, match="cannot be written .File name too long"):
        write_json(tmp_path / ("a" * 300), {})
    assert sorted(os.listdir(tmp_path)) == ["file", "sub"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
def test_disk_that_fails_at_the_end_is_named(tmp_path, monkeypatch, call, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(ReidError, match=f"a.json: cannot be written .{os.strerror(number)}"):
        write_json(tmp_path / "a.json", {})
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user, who must not write")
@pytest.mark.parametrize("write", ["write_json(path, {})", "parquet(path)"])
def test_folder_that_must_not_be_written_is_named_whatever_writes(start_program, write):
    """Arrow names the file in its text alone."""
    process = start_program(f"""
        import os, tempfile
        import pyarrow as pa, pyarrow.parquet as pq
        from reid.core import cli
        from reid.core.files import replacing, write_json

        def parquet(path):
            with replacing(path) as partial:
                pq.write_table(pa.table({{"x": [1]}}), partial)

        def main(args):
            with tempfile.TemporaryDirectory() as folder:
                os.chmod(folder, 0o555)
                path = folder + "/a"
                os.seteuid(65534)
                try:
                    {write}
                finally:
                    os.seteuid(0)

        cli.run(main, cli.parser(""))
        """)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 1
    assert re.fullmatch(r"error: /.*/a: cannot be written \(Permission denied\)\n", err)


# ---- JSON and hashes


def test_json_is_read_back_and_keeps_its_order(tmp_path):
    content = {"b": [1, 2.5, None, True], "a": {"Atlético": "é"}, "10": 1, "9": 2}
    write_json(tmp_path / "a.json", content)
    read = read_json(tmp_path / "a.json")
    assert read == content and list(read) == ["b", "a", "10", "9"]
    text = (tmp_path / "a.json").read_bytes()
    assert text.endswith(b"}\n") and "Atlético".encode() in text and json.loads(text) == content
    write_json(tmp_path / "b.json", content)
    assert (tmp_path / "b.json").read_bytes() == text


def test_json_of_a_name_that_is_no_text_is_read_back(tmp_path):
    content = {"a": os.fsdecode(b"a\\\xff/\xc3\xa9")}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert rb'"a\\\udcff/' in (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("size", [0, 1, (1 << 18) - 1, 1 << 18, (20 << 20) + 7])
def test_sha256_is_that_of_hashlib(tmp_path, size):
    content = (b"0123456789" * (size // 10 + 1))[:size]
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_file_that_failed_takes_no_room_though_another_process_holds_it_open(tmp_path):
    with pytest.raises(ValueError), replacing(tmp_path / "a") as partial:
        partial.write_bytes(bytes(5000))
        held = open(partial, "rb")  # noqa: SIM115 - as by a worker that was forked meanwhile
        raise ValueError
    with held:
        assert os.fstat(held.fileno()).st_size == 0
    assert not list(tmp_path.iterdir())
