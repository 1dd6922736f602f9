"""Folders of images with any names: PNG and JPEG files, listed in an order that does not depend on the machine."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from reid.core.errors import ReidError
from reid.core.file_type import describe
from reid.raw.filenames import is_clutter

ENDINGS = (".png", ".jpg", ".jpeg")


class Listing(NamedTuple):
    """What a folder holds: names of images relative to it, with "/", sorted; and how many others, by their ending."""

    names: list[str]
    passed_over: Counter[str]


def list_images(folder: Path | str) -> Listing:
    """List the images in a folder and in all folders below it; links to folders are followed.

    An image is what ends in .png, .jpg or .jpeg, of any case. What file browsers leave behind does not count.

    Raises:
        ReidError: there is no such folder, it cannot be read, a link leads back to a folder above it, or the name of
            an image is not UTF-8.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = describe(folder)
        problem = "there is no such folder" if what == "missing" else f"is {what}, not a folder"
        raise ReidError(f"{folder}: {problem}; name the folder that holds the images")
    names: list[str] = []
    passed_over: Counter[str] = Counter()

    def visit(inner: Path, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        status = inner.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            raise ReidError(f"{inner}: is a link that leads back to a folder above it; remove the link")
        for entry in os.scandir(inner):
            name = f"{prefix}{entry.name}"
            if is_clutter(name):
                continue
            if entry.is_dir():
                visit(inner / entry.name, f"{name}/", above | {here})
            elif name.lower().endswith(ENDINGS):
                names.append(name)
            else:
                passed_over[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1

    try:
        visit(folder, "", frozenset())
    except OSError as error:
        raise ReidError(f"{error.filename or folder}: cannot be read ({error.strerror}); change its rights") from error
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ReidError(f"{folder}: the name {name!a} is not UTF-8; rename the file") from error
    return Listing(sorted(names), passed_over)
