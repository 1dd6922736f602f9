"""The check that every raw zip passes, wherever it comes from, and the receipt that it gets."""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from reid.core.errors import ReidError, summarise
from reid.core.files import sha256
from reid.core.progress import bar
from reid.core.splits import SPLITS
from reid.raw.archive import member_name, open_zip
from reid.raw.filenames import ROLES, is_clutter, split_roles


def check_zip(path: Path | str, split: str, pin: str | None = None, progress: bool = True) -> dict[str, Any]:
    """Check that a zip is complete and is the split it should be: the content of its receipt.

    Nothing is unpacked: damage inside a member is found here by the pin alone, else by its CRC when it is read.

    Args:
        path: the zip.
        split: which split it should hold.
        pin: SHA-256 that it must have (64 hexadecimal digits); None for any.
        progress: show a progress bar (on a terminal).

    Returns:
        dict: split, sha256, bytes, images (number of PNG files).

    Raises:
        ReidError: missing, unreadable, cut short, encrypted, another split, or not the pinned file.
    """
    require_split(split)
    with readable(path):
        images = count_images(map(member_name, list_members(path)), split, path)
        with bar(os.path.getsize(path), f"hash {Path(path).name}", "B", progress) as done:
            digest = sha256(path, done.update)
        return make_receipt(path, split, digest, images, pin, path)


def require_split(split: str) -> None:
    """Raise a ReidError unless ``split`` is one of the four."""
    if split not in SPLITS:
        raise ReidError(f"{split}: is not a split; there are {', '.join(SPLITS)} (private labels are never fetched)")


@contextlib.contextmanager
def readable(name: Path | str) -> Iterator[None]:
    """Turn what the file system raises into a ReidError; ``name`` is for errors that name no file."""
    try:
        yield
    except OSError as error:
        raise ReidError(
            f"{error.filename or name}: cannot be read or written ({error.strerror or error}); correct this and run "
            "again"
        ) from error


def list_members(path: Path | str) -> list[zipfile.ZipInfo]:
    """Members of a zip, all of which lie inside the file and apart from each other.

    Returns:
        list of zipfile.ZipInfo, in the order of the file

    Raises:
        ReidError: the zip is cut short, patched or encrypted.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file, open_zip(path) as archive:
        members = sorted(archive.infolist(), key=lambda info: info.header_offset)
        # Looking at every header would be a seek per member on a cold disk; about 1000 are enough to see a shift.
        stride = max(1, len(members) // 1000)
        end = 0
        for number, info in enumerate(members):
            if info.flag_bits & 1:
                raise ReidError(f"{path}: {info.filename} is encrypted; fetch or pack the zip without a password")
            start, end_before = info.header_offset, end
            end = start + 30 + len(info.orig_filename) + info.compress_size  # 30 bytes: the header's fixed part
            if (
                start < end_before
                or end > archive.start_dir
                or (number % stride == 0 and os.pread(file.fileno(), 4, start) != b"PK\x03\x04")
            ):
                raise ReidError(
                    f"{path}: is not a complete zip ({info.filename} is not where the directory says); it was cut "
                    "short or changed: remove it and fetch it again"
                )
    return members


def count_images(names: Iterable[str], split: str, label: Path | str) -> int:
    """Count the images and check that each lies in a folder of the split, and each role has some.

    Args:
        names: member names; the leading ``{split}/`` may be missing.
        split: which split they should be.
        label: what error messages call the zip.
    """
    counts = dict.fromkeys(split_roles(split), 0)
    misplaced = []
    for name in names:
        if not name.lower().endswith(".png") or is_clutter(name):
            continue
        first, below, _ = name.removeprefix(f"{split}/").partition("/")
        if split == "train" and first not in SPLITS + ROLES:
            first = "train"  # it is a championship
        if below and first in counts:
            counts[first] += 1
        else:
            misplaced.append(name)
    expected = " and ".join("train/" if role == "train" else f"{split}/{role}/" for role in counts)
    if misplaced:
        what = f"{label}: is not the {split} split, whose images are in {expected} (is it another one's zip?)"
        raise ReidError(summarise(misplaced, what, limit=3))
    if empty := [role for role, count in counts.items() if not count]:
        raise ReidError(f"{label}: holds no image for {' and '.join(empty)} (expected in {expected})")
    return sum(counts.values())


def make_receipt(
    path: Path | str, split: str, digest: str, images: int, pin: str | None, label: Path | str
) -> dict[str, Any]:
    """The receipt of :func:`check_zip`.

    Raises:
        ReidError: the digest is not the pinned one; the message calls the zip ``label``.
    """
    if pin and digest != pin.lower():
        raise ReidError(
            f"{label}: its SHA-256 is {digest}, but download.sha256 of {split} in params.yaml is {pin}; if the file "
            "is wrong remove it and fetch it again, if the pin is wrong correct download.sha256"
        )
    return {"split": split, "sha256": digest, "bytes": os.path.getsize(path), "images": images}


def copy(source: Path | str, target: Path | str, progress: bool) -> str:
    """Copy a file; the SHA-256 comes from the same pass, because 12 GB are slow to read twice."""
    digest = hashlib.sha256()
    with (
        open(source, "rb") as old,
        open(target, "wb") as new,
        bar(os.path.getsize(source), f"copy {Path(source).name}", "B", progress) as done,
    ):
        while block := old.read(8 << 20):
            digest.update(block)
            new.write(block)
            done.update(len(block))
    return digest.hexdigest()
