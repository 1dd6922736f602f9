"""What a member of a zip or a file of a folder is, by its path alone: one reading for all who look at paths.

What looks like a thumbnail and cannot be used is never passed over in silence: it is lost (an error) or set aside (a
warning), by name and number.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from reid.raw.filenames import is_clutter

_SUFFIXES = "png|jpe?g|jpe|jfif|webp|bmp|gif|tiff?|avif|heic|jp2|ppm|tga"
_IMAGE = re.compile(rf"\.(?:{_SUFFIXES})[\W_]*$", re.IGNORECASE)  # blanks, dots, ~ and what cannot be seen may follow
_PNG = re.compile(r"\.png[\W_]*$", re.IGNORECASE)
_STEM = re.compile(r"[0-9]+-[0-9]+-(?:.+-)?[0-9]+x[0-9]+")  # a thumbnail's name, whatever follows
_APART = (".", "_", "@")  # begin the names of what is hidden, clutter, or out of its folder
_KINDS = 10  # of files that a message counts
_LONGEST = 400  # characters of a path in a message
_NAMED = 3  # paths that a message names


class Found(NamedTuple):
    """Paths by what they are.

    Attributes:
        images, labels: positions among the paths of the ``.png`` and of the ``bbox_info.json``.
        lost: problems: what looks like a thumbnail and cannot be used, one line for each kind.
        aside: what looks like a thumbnail or labels and is not used, one line for each kind, for a warning.
        passed_over: how many of which other kind there are.
    """

    images: list[int]
    labels: list[int]
    lost: list[str]
    aside: list[str]
    passed_over: Counter[str]


def normalise(path: str) -> str:
    """One spelling of a path: composed letters (NFC), ``/`` between the parts, none of them empty or ``.``.

    A ``/`` at the end, which marks a folder, stays; so does ``..``, which :func:`sort_paths` refuses.
    """
    if not path.isascii():
        path = unicodedata.normalize("NFC", path)
    odd = "\\" in path or "//" in path or "/./" in path or path == "."
    if odd or path.startswith(("/", "./")) or path.endswith("/."):
        path = path.replace("\\", "/")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        path = "/".join(parts) + ("/" if path.endswith("/") else "")
    return path


def member_name(stored: bytes, flags: int) -> str:
    """The name of a zip's member as :func:`normalise` spells it: UTF-8, also where an old packer does not say so, else
    code page 437.

    Args:
        stored: as the zip has it, in its directory or beside the data.
        flags: that stand with it.

    Raises:
        ValueError: it is said to be UTF-8 and is not.
    """
    try:
        text = stored.decode("utf-8")
    except UnicodeDecodeError as error:
        if flags & 0x800:
            raise ValueError(f"the name {stored[:80]!a} is said to be UTF-8 and is not") from error
        text = stored.decode("cp437")
    return normalise(text)


def shown(path: str) -> str:
    """A path for a message: what cannot be seen, or would move the cursor, is escaped; of a very long one, the end."""
    text = path if path.isprintable() and path == path.strip() else ascii(path)
    return text if len(text) <= _LONGEST else f"...{text[-_LONGEST:]}"


def some(paths: list[str]) -> str:
    """The first of some paths, and how many there are beside them."""
    more = len(paths) - _NAMED
    return ", ".join(map(shown, paths[:_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def counted(kinds: Counter[str]) -> str:
    """How many of which kind, the most common kinds first."""
    more = len(kinds) - _KINDS
    text = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(_KINDS))
    return text + (f", and {more:,} kinds more" if more > 0 else "")


def sort_paths(paths: Iterable[str], split: str) -> Found:
    """Say of each path what it is.

    Args:
        paths: as :func:`normalise` gives them; the leading split folder may be missing.
        split: which split they are of.
    """
    found = Found([], [], [], [], Counter())
    lost: dict[str, list[str]] = {}
    aside: dict[str, list[str]] = {}
    for i, path in enumerate(paths):
        ordinary = path.endswith(".png") and not path.startswith(_APART)
        if ordinary and not ("/." in path or "/_" in path or "/@" in path):  # nearly all of them
            found.images.append(i)
            continue
        kind, reason = _kind(path, split)
        if kind == "image":
            found.images.append(i)
        elif kind == "labels":
            found.labels.append(i)
        elif kind == "lost":
            lost.setdefault(reason, []).append(path)
        elif kind == "aside":
            aside.setdefault(reason, []).append(path)
        elif kind == "other":
            found.passed_over[reason] += 1
    for groups, lines in ((lost, found.lost), (aside, found.aside)):
        lines += [
            f"{len(group):,} file{'s' * (len(group) > 1)} ({reason}): {some(group)}"
            for reason, group in groups.items()
        ]
    return found


def _kind(path: str, split: str) -> tuple[str, str]:
    """Kind of a path (image, labels, lost, aside, other, folder), and why."""
    folder = path.endswith("/")
    parts = path.rstrip("/").split("/")
    file = parts[-1]
    if is_clutter(path):
        return ("folder", "") if folder else ("other", "clutter of file browsers and packers")
    image, labels = _IMAGE.search(file), "bbox_info" in file.lower()
    named = ".png" in file.lower() or bool(_STEM.match(file.lstrip(". ")))
    if folder:
        if _PNG.search(file) or (image and named):
            return "lost", "a folder that is named like an image"
        return "folder", ""
    if ".." in parts:
        if image or named or labels:
            return "lost", "'..' in the path leads out of its folder"
    elif any(part.startswith(".") for part in parts):
        if image or named or labels:
            return "aside", "hidden, for a name in the path begins with a dot; not used"
        return "other", "hidden files"
    elif file.endswith(".png"):
        return "image", ""
    elif file.endswith("bbox_info.json"):
        return "labels", ""
    elif image and (named or _in_place(parts[:-1], split)):
        return "lost", f"the name ends in {shown(image[0])}, and .png is wanted"
    elif named:
        return "aside", "named like a thumbnail, but without .png at the end; not used"
    elif labels:
        return "aside", "named like labels, but not bbox_info.json; not read"
    suffix = PurePosixPath(file).suffix
    return "other", f"other files ({'no suffix' if not suffix else suffix if suffix[1:].isalnum() else 'odd suffix'})"


def _in_place(folders: list[str], split: str) -> bool:
    """Whether thumbnails of a split lie in such folders."""
    if folders[:1] == [split]:
        folders = folders[1:]
    return len(folders) == 4 if split == "train" else folders[:1] in (["query"], ["gallery"])
