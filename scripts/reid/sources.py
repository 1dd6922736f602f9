"""Raw zips from a folder on this machine, and the check that every raw zip passes, wherever it comes from.

A zip is made whole or not at all, and comes with a receipt. The zips stay zips: nothing is extracted.
"""

import contextlib
import hashlib
import os
import unicodedata
from pathlib import Path

from reid.archive import member_name, open_zip, pack
from reid.cli import log
from reid.errors import ReidError, summarise
from reid.filenames import ROLES, SPLITS, is_clutter, split_roles
from reid.files import replacing, sha256
from reid.progress import bar


def from_local(split, path, folder, pin=None, progress=True):
    """Copy ``{split}.zip`` from a folder, or pack the folder ``{split}/`` that the dev kit extracts.

    Both are also looked for in ``{folder}/reid``; a zip goes before a folder. The same tree gives the same bytes on
    every machine; of it only pictures and the split's bbox_info.json are packed, for challenge (whose labels are
    hidden) pictures alone.

    Args:
        split: train, valid, test or challenge.
        path: the zip to make: a copy, never a link, so that the user's own file cannot change with it.
        folder: where the zips or folders are; ``~`` is the home folder.
        pin: SHA-256 that ``path`` must have; None for any.
        progress: show progress bars (on a terminal).

    Returns:
        dict: the receipt of :func:`check_zip`, and ``source``.

    Raises:
        ReidError: nothing of the split is there, or it cannot be read, is incomplete or is not the pinned one.
    """
    known(split)
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
                pictures = _pictures(map(member_name, list_members(source)), split, source)
                with replacing(path) as partial:
                    digest = copy(source, partial, progress)
                    receipt = _receipt(partial, split, digest, pictures, pin, source)
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


def check_zip(path, split, pin=None, progress=True):
    """Check that a zip is complete and is the split it should be: the content of its receipt.

    Nothing is unpacked: damage inside a member is found here by the pin alone, else by its CRC when it is read.

    Args:
        path: the zip.
        split: which split it should hold.
        pin: SHA-256 that it must have (64 hexadecimal digits); None for any.
        progress: show a progress bar (on a terminal).

    Returns:
        dict: split, sha256, bytes, pictures (number of PNG files).

    Raises:
        ReidError: missing, unreadable, cut short, encrypted, another split, or not the pinned file.
    """
    known(split)
    with readable(path):
        pictures = _pictures(map(member_name, list_members(path)), split, path)
        with bar(os.path.getsize(path), f"hash {Path(path).name}", "B", progress) as done:
            digest = sha256(path, done.update)
        return _receipt(path, split, digest, pictures, pin, path)


def known(split):
    if split not in SPLITS:
        raise ReidError(f"{split}: is not a split; there are {', '.join(SPLITS)} (private labels are never fetched)")


@contextlib.contextmanager
def readable(name):
    """Turn what the file system raises into a ReidError; ``name`` is for errors that name no file."""
    try:
        yield
    except OSError as error:
        raise ReidError(
            f"{error.filename or name}: cannot be read or written ({error.strerror or error}); correct this and run "
            "again"
        ) from error


def list_members(path):
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


def _pictures(names, split, label):
    """Count the pictures and check that each lies in a folder of the split, and each role has some.

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
        what = f"{label}: is not the {split} split, whose pictures are in {expected} (is it another one's zip?)"
        raise ReidError(summarise(misplaced, what, limit=3))
    if empty := [role for role, count in counts.items() if not count]:
        raise ReidError(f"{label}: holds no picture for {' and '.join(empty)} (expected in {expected})")
    return sum(counts.values())


def _receipt(path, split, digest, pictures, pin, label):
    if pin and digest != pin.lower():
        raise ReidError(
            f"{label}: its SHA-256 is {digest}, but download.sha256 of {split} in params.yaml is {pin}; if the file "
            "is wrong remove it and fetch it again, if the pin is wrong correct download.sha256"
        )
    return {"split": split, "sha256": digest, "bytes": os.path.getsize(path), "pictures": pictures}


def copy(source, target, progress):
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


def _pack_tree(tree, split, path, pin, progress):
    labels = set() if split == "challenge" else {f"{split}/bbox_info.json", f"{split}/{split}_bbox_info.json"}
    members, passed = {}, []

    def visit(folder, name, above):
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

    def contents(done):
        for name in sorted(members):
            content = members[name].read_bytes()
            yield name, content
            done.update()

    visit(tree, split, frozenset())
    if passed:
        log.info(f"{tree}: passed over {len(passed)} files or folders that are no data: {min(passed)!a} ...")
    pictures = _pictures(members, split, tree)
    with replacing(path) as partial:
        with bar(len(members), f"pack {split}", "picture", progress) as done:
            try:
                pack(partial, contents(done))
            except UnicodeEncodeError as error:
                raise ReidError(
                    f"{tree}: the name {error.object!a} is not UTF-8; take the zip itself, or extract it anew"
                ) from error
        return _receipt(partial, split, sha256(partial), pictures, pin, f"{path} (packed from {tree})")
