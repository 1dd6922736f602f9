"""The check that every raw zip passes, wherever it comes from, and the receipt that it gets."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reid.core.checksums import Sums
from reid.core.cli import log
from reid.core.copying import read_through
from reid.core.errors import ReidError, summarise
from reid.core.files import regular
from reid.core.splits import SPLITS
from reid.raw.directory import list_members
from reid.raw.filenames import locate, split_roles
from reid.raw.members import Found, counted, shown, sort_paths
from reid.raw.sizes import check_file_size


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
    return examine(path, split, pin, progress)[0]


def examine(path: Path | str, split: str, pin: str | None, progress: bool) -> tuple[dict[str, Any], Sums]:
    """:func:`check_zip`, and the digests of the same pass (see :mod:`reid.core.checksums`)."""
    require_split(split)
    with readable(path):
        images = check_members(regular(path), split)
        digest, sums = read_through(path, f"hash {Path(path).name}", progress)
        return make_receipt(path, split, digest, images, pin, path), sums


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


def check_members(path: Path | str, split: str) -> int:
    """Check the members of a zip as far as its directory tells.

    Returns:
        int: number of images

    Raises:
        ReidError: the zip is cut short, patched or encrypted, what looks like a thumbnail cannot be used, or it is
            another split.
        OSError: the file cannot be read.
    """
    members = list_members(path)
    found = count_images([member.name for member in members], split, path)
    problems = []
    for member in (members[i] for i in [*found.images, *found.labels]):
        try:
            if reason := member.problem():
                raise ValueError(reason)
            check_file_size(member.name, member.size, len(found.images))
        except ValueError as error:
            problems.append(f"{shown(member.name)}: {error}")
    if problems:
        raise ReidError(summarise(problems, f"{path}: cannot be used", limit=3))
    return len(found.images)


def count_images(paths: list[str], split: str, label: Path | str) -> Found:
    """Say what the paths of a split are, and check that each image lies where it belongs and each role has some.

    What looks like a thumbnail and is not used is said in a warning.

    Args:
        paths: as :func:`reid.raw.members.normalise` gives them; the leading ``{split}/`` may be missing.
        split: which split they should be.
        label: what messages call the zip or folder.

    Raises:
        ReidError: what looks like a thumbnail cannot be used, or it is another split.
    """
    found = sort_paths(paths, split)
    for line in found.aside:
        log.warning("%s: %s", label, line)
    if found.lost:
        advice = "\nOf JPEGs in a folder scripts/own_dataset.py makes zips." if ".jp" in " ".join(found.lost) else ""
        what = f"{label}: holds what looks like a thumbnail and cannot be used"
        raise ReidError(summarise(found.lost, what) + advice)
    counts = dict.fromkeys(split_roles(split), 0)
    misplaced = []
    for name in (paths[i] for i in found.images):
        try:
            counts[locate(name, split)[0]] += 1
        except ValueError as error:
            misplaced.append(f"{shown(name)}: {error}")
    expected = " and ".join("train/" if role == "train" else f"{split}/{role}/" for role in counts)
    if misplaced:
        what = f"{label}: is not the {split} split, whose images are in {expected} (is it another one's?)"
        raise ReidError(summarise(misplaced, what, limit=3))
    if empty := [role for role, count in counts.items() if not count]:
        others = counted(found.passed_over)
        raise ReidError(
            f"{label}: holds no image for {' and '.join(empty)} (expected in {expected})"
            + (f"; beside images it holds {others}" if others else "")
        )
    return found


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
