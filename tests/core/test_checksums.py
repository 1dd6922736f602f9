"""Digests beside files: one flipped byte anywhere is found by every reader, and what has no digests is read."""

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from reid.core.arrays import CheckedArray
from reid.core.checksums import (
    BLOCK,
    CheckedFile,
    Sums,
    digest,
    read_sums,
    read_verified,
    sum_file,
    sums_path,
    verify,
    write_sums,
)
from reid.core.errors import ReidError
from reid.core.files import read_csv, read_json, replacing, write_csv, write_json
from reid.core.tables import read_parquet
from reid.raw.archive import pack
from reid.raw.directory import list_members

REFUSAL = r"is not what was written \(.*\); remove .* and run again, which makes it anew"


def content_of(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


def in_blocks(content, head, block):
    """Digests as a writer makes them that knows its blocks."""
    parts = [content[:head]] if head else []
    parts += [content[i : i + block] for i in range(head, len(content), block)]
    return Sums(len(content), head, block, [digest(part) for part in parts])


def written(path, content, head=0, block=None):
    with replacing(path, (lambda: in_blocks(content, head, block)) if block else None) as partial:
        partial.write_bytes(content)
    return path


@pytest.fixture
def flipped():
    """``flipped(path, place)`` flips a bit of one byte and back again at the end of its block."""

    class Flip:
        def __init__(self, path, place, bit=0):
            self.path, self.place, self.bit = path, place, bit

        def flip(self):
            with open(self.path, "rb+") as file:
                file.seek(self.place)
                (byte,) = file.read(1)
                file.seek(self.place)
                file.write(bytes([byte ^ (1 << self.bit)]))

        def __enter__(self):
            self.flip()

        def __exit__(self, *_):
            self.flip()

    return Flip


# ---- whole files

FORMS = {
    "one byte": (1, 0, None),
    "a few bytes": (1000, 0, None),
    "a block but one": (BLOCK - 1, 0, None),
    "a block": (BLOCK, 0, None),
    "a block and one": (BLOCK + 1, 0, None),
    "three blocks": (2 * BLOCK + 77, 0, None),
    "small blocks": (1000, 0, 64),
    "a head": (1000, 128, 64),
    "a head and no more": (128, 128, 64),
    "a head and a byte": (129, 128, 64),
    "whole blocks behind a head": (128 + 3 * 64, 128, 64),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_flipped_byte_anywhere_is_found(tmp_path, flipped, form):
    size, head, block = FORMS[form]
    path = written(tmp_path / "a", content_of(size), head, block)
    verify(path)
    assert read_verified(path) == path.read_bytes()
    rng = np.random.default_rng(1)
    edges = {0, size - 1, *(place for place in (BLOCK - 1, BLOCK, 2 * BLOCK) if place < size)}
    edges |= {
        at for i in range(-1, size // (block or size) + 1) for at in (head + i * (block or size),) if 0 <= at < size
    }
    for place in sorted(edges) + rng.integers(0, size, 25 if size < BLOCK else 8).tolist():
        with flipped(path, place, int(rng.integers(8))):
            for read in (verify, read_verified):
                with pytest.raises(ReidError, match=rf"{path}: {REFUSAL}") as caught:
                    read(path)
                first, last = re.search(r"bytes ([\d,]+) to ([\d,]+) differ", str(caught.value)).groups()
                assert int(first.replace(",", "")) <= place <= int(last.replace(",", ""))
    verify(path)


@pytest.mark.parametrize("form", FORMS)
def test_a_byte_more_or_fewer_is_found(tmp_path, form):
    size, head, block = FORMS[form]
    content = content_of(size)
    path = written(tmp_path / "a", content, head, block)
    for other in (content + b"\0", content[:-1], content[1:], b"", content * 2):
        path.write_bytes(other)
        for read in (verify, read_verified, CheckedFile):
            with pytest.raises(ReidError, match=rf"it has {len(other):,} bytes instead of {size:,}"):
                read(path)


def test_empty_file_has_digests_too(tmp_path):
    path = written(tmp_path / "a", b"")
    assert read_sums(path) == Sums(0, 0, BLOCK, [])
    verify(path)
    assert read_verified(path) == b"" and CheckedFile(path).read(10) == b""
    path.write_bytes(b"x")
    with pytest.raises(ReidError, match="it has 1 bytes instead of 0"):
        verify(path)


def test_file_of_ones_own_is_read_as_it_is(tmp_path):
    (tmp_path / "a").write_bytes(b"mine")
    verify(tmp_path / "a")
    assert read_sums(tmp_path / "a") is None
    assert read_verified(tmp_path / "a") == CheckedFile(tmp_path / "a").read(10) == b"mine"
    long = tmp_path / ("n" * 253)  # its digests could not have a name
    long.write_bytes(b"mine")
    assert read_verified(long) == b"mine"


def test_file_that_is_too_large_is_not_read(tmp_path):
    path = written(tmp_path / "a", b"12345")
    assert read_verified(path, 5) == b"12345"
    with pytest.raises(ReidError, match="a: has 5 bytes, and 4 is the most that such a file can have"):
        read_verified(path, 4)


@pytest.mark.parametrize("name", ["a", ".a.sums"])
def test_what_the_system_refuses_to_read_is_named_and_not_called_damaged(tmp_path, monkeypatch, name):
    write_json(tmp_path / "a", {})
    read = Path.read_bytes

    def fail(path):
        if path.name == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))  # reading says no name, as opening does
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OSError, match=rf"Input/output error: '.*/{re.escape(name)}'"):
        read_verified(tmp_path / "a")
    with pytest.raises(ReidError, match=rf"/{re.escape(name)}: cannot be read \(Input/output error\)$"):
        read_json(tmp_path / "a")


# ---- damaged digests

DAMAGE = {
    "empty": lambda text: b"",
    "text": lambda text: b"damaged",
    "not UTF-8": lambda text: b"\xff\xfe\xfd",
    "half": lambda text: text[: len(text) // 2],
    "a list": lambda text: b"[1, 2]",
    "no digests": lambda text: changed(text, digests=None),
    "fewer digests": lambda text: changed(text, digests=json.loads(text)["digests"][16:]),
    "more digests": lambda text: changed(text, digests=json.loads(text)["digests"] + "0" * 16),
    "digests in a list": lambda text: changed(text, digests=["0" * 16]),
    "digests of other letters": lambda text: changed(text, digests="x" * 64),
    "no block": lambda text: changed(text, block=None),
    "block of nothing": lambda text: changed(text, block=0),
    "negative block": lambda text: changed(text, block=-64),
    "fraction": lambda text: changed(text, block=64.0),
    "bool": lambda text: changed(text, head=False),
    "negative head": lambda text: changed(text, head=-1),
    "head beyond the end": lambda text: changed(text, head=10**6),
    "size as text": lambda text: changed(text, size="200"),
    "endless": lambda text: b"[" * 100_000,
    "too large": lambda text: b" " * (1 << 26) + text,
}


def changed(text, **values):
    content = json.loads(text) | values
    return json.dumps({key: value for key, value in content.items() if value is not None}).encode()


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_digests_are_refused_and_nothing_is_read(tmp_path, kind):
    path = written(tmp_path / "a", content_of(200), 0, 64)
    sums_path(path).write_bytes(DAMAGE[kind](sums_path(path).read_bytes()))
    for read in (verify, read_verified, CheckedFile):
        with pytest.raises(ReidError, match=rf"{sums_path(path)}: the digests of {path} are damaged; remove {path}"):
            read(path)


@pytest.mark.parametrize("kind", ["directory", "pipe", "endless device", "link to nothing"])
def test_digests_that_are_no_file_are_refused_at_once(tmp_path, kind):
    path = written(tmp_path / "a", b"content")
    sums_path(path).unlink()
    if kind == "directory":
        sums_path(path).mkdir()
    elif kind == "pipe":
        os.mkfifo(sums_path(path))
    else:
        sums_path(path).symlink_to("/dev/zero" if kind == "endless device" else "gone")
    with pytest.raises(ReidError, match="are damaged"):
        read_verified(path)


def test_a_flipped_byte_of_the_digests_is_never_taken_for_another_content(tmp_path, flipped):
    content = content_of(300)
    path = written(tmp_path / "a", content, 100, 64)
    outcomes = set()
    for place in range(sums_path(path).stat().st_size):
        with flipped(sums_path(path), place, place % 8):
            try:
                assert read_verified(path) == content  # another size of its blocks may divide it alike
                outcomes.add("read")
            except ReidError as error:
                outcomes.add("differs" if "is not what was written" in str(error) else "damaged")
    assert {"differs", "damaged"} <= outcomes


def test_digests_of_another_file_are_refused(tmp_path):
    one, other = (written(tmp_path / name, content_of(1000, seed)) for seed, name in enumerate("ab"))
    shutil.copy(sums_path(one), sums_path(other))
    with pytest.raises(ReidError, match=f"b: {REFUSAL}"):
        read_verified(other)


# ---- arrays

ROWS, HEADER = 50, 128


def store(path, block_rows=None, order="C", shape=(ROWS, 4, 3), kind=np.uint8):
    """An array with digests of so many rows each, as a store of thumbnails has; or of the whole file."""
    array = np.asarray(np.random.default_rng(0).integers(0, 100, shape), kind, order=order)
    buffer = io.BytesIO()
    np.save(buffer, array)
    row = array.nbytes // len(array) if len(array) else 1
    head, block = (HEADER, block_rows * row) if block_rows else (0, None)
    written(path, buffer.getvalue(), head, block)
    return array


@pytest.mark.parametrize("block_rows", [1, 7, ROWS, ROWS + 1, None])
def test_checked_array_is_the_array(tmp_path, block_rows):
    array = store(tmp_path / "a.npy", block_rows)
    checked = CheckedArray(tmp_path / "a.npy")
    assert (checked.shape, checked.dtype, checked.ndim, len(checked)) == (array.shape, array.dtype, 3, ROWS)
    assert np.array_equal(np.asarray(checked), array) and np.array_equal(np.asarray(checked, np.float64), array)
    for rows in (0, -1, 49, slice(None), slice(3, 9), slice(None, None, -7), [4, 4, -2], np.array([], int), [], [7]):
        assert np.array_equal(checked[rows], array[rows]), rows
    assert np.array_equal(checked[np.arange(ROWS) % 3 == 0], array[::3])
    assert np.array_equal(checked[np.array([[1, 2], [3, 4]])], array[[[1, 2], [3, 4]]])
    for rows in (ROWS, -ROWS - 1, [0, ROWS]):
        with pytest.raises(IndexError):
            checked[rows]


@pytest.mark.parametrize("block_rows", [1, 7, 20])
def test_flipped_row_is_found_when_its_block_is_touched_and_not_before(tmp_path, flipped, block_rows):
    path = tmp_path / "a.npy"
    array = store(path, block_rows)
    rng = np.random.default_rng(block_rows)
    for place in [HEADER, path.stat().st_size - 1, *rng.integers(HEADER, path.stat().st_size, 25).tolist()]:
        damaged = (place - HEADER) // 12
        inside = [row for row in range(ROWS) if row // block_rows == damaged // block_rows]
        outside = sorted(set(range(ROWS)) - set(inside))
        with flipped(path, place):
            assert np.array_equal(CheckedArray(path)[outside], array[outside])
            for rows in (
                inside[0],
                inside[-1] - ROWS,
                [outside[0], inside[0]] if outside else inside,
                slice(inside[0], inside[-1] + 1),
                slice(inside[-1], None, -1) if inside[-1] else slice(None),
                np.isin(np.arange(ROWS), inside),
                slice(None),
            ):
                with pytest.raises(ReidError, match=REFUSAL):
                    CheckedArray(path)[rows]
            with pytest.raises(ReidError, match=REFUSAL):
                np.asarray(CheckedArray(path))


def test_row_that_reaches_over_several_blocks_is_checked_whole(tmp_path, flipped):
    array = np.random.default_rng(0).integers(0, 100, (5, 300), np.uint8)
    buffer = io.BytesIO()
    np.save(buffer, array)
    path = written(tmp_path / "a.npy", buffer.getvalue(), 0, 64)
    for place in range(HEADER, HEADER + array.size, 37):
        row = (place - HEADER) // 300
        with flipped(path, place), pytest.raises(ReidError, match=REFUSAL):
            CheckedArray(path)[row]
    assert np.array_equal(CheckedArray(path)[2], array[2])


@pytest.mark.parametrize("block_rows", [7, None])
def test_flipped_byte_of_the_header_is_found_as_the_file_is_opened(tmp_path, flipped, block_rows):
    path = tmp_path / "a.npy"
    store(path, block_rows)
    for place in range(HEADER):
        with flipped(path, place, place % 8), pytest.raises(ReidError, match=REFUSAL):
            CheckedArray(path)


@pytest.mark.parametrize("change", ["order", "shape"])
def test_array_whose_rows_do_not_lie_together_is_checked_whole(tmp_path, flipped, change):
    path = tmp_path / "a.npy"
    array = store(path, 7, **({"order": "F"} if change == "order" else {"shape": (1, 12 * ROWS)}))
    assert np.array_equal(CheckedArray(path)[0], array[0])
    for place in np.random.default_rng(0).integers(HEADER, path.stat().st_size, 10).tolist():
        with flipped(path, place), pytest.raises(ReidError, match=REFUSAL):
            CheckedArray(path)[0]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_array_without_values_is_checked_too(tmp_path, flipped, shape):
    path = tmp_path / "a.npy"
    store(path, shape=shape)
    assert CheckedArray(path)[:].shape == shape
    with flipped(path, 100), pytest.raises(ReidError, match=REFUSAL):
        CheckedArray(path)


@pytest.mark.parametrize("bytes_more", [-1, 1, -13, 12])
def test_array_of_another_length_is_not_what_was_written(tmp_path, bytes_more):
    path = tmp_path / "a.npy"
    store(path, 7)
    os.truncate(path, path.stat().st_size + bytes_more)
    with pytest.raises(ReidError, match="bytes instead of"):
        CheckedArray(path)
    sums_path(path).unlink()
    with pytest.raises(ValueError, match="its header says uint8 50 x 4 x 3, which is not what its .* bytes hold"):
        CheckedArray(path)


# ---- files read in places


def test_checked_file_is_the_file(tmp_path):
    content = content_of(1000)
    path = written(tmp_path / "a", content, 128, 64)
    with CheckedFile(path) as file, open(path, "rb") as plain:
        for seek in ((0, 0), (5, 0), (-7, 2), (900, 0), (-100, 1), (2000, 0), (130, 0)):
            assert file.seek(*seek) == plain.seek(*seek) and file.tell() == plain.tell()
            assert file.read(90) == plain.read(90)
    assert file.closed
    with io.BufferedReader(CheckedFile(path), 77) as buffered:
        assert buffered.read() == content


def test_flipped_byte_is_found_when_its_block_is_read_and_not_before(tmp_path, flipped):
    content = content_of(1000)
    path = written(tmp_path / "a", content, 128, 64)
    for place in [0, 127, 128, 999, *np.random.default_rng(2).integers(0, 1000, 25).tolist()]:
        first = 0 if place < 128 else 128 + (place - 128) // 64 * 64
        end = 128 if place < 128 else min(1000, first + 64)
        with flipped(path, place):
            for start, stop in ((0, first), (end, 1000)):
                with CheckedFile(path) as file:
                    file.seek(start)
                    assert file.read(stop - start) == content[start:stop]
            for start, stop in ((first, first + 1), (end - 1, end), (0, 1000)):
                with CheckedFile(path) as file, pytest.raises(ReidError, match=REFUSAL):
                    file.seek(start)
                    file.read(stop - start)


def test_of_a_zip_the_directory_alone_is_checked_to_list_it(tmp_path, flipped):
    path = tmp_path / "a.zip"
    pack(path, [(f"{i}.png", content_of(BLOCK // 2, i)) for i in range(7)])
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    with flipped(path, BLOCK + BLOCK // 4):
        assert len(list_members(path)) == 7
        with pytest.raises(ReidError, match=REFUSAL), zipfile.ZipFile(CheckedFile(path)) as archive:
            archive.read("2.png")
    for place in np.random.default_rng(0).integers(directory, path.stat().st_size, 25).tolist():
        with flipped(path, place), pytest.raises(ReidError, match=REFUSAL):
            list_members(path)


# ---- readers of the formats that every stage writes


@pytest.mark.parametrize("kind", ["JSON", "CSV", "Parquet"])
def test_readers_find_one_flipped_byte_anywhere(tmp_path, flipped, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "JSON":
        write_json(path, {"mAP": 0.512345, "name": ["Atlético"]})
    elif kind == "CSV":
        write_csv(path, ["a", "b"], [[i, i / 7] for i in range(50)])
    else:
        with replacing(path) as partial:
            pq.write_table(pa.table({"a": np.arange(500), "b": ["x", "y"] * 250}), partial, compression="zstd")
    read = {
        "JSON": read_json,
        "CSV": lambda path: read_csv(path, {"a": str, "b": str}, "x.py"),
        "Parquet": lambda path: read_parquet(path, ["a", "b"]),
    }[kind]
    read(path)
    size = path.stat().st_size
    places = (
        range(size) if size < 300 else {0, 3, 4, size - 1, size - 5, *np.random.default_rng(0).integers(0, size, 100)}
    )
    for place in map(int, places):
        with flipped(path, place, place % 8), pytest.raises(ReidError, match=REFUSAL):
            read(path)


# ---- what DVC puts back


def ledger(folder, **files):
    """A ``dvc.lock`` that records MD5s."""
    from hashlib import md5

    outs = [{"path": path, "hash": "md5", "md5": md5(content).hexdigest()} for path, content in files.items()]
    with open(folder / "dvc.lock", "w") as file:
        YAML().dump({"schema": "2.0", "stages": {"s": {"cmd": "x", "outs": outs}, "t": {"cmd": "y"}}}, file)


def test_file_of_an_earlier_run_that_the_ledger_knows_is_read_and_gets_digests(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    new, old = content_of(3000), content_of(2000, 7)
    ledger(tmp_path, **{"data/a": old, "data/other": b""})
    for name, path in (("relative", "data/a"), ("absolute", tmp_path / "data/a")):
        for read in (verify, read_verified, CheckedFile):
            written(path, new, 0, 64)
            with open("data/a", "wb") as file:
                file.write(old)
            read(path)
            assert read_sums(path) == sum_file(path), name
            with open("data/a", "ab") as file:
                file.write(b"!")
            with pytest.raises(ReidError, match=REFUSAL):
                read(path)


def test_array_of_an_earlier_run_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = store(tmp_path / "a.npy", shape=(9, 2))
    ledger(tmp_path, **{"a.npy": (tmp_path / "a.npy").read_bytes()})
    shutil.copy("a.npy", "kept")
    for shape in ((5, 7), (9, 2)):  # with digests of another size, and of the same
        store(tmp_path / "a.npy", 1, shape=shape, kind=np.int8 if shape == (9, 2) else np.uint8)
        shutil.copy("kept", "a.npy")
        assert np.array_equal(CheckedArray("a.npy")[3:], old[3:])
        verify("a.npy")


@pytest.mark.parametrize(
    "content", ["", "{", "stages: 3", "stages: {s: {outs: [x]}}", "- 1", "stages: {s: {outs: 1}}"]
)
def test_damaged_ledger_knows_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    written("a", b"new")
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "dvc.lock").write_text(content)
    with pytest.raises(ReidError, match=REFUSAL):
        read_verified("a")


# ---- writing


def test_replaced_file_has_digests_that_fit(tmp_path):
    path = tmp_path / "a"
    for seed, (size, head, block) in enumerate(FORMS.values()):
        content = content_of(size, seed)
        written(path, content, head, block)
        assert read_verified(path) == content
        assert sorted(os.listdir(tmp_path)) == [".a.sums", "a"]


@pytest.mark.parametrize("failing", ["write_text", "replace", "unlink"])
def test_failing_disk_leaves_the_old_file_or_none(tmp_path, monkeypatch, failing):
    path = written(tmp_path / "a", b"old")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if failing == "replace" else type(path), failing, fail)
        with pytest.raises(ReidError, match="a: the disk is full"):
            written(path, b"new")
    assert path.read_bytes() == b"old"
    assert read_verified(path) == b"old"
    written(path, b"newest")
    assert read_verified(path) == b"newest"


def test_kill_between_any_two_calls_of_the_system_leaves_no_file_with_digests_of_another(tmp_path):
    """The program stops after each call that changes the folder in turn."""
    program = """
import os, sys
from pathlib import Path
from reid.core import files, checksums

left, path = int(sys.argv[1]), Path(sys.argv[2])

def counted(call):
    def run(*of, **more):
        global left
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
        return call(*of, **more)
    return run

os.replace, os.fsync = counted(os.replace), counted(os.fsync)
for name in ("unlink", "write_text", "write_bytes"):
    setattr(Path, name, counted(getattr(Path, name)))
with files.replacing(path) as partial:
    partial.write_bytes(b"new content")
print("done")
"""
    seen = set()
    for calls in range(20):
        path = written(tmp_path / f"{calls}/a", b"old")
        done = subprocess.run([sys.executable, "-c", program, str(calls), str(path)], capture_output=True, text=True)
        assert done.stderr == "" and done.returncode in (0, -signal.SIGKILL)
        content = read_verified(path)
        seen.add((content, sums_path(path).exists()))
        if done.returncode == 0:
            break
    assert content == b"new content" and calls >= 4
    assert {(b"old", True), (b"new content", False), (b"new content", True)} <= seen


def test_kills_at_random_moments_leave_no_file_with_digests_of_another(tmp_path, start_program):
    path = written(tmp_path / "a", content_of(100_000))
    process = start_program(
        """
        import os, sys
        from reid.core.files import replacing
        print("begins", flush=True)
        while True:
            with replacing(sys.argv[1]) as partial:
                partial.write_bytes(os.urandom(100_000))
        """,
        path,
    )
    rng = np.random.default_rng(0)
    assert process.stdout.readline() == "begins\n"
    for _ in range(30):
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.002)
        assert len(read_verified(path)) == 100_000
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(rng.uniform(0, 0.01))
    process.kill()
    process.communicate()
    assert len(read_verified(path)) == 100_000


def test_digests_can_be_written_anew_for_a_file(tmp_path):
    (tmp_path / "a").write_bytes(content_of(500))
    write_sums(tmp_path / "a", sum_file(tmp_path / "a", 64))
    assert len(read_sums(tmp_path / "a").digests) == 8
    verify(tmp_path / "a")
