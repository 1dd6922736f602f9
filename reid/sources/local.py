"""Raw zips from a folder on this machine: copied, or packed from the folders that the dev kit extracts.

A zip is made whole or not at all, and comes with a receipt.
"""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reid.core.cli import log
from reid.core.errors import ReidError
from reid.core.files import replacing, sha256
from reid.core.progress import bar
from reid.core.splits import SPLITS
from reid.raw.archive import member_name, pack
from reid.raw.filenames import is_clutter
from reid.sources.checks import copy, count_images, list_members, make_receipt, readable, require_split


def from_local(
    split: str, path: Path | str, folder: Path | str | None, pin: str | None = None, progress: bool = True
) -> dict[str, Any]:
    """Copy ``{split}.zip`` from a folder, or pack the folder ``{split}/`` that the dev kit extracts.

    Both are also looked for in ``{folder}/reid``; a zip goes before a folder. The same tree gives the same bytes on
    every machine; of it only images and the split's bbox_info.json are packed, for challenge (whose labels are
    hidden) images alone.

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
    folder, path = Path(folder).expanduser(), Path(path)
    with readable(folder):
        if not folder.is_dir():
            raise ReidError(f"{folder}: there is no such folder; correct download.path in params.yaml")
        places = (folder, folder / "reid")
        if path.parent.resolve() in [place.resolve() for place in places]:
            raise ReidError(
                f"{folder}: this is where the zips are written to, and they are deleted before a rerun; keep your own "
                "in another folder and set download.path in params.yaml to that"
            )
        for place in places:
            if (source := place / f"{split}.zip").is_file():
                images = count_images(map(member_name, list_members(source)), split, source)
                with replacing(path) as partial:
                    digest = copy(source, partial, progress)
                    receipt = make_receipt(partial, split, digest, images, pin, source)
                return {**receipt, "source": "local"}
        for place in places:
            if (tree := place / split).is_dir():
                return {**_pack_tree(tree, split, path, pin, progress), "source": "local"}
        there = [s for s in SPLITS if any((p / f"{s}.zip").is_file() or (p / s).is_dir() for p in places)]
    raise ReidError(
        f"{folder}: holds no {split} split; looked for {split}.zip, reid/{split}.zip, {split}/ and reid/{split}/; "
        f"of the four splits there {'is' if len(there) < 2 else 'are'} {', '.join(there) or 'none'}. Put it there, or "
        "correct download.path in params.yaml"
    )


def _pack_tree(tree: Path, split: str, path: Path, pin: str | None, progress: bool) -> dict[str, Any]:
    """Pack a folder in the order of its names, which does not depend on the machine; returns the receipt."""
    labels = set() if split == "challenge" else {f"{split}/bbox_info.json", f"{split}/{split}_bbox_info.json"}
    members: dict[str, Path] = {}
    passed: list[str] = []

    def visit(folder: Path, name: str, above: frozenset[tuple[int, int]]) -> None:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            raise ReidError(f"{folder}: is a link that leads back to a folder above it; remove the link")
        for entry in list(os.scandir(folder)):
            inside = unicodedata.normalize("NFC", f"{name}/{entry.name}")  # macOS lists decomposed letters
            if is_clutter(entry.name):
                passed.append(inside)
            elif entry.is_dir():
                visit(folder / entry.name, inside, above | {here})
            elif entry.name.lower().endswith(".png") or inside in labels:
                members[inside] = folder / entry.name
            else:
                passed.append(inside)

    def contents(done: tqdm) -> Iterator[tuple[str, bytes]]:
        for name in sorted(members):
            content = members[name].read_bytes()
            yield name, content
            done.update()

    visit(tree, split, frozenset())
    if passed:
        log.info(f"{tree}: passed over {len(passed)} files or folders that are no data: {min(passed)!a} ...")
    images = count_images(members, split, tree)
    with replacing(path) as partial:
        with bar(len(members), f"pack {split}", "image", progress) as done:
            try:
                pack(partial, contents(done))
            except UnicodeEncodeError as error:
                raise ReidError(
                    f"{tree}: the name {error.object!a} is not UTF-8; take the zip itself, or extract it anew"
                ) from error
        return make_receipt(partial, split, sha256(partial), images, pin, f"{path} (packed from {tree})")
