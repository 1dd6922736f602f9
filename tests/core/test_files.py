"""Files that appear whole or not at all, JSON and hashes."""

import contextlib
import errno
import hashlib
import json
import os
import re

import pyarrow as pa
import pytest

from reid.core import files, tables
from reid.core.checksums import verify
from reid.core.errors import ReidError
from reid.core.files import as_text, read_json, replacing, rewrite, sha256, write_json
from reid.core.tables import write_parquet
from reid.raw import archive
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


PUT_THERE = {
    "pipe": os.mkfifo,
    "link": lambda path: os.symlink("precious", path),
    "link to nothing": lambda path: os.symlink("nowhere", path),
    "hard link": lambda path: os.link(path.with_name("precious"), path),
}


@pytest.mark.parametrize("name", [".a.partial", ".a.sums.partial"])
@pytest.mark.parametrize("kind", PUT_THERE)
def test_what_lies_at_the_temporary_name_is_removed_and_not_written_to(tmp_path, name, kind):
    (tmp_path / "precious").write_text("precious")
    PUT_THERE[kind](tmp_path / name)
    write_json(tmp_path / "a", {"new": 1})
    verify(tmp_path / "a")
    assert read_json(tmp_path / "a") == {"new": 1} and not (tmp_path / "a").is_symlink()
    assert sorted(os.listdir(tmp_path)) == [".a.sums", "a", "precious"]
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize(
    "name, what", [(".a.partial", ".a.partial beside it is a directory"), (".a.sums.partial", "Is a directory")]
)
def test_a_directory_at_the_temporary_name_is_one_error_and_stays(tmp_path, name, what):
    (tmp_path / name).mkdir()
    with pytest.raises(ReidError, match=rf"a: cannot be written \({what}"):
        write_json(tmp_path / "a", {})
    assert os.listdir(tmp_path) == [name]


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
        lambda path: write_parquet(path, pa.table({"x": [1]})),  # no more than waits in memory until the end
        lambda path: write_parquet(path, pa.table({"x": list(range(100_000))})),
    ],
    ids=["JSON", "zip", "small table", "table"],
)
def test_writers_on_a_device_that_is_full(tmp_path, monkeypatch, write):
    @contextlib.contextmanager
    def on_full_device(path):
        with replacing(path) as partial:
            partial.symlink_to("/dev/full")
            yield partial

    for module in (files, archive, tables):
        monkeypatch.setattr(module, "replacing", on_full_device)
    with pytest.raises(ReidError, match="a: the disk is full"):
        write(tmp_path / "a")
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
    """Arrow names a file that it opens itself in its text alone."""
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


# ---- files that people keep


def test_a_file_that_people_keep_stays_behind_its_link_and_keeps_its_rights(tmp_path):
    kept, link = tmp_path / "folder/real.yaml", tmp_path / "a.yaml"
    kept.parent.mkdir()
    kept.write_text("old")
    kept.chmod(0o640)
    link.symlink_to("folder/real.yaml")
    rewrite(link, b"new")
    assert link.is_symlink() and kept.read_text() == "new" and kept.stat().st_mode & 0o777 == 0o640
    rewrite(kept, b"newer")
    assert link.read_text() == "newer" and kept.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["a.yaml", "folder"] and os.listdir(tmp_path / "folder") == ["real.yaml"]


def test_a_path_that_is_no_text_is_refused_for_those_who_need_one(tmp_path):
    assert as_text(tmp_path / "é.bin") == str(tmp_path / "é.bin")
    with pytest.raises(ReidError, match="its path is not UTF-8, .*; rename it"):
        as_text(tmp_path / os.fsdecode(b"\xff.bin"))


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
