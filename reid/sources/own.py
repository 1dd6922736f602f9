"""Crops of one's own as a data set: PNGs and JPEGs become zips in the layout of SoccerNet-ReID.

They lie in a folder per identity; what the layout asks for beside that is made up: actions are groups of identities,
and the first image of an identity is its query. Or they have SoccerNet-ReID's folders and names, and keep them but for
the ending. Pixels are kept: a JPEG is decoded once, a PNG goes in as it is.
"""

import contextlib
import io
import os
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow as pa
from tqdm import tqdm

from reid.core.checksums import read_verified
from reid.core.cli import log
from reid.core.errors import ReidError, summarise
from reid.core.files import regular, replacing
from reid.core.progress import bar
from reid.core.splits import LABELLED, SPLITS, split_folders
from reid.data.images import open_jpeg
from reid.data.index import COMPARED, inconsistencies, read_path
from reid.raw.archive import write_members
from reid.raw.filenames import Thumbnail, format_name, parse_name
from reid.raw.images import list_images
from reid.raw.members import counted, shown
from reid.raw.png import essential, image_size
from reid.raw.sizes import MOST_UNPACKED, check_image_size

_EVERY = 5  # of so many identities one goes to valid, where folders do not say
_LONGEST_SIDE = 99_999  # pixels: names have five digits for it
_CLASS, _NO_JERSEY = "Player_team_unknown_1", "None"
WANTED = (
    "wanted is FOLDER/IDENTITY/IMAGE.jpg (or .png), or FOLDER/train/IDENTITY/..., FOLDER/valid/..., FOLDER/test/... "
    "where you split yourself, or FOLDER/SPLIT/ with the folders and names of SoccerNet-ReID"
)

Identities = dict[str, list[str]]  # name to names of images, both sorted


class Entry(NamedTuple):
    """An image, and its name in the zip by its (height, width); a ValueError says that this size cannot be."""

    name: str  # relative to the folder
    member: Callable[[tuple[int, int]], str]


class Split(NamedTuple):
    """What a zip is to hold, and how many identities and actions there are."""

    entries: list[Entry]
    identities: int
    actions: int


class Planned(NamedTuple):
    """An image and its place in a split."""

    name: str  # relative to the folder
    role: str
    bbox_idx: int
    action_idx: int
    person_uid: int
    frame_idx: int


def own_dataset(
    folder: Path | str, out: Path | str, per_action: int = 10, progress: bool = True
) -> dict[str, tuple[int, int, int]]:
    """Make a zip of each split, for ``download.source: local``.

    Args:
        folder: holds a folder per identity, or train, valid and test with a folder per identity each. In the first
            case every fifth identity, by name, goes to valid, and the others to train.
        out: the folder for ``{split}.zip``.
        per_action: identities that are compared with each other.
        progress: show a bar.

    Returns:
        dict: split to its numbers of images, identities and actions

    Raises:
        ReidError: the folder is laid out in another way, images cannot be used (all are named), a split that is
            scored has no identity with two images, the index would refuse a zip, or ``out`` holds a split of another
            set.
    """
    splits = _splits(Path(folder), per_action)
    _check_alone(Path(out), splits)
    problems: list[str] = []
    total = sum(len(split.entries) for split in splits.values())
    with bar(2 * total, "pack", "image", progress) as done:

        def members(split: Split) -> Iterator[tuple[str, bytes]]:
            for entry in split.entries:
                content, size = as_png(Path(folder) / entry.name)
                yield entry.member(size), content
                done.update()

        for name, split in splits.items():  # all are looked at before anything is written
            problems += _problems(Path(folder), name, split, done)
        if problems:
            raise ReidError(summarise(problems, "images that cannot be used", len(problems)))
        with contextlib.ExitStack() as whole:  # those of an earlier set stay until all of this one are packed
            zips = {name: whole.enter_context(replacing(Path(out) / f"{name}.zip")) for name in reversed(splits)}
            for name, split in splits.items():
                write_members(zips[name], members(split))
    return {name: (len(split.entries), split.identities, split.actions) for name, split in splits.items()}


def _check_alone(out: Path, made: Collection[str]) -> None:
    """Check that a folder holds no split of another set, which would go with those that are made for it."""
    for split in SPLITS:
        for place in (path for folder in split_folders(out) for path in (folder / f"{split}.zip", folder / split)):
            if split not in made and os.path.lexists(place):
                raise ReidError(
                    f"{place}: is of another set, and would be taken with the new {', '.join(made)}; remove it, or "
                    "name another folder with --out"
                )


def _problems(folder: Path, name: str, split: Split, done: tqdm) -> list[str]:
    """Why images of a split cannot be used, or the index would refuse its zip."""
    rows, problems = [], []
    for entry in split.entries:
        path = folder / entry.name
        try:
            role, _, box = read_path(entry.member(as_png(path)[1]), name)
            rows.append((role, box.bbox_idx, box.action_idx, box.person_uid, str(path)))
        except ValueError as error:
            problems.append(f"{shown(str(path))}: {error}")
        done.update()
    if not problems:
        columns = zip(COMPARED, zip(*rows, strict=True), strict=True)
        problems = inconsistencies(pa.table({column: pa.array(values) for column, values in columns}), name)
    return problems


def _splits(folder: Path, per_action: int) -> dict[str, Split]:
    """What each split is to hold, by the layout of the folder."""
    found = list_images(folder)
    if found.passed_over:
        log.info("%s: passed over what is no image by its name: %s", folder, counted(found.passed_over))
    if named := _as_named(found.names):
        return named
    result = {}
    for split, identities in _by_identity(folder, found.names).items():
        planned = plan(identities, split, per_action)
        entries = [Entry(image.name, partial(_member, image, split)) for image in planned]
        result[split] = Split(entries, len(identities), len({image.action_idx for image in planned}))
    return result


def _as_named(names: list[str]) -> dict[str, Split]:
    """Splits of images that have SoccerNet-ReID's names; none if one has another."""
    boxes: dict[str, list[tuple[str, Thumbnail]]] = {}
    for name in names:
        path = PurePosixPath(name)
        try:
            thumbnail = parse_name(f"{path.stem}.png")
        except ValueError:
            return {}
        if path.parts[0] not in SPLITS:
            return {}
        boxes.setdefault(path.parts[0], []).append((name, thumbnail))
    return {
        split: Split(
            [Entry(name, partial(_kept, name, thumbnail)) for name, thumbnail in of_split],
            len({thumbnail.person_uid for _, thumbnail in of_split} - {None}),
            len({thumbnail.action_idx for _, thumbnail in of_split}),
        )
        for split, of_split in boxes.items()
    }


def _kept(name: str, thumbnail: Thumbnail, size: tuple[int, int]) -> str:
    """The name of an image that has SoccerNet-ReID's, with another ending."""
    said = thumbnail.height, thumbnail.width
    if size != said:
        raise ValueError(f"it is {size[0]}x{size[1]}, but its name says {said[0]}x{said[1]} (height x width)")
    return str(PurePosixPath(name).with_suffix(".png"))


def _by_identity(folder: Path, names: list[str]) -> dict[str, Identities]:
    """Identities of each split."""
    parts = [name.split("/") for name in names]
    given = {first for first, *rest in parts if rest} <= set(LABELLED)
    depth = 3 if given else 2
    wrong = [name for name, part in zip(names, parts, strict=True) if len(part) != depth]
    if wrong or not parts:
        first = f", and {shown(wrong[0])} is none of that" if wrong else ", and there is no image"
        raise ReidError(f"{folder}: {WANTED}{first}")
    splits: dict[str, Identities] = {}
    if given:
        for name, (split, identity, _) in zip(names, parts, strict=True):
            splits.setdefault(split, {}).setdefault(identity, []).append(name)
        return splits
    identities: Identities = {}
    for name, (identity, _) in zip(names, parts, strict=True):
        identities.setdefault(identity, []).append(name)
    if len(identities) < _EVERY:
        raise ReidError(
            f"{folder}: has {len(identities)} identities, too few for valid, to which every {_EVERY}th goes; split "
            f"yourself; {WANTED}"
        )
    for number, (identity, images) in enumerate(identities.items()):
        split = "valid" if number % _EVERY == _EVERY - 1 else "train"
        splits.setdefault(split, {})[identity] = images
    return splits


def plan(identities: Identities, split: str, per_action: int) -> list[Planned]:
    """Deal identities to actions, and images to roles.

    Identities are dealt in turns to groups of at least two, with at most ``per_action`` of two or more images; those
    with one image, which are dealt last, are no query.

    Raises:
        ReidError: no identity has two images, or a split that is scored has one identity alone.
    """
    several = [name for name, images in identities.items() if len(images) > 1]
    if not several:
        raise ReidError(f"{split}: no identity has two images, so that there is nothing to find; {WANTED}")
    if split != "train" and len(identities) < 2:
        raise ReidError(
            f"{split}: has one identity, and nobody whom its queries could be mistaken for; of a folder per identity "
            f"every {_EVERY}th is for valid, so take {2 * _EVERY} of them, or split yourself; {WANTED}"
        )
    groups = max(1, min(-(-len(several) // per_action), len(identities) // 2))
    single = [name for name, images in identities.items() if len(images) == 1]
    action = {name: number % groups for number, name in enumerate([*several, *single])}
    result: list[Planned] = []
    boxes = {"train": 0, "query": 0, "gallery": 0}
    for person, name in enumerate(identities):
        images = identities[name]
        for number, image in enumerate(images):
            role = "query" if number == 0 and len(images) > 1 else "gallery"
            role = "train" if split == "train" else role
            result.append(Planned(image, role, boxes[role], action[name], person, number))
            boxes[role] += 1
    return result


def _member(image: Planned, split: str, size: tuple[int, int]) -> str:
    height, width = size
    if max(size) > _LONGEST_SIDE:
        raise ValueError(f"it is {height}x{width} (height x width), and a side has {_LONGEST_SIDE:,} pixels at most")
    uai = f"{image.action_idx:03}r{image.frame_idx:03}_{image.person_uid:012}"
    numbers = image.bbox_idx, image.action_idx, image.person_uid, image.frame_idx
    name = format_name(Thumbnail(*numbers, _CLASS, _NO_JERSEY, uai, height, width))
    role = "" if split == "train" else f"{image.role}/"
    return f"{split}/{role}own/own/own/{image.action_idx}/{name}"


def as_png(path: Path) -> tuple[bytes, tuple[int, int]]:
    """A PNG or JPEG as PNG.

    Returns:
        (bytes, (int, int)): the PNG; its height and width

    Raises:
        ValueError: it is neither, or cannot be used.
    """
    try:
        content = read_verified(regular(path), MOST_UNPACKED)
    except (OSError, ReidError) as error:
        raise ValueError(f"cannot be read ({error})") from error
    if not content.startswith(b"\xff\xd8\xff"):
        size = image_size(content)
        check_image_size(*size, len(content))
        essential(content)  # it is whole
        return content, size
    image = open_jpeg(content)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue(), (image.height, image.width)
