"""Stores on network file systems: read from a copy that is right, that is shared, and that goes."""

import errno
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import namedtuple

import psutil
import pytest

from builders import ROOT
from reid.core.checksums import Sums, digest, read_sums, write_sums
from reid.data import nearby as module
from reid.data.nearby import file_system, is_network, nearby

CONTENT = bytes(range(256)) * 100
Mount = namedtuple("Mount", "mountpoint fstype")


@pytest.fixture
def store(tmp_path, monkeypatch, caplog):
    """A file with digests in a folder that is said to be on NFS; TMPDIR is another one, on a disk."""
    caplog.set_level(logging.INFO, "reid")
    for name in ("net", "tmp"):
        (tmp_path / name).mkdir()
    path = tmp_path / "net/train.npy"
    path.write_bytes(CONTENT)
    blocks = [CONTENT[:100], *(CONTENT[i : i + 1000] for i in range(100, len(CONTENT), 1000))]
    write_sums(path, Sums(len(CONTENT), 100, 1000, [digest(block) for block in blocks]))
    mounts = [Mount("/", "ext4"), Mount(os.path.realpath(tmp_path / "net"), "nfs4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return path


def left(store):
    """Names of all that is left in TMPDIR, folders too."""
    return sorted(path.name for path in (store.parents[1] / "tmp").rglob("*"))


def test_a_copy_that_is_the_same_and_goes(store, caplog):
    with nearby(store) as path:
        assert (
            path.parents[1].name == "tmp" and path.parent.stat().st_mode & 0o077 == 0 and path.read_bytes() == CONTENT
        )
        assert read_sums(path) == read_sums(store)
        assert "lies on nfs4: read from a copy" in caplog.text
    assert left(store) == []


def test_on_a_disk_of_this_machine_it_is_read_in_place(store, monkeypatch):
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [Mount("/", "ext4")])
    with nearby(store) as path:
        assert path == store and left(store) == []


def test_temporary_files_over_the_network_are_no_gain(store, monkeypatch):
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [Mount("/", "lustre")])
    with nearby(store) as path:
        assert path == store and left(store) == []


def test_two_have_one_copy(store, caplog):
    with nearby(store) as first:
        with nearby(store) as second:
            assert first == second
        assert first.read_bytes() == CONTENT, "the other one still reads it"
    assert left(store) == [] and caplog.text.count("read from a copy") == 1


def test_a_store_that_was_made_anew_is_copied_anew(store):
    with nearby(store) as first:
        store.write_bytes(CONTENT[:-1])
        os.remove(store.parent / ".train.npy.sums")
        with nearby(store) as second:
            assert second != first and second.read_bytes() == CONTENT[:-1]
    assert left(store) == []


def test_a_store_of_the_same_size_that_was_made_anew_is_copied_anew(store):
    with nearby(store) as first:
        store.write_bytes(CONTENT[::-1])
        os.remove(store.parent / ".train.npy.sums")
        os.utime(store, (1, 1))  # a clock may stand still between two writes
        with nearby(store) as second:
            assert second != first and second.read_bytes() == CONTENT[::-1]
    assert left(store) == []


def test_a_store_that_differs_from_its_digests_is_left_to_its_reader(store, caplog):
    store.write_bytes(CONTENT[:500] + b"?" + CONTENT[501:])
    with nearby(store) as path:
        assert path == store
    assert "it differs from its digests" in caplog.text and left(store) == []


def test_a_full_disk_is_told_and_the_store_read_in_place(store, caplog, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(100))
    with nearby(store) as path:
        assert path == store
    assert "set TMPDIR to a larger disk" in caplog.text and left(store) == []


def test_a_folder_that_others_can_write_to_is_not_used(store, caplog):
    folder = store.parents[1] / f"tmp/reid-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with nearby(store) as path:
        assert path == store
    assert "is not a folder of this user alone" in caplog.text


def test_an_error_while_reading_frees_the_copy(store):
    with pytest.raises(KeyboardInterrupt), nearby(store):
        raise KeyboardInterrupt
    assert left(store) == []


def test_many_come_and_go_at_once(store):
    wrong = []

    def work():
        for _ in range(20):
            with nearby(store) as path:
                if path == store or path.read_bytes() != CONTENT:
                    wrong.append(path)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and left(store) == []


def test_the_folder_may_go_while_it_is_looked_at(store, monkeypatch):
    make = os.mkdir

    def was_there_a_moment_ago(path, *args, **options):
        monkeypatch.setattr(os, "mkdir", make)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))

    monkeypatch.setattr(os, "mkdir", was_there_a_moment_ago)
    with nearby(store) as path:
        assert path != store and path.read_bytes() == CONTENT
    assert left(store) == []


def test_what_a_killed_one_left_is_used_and_goes(store):
    program = f"""
import psutil, tempfile, time
from collections import namedtuple
mount = namedtuple("Mount", "mountpoint fstype")
psutil.disk_partitions = lambda all: [mount("/", "ext4"), mount({os.path.realpath(store.parent)!r}, "nfs4")]
tempfile.tempdir = {str(store.parents[1] / "tmp")!r}
from reid.data.nearby import nearby
with nearby({str(store)!r}):
    print("reads", flush=True)
    time.sleep(100)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "reads\n"
        with nearby(store) as path:
            assert path.read_bytes() == CONTENT
        assert len(left(store)) == 4, "the other process reads it"
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = next((store.parents[1] / "tmp").rglob("[!.]*.npy")).stat().st_mtime_ns
    time.sleep(0.01)
    with nearby(store) as path:
        assert path.stat().st_mtime_ns == before
    assert left(store) == []


@pytest.mark.parametrize(
    "kind, network",
    [
        *((kind, True) for kind in ("nfs", "nfs4", "CIFS", "fuse.sshfs", "lustre", "beegfs", "gpfs", "fuse.rclone")),
        *((kind, False) for kind in ("", "ext4", "xfs", "tmpfs", "overlay", "apfs", "fuseblk", "fuse.mergerfs")),
    ],
)
def test_kinds_of_file_systems(kind, network):
    assert is_network(kind) is network


def test_the_innermost_mount_counts_and_of_two_in_one_place_the_later(monkeypatch, tmp_path):
    place = os.path.realpath(tmp_path)
    mounts = [Mount("/", "ext4"), Mount(place, "nfs"), Mount(f"{place}/a", "xfs"), Mount(f"{place}/a", "tmpfs")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    (tmp_path / "link").symlink_to("/")
    for name, kind in (("b", "nfs"), ("a", "tmpfs"), ("a/b", "tmpfs"), ("ab", "nfs"), ("link/x", "ext4")):
        assert file_system(tmp_path / name) == kind


def test_the_real_mounts_are_read(tmp_path):
    assert file_system(tmp_path) != ""
