"""Folders of images with any names: PNG and JPEG files, listed in an order that does not depend on the machine."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from reid.core.errors import ReidError
from reid.core.file_type import no_folder
from reid.raw.filenames import is_clutter
from reid.raw.tree import walk

ENDINGS = (".png", ".jpg", ".jpeg")


class Listing(NamedTuple):
    """What a folder holds: names of images relative to it, with "/", sorted; and how many others, by their ending."""

    names: list[str]
    passed_over: Counter[str]


def list_images(folder: Path | str) -> Listing:
    """List the images in a folder and in all folders below it; links to folders are followed.

    An image is what ends in .png, .jpg or .jpeg, of any case. What file browsers leave behind does not count.

    Raises:
        ReidError: there is no such folder, it cannot be read, a link leads back to a folder above it, it holds more
            than any split, or the name of an image is not UTF-8.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ReidError(f"{folder}: {no_folder(folder)}; name the folder that holds the images")
    names: list[str] = []
    passed_over: Counter[str] = Counter()

    try:
        for name, entry, entered in walk(folder):
            if entered or is_clutter(name):
                continue
            if name.lower().endswith(ENDINGS):
                names.append(name)
            else:
                passed_over[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1
    except OSError as error:
        raise ReidError(f"{error.filename or folder}: cannot be read ({error.strerror}); change its rights") from error
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ReidError(f"{folder}: the name {name!a} is not UTF-8; rename the file") from error
    return Listing(sorted(names), passed_over)
