"""A full disk: one error that says so, nothing under a finished file's name, and the next run makes it."""

import os
import subprocess
import sys

import pytest

from builders import ROOT
from builders.split import TinySplit, write_zip


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_error_and_nothing_half_written_is_left(small_disk, tmp_path):
    zip_path = write_zip(tmp_path / "valid.zip", TinySplit("valid").members())
    index = tmp_path / "index.parquet"
    run([ROOT / "scripts/index.py", "--split", "valid", "--zip", zip_path, "--out", index])
    params = tmp_path / "params.yaml"
    small, large = "{height: 64, width: 32}", "{height: 256, width: 128}"
    params.write_text((ROOT / "params.yaml").read_text().replace(small, large))
    words = ["--zip", zip_path, "--index", index, "--params", params]
    done = run([ROOT / "scripts/thumbnails.py", *words, "--out", small_disk / "store.npy"], fails=True)
    assert "the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert os.listdir(small_disk) == []
    run([ROOT / "scripts/thumbnails.py", *words, "--out", tmp_path / "store.npy"])


def test_a_disk_that_is_full_for_the_digests_alone_leaves_no_file_without_them(small_disk):
    (small_disk / "filler").write_bytes(bytes(180_000))
    code = (
        "import pathlib, sys; from reid.core.files import replacing\n"
        "with replacing(sys.argv[1]) as partial: partial.write_bytes(bytes(12_000))"
    )
    done = subprocess.run([sys.executable, "-c", code, small_disk / "a.bin"], capture_output=True, text=True)
    left = {name for name in os.listdir(small_disk) if name != "filler"}
    assert left in ({"a.bin", ".a.bin.sums"}, set()) or (done.returncode and not left & {"a.bin"})


def run(words, fails=False):
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert bool(done.returncode) == fails, done.stderr
    return done
