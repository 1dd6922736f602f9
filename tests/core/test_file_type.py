"""What a file is, by its first bytes."""

import gzip
import io
import os
import pickle
import socket
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from reid.core.file_type import describe, describe_bytes


def image(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (3, 3)).save(buffer, kind)
    return buffer.getvalue()


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a", "b")
    return buffer.getvalue()


def tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


def array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def parquet():
    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": [1]}), buffer)
    return buffer.getvalue()


def safetensors():
    import torch
    from safetensors.torch import save

    return save({"a": torch.zeros(2)})


def torch_file():
    import torch

    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content, what",
    [
        (lambda: b"", "empty"),
        (lambda: b"<!DOCTYPE html><html>", "a web page (HTML)"),
        (lambda: b"\xef\xbb\xbf\r\n  <HTML lang=en>", "a web page (HTML)"),
        (
            lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "a Git LFS pointer, not the file itself",
        ),
        (parquet, "a Parquet file"),
        (array, "a NumPy array"),
        (archive, "a zip archive"),
        (torch_file, "a zip archive (PyTorch's files are such, too)"),
        (lambda: archive()[-22:], "an empty zip archive"),
        (lambda: pickle.dumps({"a": [1, 2]}), "a pickle"),
        (lambda: pickle.dumps({"a": [1, 2]}, 2), "a pickle"),
        (lambda: image("PNG"), "a PNG image"),
        (lambda: image("JPEG"), "a JPEG image"),
        (lambda: image("GIF"), "a GIF image"),
        (lambda: gzip.compress(b"x"), "a gzip file"),
        (tar, "a tar archive"),
        (safetensors, "a safetensors file"),
        (lambda: b'  \n{"a": 1}', "JSON, or the beginning of it"),
        (lambda: b"[[", "JSON, or the beginning of it"),
        (lambda: b'<?xml version="1.0"?>', "XML"),
        (lambda: bytes(1000), "zeros"),
        (lambda: b"name,value\n1,2\n", "text"),
        (lambda: "Atlético – é".encode() * 60, "text"),
        (lambda: ("é" * 256).encode()[:-1], "text"),
        (lambda: "é1".encode("latin-1") * 9, "text, but not in UTF-8"),
        (lambda: "text".encode("utf-16"), "text in UTF-16, not in UTF-8"),
        (lambda: bytes(range(1, 200)), "of an unknown kind"),
        (lambda: b"\x00\x01\x02", "of an unknown kind"),
    ],
)
def test_files_are_known_by_their_first_bytes_whatever_their_name(tmp_path, content, what):
    path = tmp_path / "a.parquet"
    path.write_bytes(content())
    assert describe(path).startswith(what)
    assert describe(path) == describe_bytes(content()[:512])


def test_what_is_no_file_is_described_without_reading_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        assert describe(tmp_path / "socket") == "a socket"
    assert describe(tmp_path) == "a directory"
    assert describe(tmp_path / "pipe") == "a named pipe"
    assert describe("/dev/zero") == "a device"
    assert describe(tmp_path / "none") == "missing"
    assert describe(tmp_path / "link") == "a link to nothing"
    assert describe(tmp_path / "loop").startswith("unreadable (Too many levels of symbolic links")
    assert describe(tmp_path / ("a" * 300)) == "unreadable (File name too long)"


def test_any_first_bytes_are_described_in_one_line():
    rng = np.random.default_rng(0)
    for size in rng.integers(0, 600, 2000).tolist():
        what = describe_bytes(rng.integers(0, 256, size, np.uint8).tobytes())
        assert what and "\n" not in what
