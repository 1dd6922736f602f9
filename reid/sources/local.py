"""Raw zips from a folder on this machine: copied, or packed from the folders that the dev kit extracts.

A zip is made whole or not at all, and comes with a receipt.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reid.core.checksums import read_verified
from reid.core.cli import log
from reid.core.copying import read_through
from reid.core.errors import ReidError
from reid.core.file_type import no_folder
from reid.core.files import regular, replacing
from reid.core.progress import bar
from reid.core.splits import SPLITS, split_folders
from reid.raw.archive import write_members
from reid.raw.members import counted, normalise, shown
from reid.raw.sizes import MOST_UNPACKED, check_file_size
from reid.raw.tree import walk
from reid.sources.checks import check_members, count_images, make_receipt, readable, require_split


def from_local(
    split: str, path: Path | str, folder: Path | str | None, pin: str | None = None, progress: bool = True
) -> dict[str, Any]:
    """Copy ``{split}.zip`` from a folder, or pack the folder ``{split}/`` that the dev kit extracts.

    Both are also looked for in ``{folder}/reid`` and ``{folder}/soccernetv3/reid``; a zip goes before a folder. The
    same tree gives the same bytes on every machine; of it only images and the split's bbox_info.json are packed, for
    challenge (whose labels are hidden) images alone.

    Args:
        split: train, valid, test or challenge.
        path: the zip to make: a copy, never a link, so that the user's own file cannot change with it.
        folder: where the zips or folders are; ``~`` is the home folder.
        pin: SHA-256 that ``path`` must have; None for any.
        progress: show progress bars (on a terminal).

    Returns:
        dict: the receipt of :func:`reid.sources.checks.check_zip`, and ``source``.

    Raises:
        ReidError: nothing of the split is there, or it cannot be read, is incomplete or is not the pinned one.
    """
    require_split(split)
    if not folder:
        raise ReidError(
            "params.yaml: download.path is not set; download.source: local needs the folder that holds the zips"
        )
    try:
        folder, path = Path(folder).expanduser(), Path(path)
    except RuntimeError as error:
        raise ReidError(f"{folder}: {error}; correct download.path in params.yaml") from error
    with readable(folder):
        if not folder.is_dir():
            raise ReidError(f"{folder}: {no_folder(folder)}; correct download.path in params.yaml")
        places = split_folders(folder)
        if path.parent.resolve() in [place.resolve() for place in places]:
            raise ReidError(
                f"{folder}: this is where the zips are written to, and they are deleted before a rerun; keep your own "
                "in another folder and set download.path in params.yaml to that"
            )
        for place in places:
            if os.path.lexists(source := place / f"{split}.zip"):
                return {**_copy_zip(source, split, path, pin, progress), "source": "local"}
        for place in places:
            if os.path.lexists(tree := place / split):
                if not tree.is_dir():
                    raise ReidError(f"{tree}: {no_folder(tree)}")
                return {**_pack_tree(tree, split, path, pin, progress), "source": "local"}
        there = [s for s in SPLITS if any((p / f"{s}.zip").is_file() or (p / s).is_dir() for p in places)]
    raise ReidError(
        f"{folder}: holds no {split} split; looked for {split}.zip and {split}/ in it, in reid/ and in "
        f"soccernetv3/reid/; of the four splits there {'is' if len(there) < 2 else 'are'} "
        f"{', '.join(there) or 'none'}. Put it there, or correct download.path in params.yaml. (Of a folder per "
        "identity scripts/own_dataset.py makes such zips.)"
    )


def _copy_zip(source: Path, split: str, path: Path, pin: str | None, progress: bool) -> dict[str, Any]:
    """Copy a zip; returns the receipt."""
    images = check_members(regular(source), split)
    with replacing(path, lambda: sums) as partial:
        digest, sums = read_through(source, f"copy {source.name}", progress, partial)
        return make_receipt(partial, split, digest, images, pin, source)


def _pack_tree(tree: Path, split: str, path: Path, pin: str | None, progress: bool) -> dict[str, Any]:
    """Pack a folder in the order of its names, which does not depend on the machine; returns the receipt."""
    files, away = _list_tree(tree, split)
    names = list(files)
    try:
        found = count_images(names, split, tree)
    except ReidError as error:
        if not (tree / split).is_dir():
            raise
        raise ReidError(f"{error}\nIt holds another {split}/: set download.path in params.yaml to {tree}") from error
    wanted = set() if split == "challenge" else {f"{split}/bbox_info.json", f"{split}/{split}_bbox_info.json"}
    chosen = [names[i] for i in found.images] + [names[i] for i in found.labels if names[i] in wanted]
    packed = set(chosen)
    _warn_of_links(tree, [files[name] for name in away if name.endswith("/") or name in packed])
    kinds = found.passed_over + Counter({"bbox_info.json": len(found.images) + len(found.labels) - len(chosen)})
    if kinds:
        log.info(f"{tree}: passed over {kinds.total():,} files or folders that are no data: {counted(kinds)}")
    for name in chosen:
        try:
            check_file_size(name, regular(files[name]).stat().st_size, len(found.images))
        except ValueError as error:
            raise ReidError(f"{shown(str(files[name]))}: {error}") from error

    def contents(done: tqdm) -> Iterator[tuple[str, bytes]]:
        for name in sorted(chosen):
            yield name, read_verified(files[name], MOST_UNPACKED)
            done.update()

    with replacing(path, lambda: sums) as partial:
        with bar(len(chosen), f"pack {split}", "image", progress) as done:
            try:
                write_members(partial, contents(done))
            except UnicodeEncodeError as error:
                raise ReidError(
                    f"{tree}: the name {error.object!a} is not UTF-8; take the zip itself, or extract it anew"
                ) from error
        digest, sums = read_through(partial, f"hash {path.name}", progress)
        return make_receipt(partial, split, digest, len(found.images), pin, f"{path} (packed from {tree})")


def _list_tree(tree: Path, split: str) -> tuple[dict[str, Path], list[str]]:
    """List a folder and all below it.

    Returns:
        dict: name (see :func:`reid.raw.members.normalise`) to path of each file and folder; a folder's ends in "/",
            but for those that are clutter, which are not looked into
        list of str: names of links that lead out of the folder
    """
    files: dict[str, Path] = {}
    away: list[str] = []
    root = os.path.realpath(tree)
    for name, entry, entered in walk(tree):
        inside, path = normalise(f"{split}/{name}") + "/" * entered, tree / name
        if inside in files:
            raise ReidError(
                f"{shown(str(path))}: has the name of {shown(str(files[inside]))}, spelt in another way; "
                "remove one of them"
            )
        files[inside] = path
        if entry.is_symlink() and not os.path.realpath(path).startswith(f"{root}{os.sep}"):
            away.append(inside)
    return files, away


def _warn_of_links(tree: Path, links: list[Path]) -> None:
    """Say which links lead out of a folder: what they lead to is packed as if it lay there."""
    if links:
        first = f"{shown(str(links[0]))} leads to {shown(os.path.realpath(links[0]))}"
        log.warning(f"{tree}: {len(links):,} of what is packed lies elsewhere, behind links: {first}")
