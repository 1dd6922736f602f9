"""What a file is, by its first bytes, for messages: not what its name says."""

import codecs
import os
import stat
from pathlib import Path

_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (`git lfs pull` fetches it)"),
    (b"PAR1", "a Parquet file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a zip archive (PyTorch's files are such, too)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"SQLite format 3", "an SQLite database"),
    (b"%PDF", "a PDF"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"GIF8", "a GIF image"),
    (b"\xff\xfe", "text in UTF-16, not in UTF-8"),
    (b"\xfe\xff", "text in UTF-16, not in UTF-8"),
)
_SPECIAL = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def describe(path: Path | str) -> str:
    """What a file is, in words that fit behind "is": "a web page (HTML)", "empty", "a named pipe", ...

    Never reads more than a few hundred bytes, and nothing of what is not a regular file.
    """
    try:
        mode = os.stat(path).st_mode
        special = next((name for test, name in _SPECIAL if test(mode)), None)
        if special:
            return special
        with open(path, "rb") as file:
            start = file.read(512)
    except FileNotFoundError:
        return "a link to nothing" if os.path.islink(path) else "missing"
    except OSError as error:
        return f"unreadable ({error.strerror})"
    return describe_bytes(start)


def no_folder(path: Path | str) -> str:
    """What is wrong with a path that should be a folder and is none, in words that follow it."""
    what = describe(path)
    return "there is no such folder" if what == "missing" else f"is {what}, not a folder"


def describe_bytes(start: bytes) -> str:
    """:func:`describe` of the first bytes of something."""
    if not start:
        return "empty"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:14].lower().startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page (HTML)"
    for magic, name in _KINDS:
        if start.startswith(magic):
            return name
    if len(start) > 8 and 2 <= int.from_bytes(start[:8], "little") < 100_000_000 and start[8:9] == b"{":
        return "a safetensors file"
    if text[:1] in (b"{", b"["):
        return "JSON, or the beginning of it"
    if text[:1] == b"<":
        return "XML"
    if not start.strip(b"\0"):
        return "zeros"
    if start[257:262] == b"ustar":
        return "a tar archive"
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in start):
        try:
            codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
            return "text"
        except UnicodeDecodeError:
            return "text, but not in UTF-8"
    return "of an unknown kind"
