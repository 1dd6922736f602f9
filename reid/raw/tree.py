"""A folder and all below it, within the bounds of a split: links are followed, and none leads round for ever."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from reid.core.errors import ReidError
from reid.raw.filenames import is_clutter
from reid.raw.sizes import MOST_FOLDERS, MOST_MEMBERS

_DEEPEST = 32  # folders; images of SoccerNet-ReID lie 5 deep

Found = tuple[str, os.DirEntry[str], bool]


def walk(folder: Path | str) -> Iterator[Found]:
    """What lies in a folder and in all folders below it, in the order of the disk; links to folders are followed.

    Yields:
        (str, os.DirEntry, bool): name relative to the folder, with "/"; the entry; whether it is a folder whose own
            entries follow: clutter is not looked into

    Raises:
        ReidError: a link leads back to a folder above it, or there is more, or deeper, than any split has.
        OSError: a folder cannot be read.
    """
    members, folders = 0, 0

    def visit(inner: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[Found]:
        nonlocal members, folders
        status = os.stat(inner)
        here = (status.st_dev, status.st_ino)
        if here in above:
            raise ReidError(f"{inner}: is a link that leads back to a folder above it; remove the link")
        if len(above) > _DEEPEST:
            raise ReidError(f"{inner}: lies more than {_DEEPEST} folders deep, and images lie 5 deep; move it")
        folders += 1
        if folders > MOST_FOLDERS:
            raise ReidError(
                f"{folder}: holds more than {MOST_FOLDERS:,} folders, each as often as links lead to it, and no split "
                "has so many"
            )
        for entry in list(islice(os.scandir(inner), MOST_MEMBERS + 1)):
            members += 1
            if members > MOST_MEMBERS:
                raise ReidError(f"{folder}: holds more than {MOST_MEMBERS:,} files, and no split has so many")
            name = f"{prefix}{entry.name}"
            enter = entry.is_dir() and not is_clutter(name)
            yield name, entry, enter
            if enter:
                yield from visit(entry.path, f"{name}/", above | {here})

    return visit(os.fspath(folder), "", frozenset())
