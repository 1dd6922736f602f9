"""A store on a network file system is read from a copy on a disk of this machine.

A training reads a few random rows at a time, thousands of times: over a network each batch takes longer than the step
that trains on it. The copy lies in the folder for temporary files (TMPDIR), is checked, and goes when nobody on this
machine reads it any more: processes that train one model, and trainings beside each other, have one together.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import psutil

from reid.core.checksums import read_sums, sums_path
from reid.core.cli import log
from reid.core.copying import read_through
from reid.core.errors import ReidError
from reid.core.files import regular, replacing
from reid.core.private import private_folder

# fmt: off
# as mount(8) calls them; those in user space (sshfs, rclone, s3fs) are called fuse.NAME
_NETWORK = (
    "9p", "afp", "afpfs", "afs", "beegfs", "beegfs_nodev", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs",
    "lustre", "mfs", "ncpfs", "nfs", "nfs3", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "quobyte", "smb2",
    "smb3", "smbfs", "webdav", "wekafs",
)
_OWN_DISK = (
    "bindfs", "encfs", "fuse-overlayfs", "gocryptfs", "mergerfs", "ntfs-3g", "exfat", "squashfuse", "unionfs",
)
# fmt: on


def file_system(path: Path | str) -> str:
    """Kind of file system that a file lies on, as mount(8) calls it; "" where that is not known."""
    place = os.path.realpath(path)
    mounts = {mount.mountpoint: mount.fstype for mount in psutil.disk_partitions(all=True)}  # a later one hides others
    inside = [point for point in mounts if f"{place}/".startswith(f"{point.rstrip('/')}/")]
    return mounts[max(inside, key=len)] if inside else ""


def is_network(kind: str) -> bool:
    """Whether a kind of file system is one that is read over a network."""
    name = kind.lower()
    if name.startswith("fuse."):
        return name.removeprefix("fuse.") not in _OWN_DISK
    return name in _NETWORK


@contextlib.contextmanager
def nearby(path: Path | str) -> Iterator[Path]:
    """Where to read a file: itself, or a checked copy of it on this machine while the context lasts.

    Args:
        path: the file.

    Yields:
        Path: of the file or its copy. It is the file where that is no network file system, or where the copy cannot be
            had: there is no room, or the file is not what its digests say, which its reader will tell.
    """
    kind, folder = file_system(path), Path(tempfile.gettempdir())
    if not is_network(kind) or is_network(file_system(folder)):
        yield Path(path)
        return
    status = regular(path).stat()
    what = f"{os.path.realpath(path)}\0{status.st_size}\0{status.st_mtime_ns}"
    name = hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest()[:16]
    copy = folder / f"reid-{os.getuid()}" / f"{name}.npy"
    lock = None
    try:
        lock = _hold(copy, lambda: _copy(Path(path), copy, kind))
    except (ReidError, OSError) as error:
        log.warning("%s lies on %s and is read there: it cannot be copied to %s (%s)", path, kind, folder, error)
    try:
        yield copy if lock else Path(path)
    finally:
        if lock:
            _let_go(copy, lock)


def _copy(path: Path, copy: Path, kind: str) -> None:
    sums, size = read_sums(path), os.path.getsize(path)
    if (free := shutil.disk_usage(copy.parent).free) < size * 1.02:
        raise ReidError(f"it has {size:,} bytes, and {free:,} are free; set TMPDIR to a larger disk")
    with replacing(copy, lambda: copied) as partial:
        _, copied = read_through(path, f"copy {path.name}", True, partial, sums)
        if sums and copied != sums:
            raise ReidError("it differs from its digests")
    log.info("%s lies on %s: read from a copy, %s, until the training ends", path, kind, copy)


def _hold(copy: Path, make: Callable[[], None]) -> TextIO:
    """Hold the lock that says that a copy is in use; it is made if it is not there.

    A lock that is taken may be that of a file which the last one to let go has just removed: then once more.
    """
    path = copy.with_suffix(".lock")
    while True:
        private_folder(path.parent)
        try:
            lock = open(path, "a")  # noqa: SIM115 - held until it is let go
        except FileNotFoundError:  # the last one has just removed the folder
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if _is_open_as(path, lock) and copy.exists():
                return lock
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_open_as(path, lock) and not copy.exists():
                make()
        except BaseException:
            _let_go(copy, lock)
            raise
        lock.close()


def _let_go(copy: Path, lock: TextIO) -> None:
    """Say that a copy is not in use any more here; the last one removes it."""
    path = copy.with_suffix(".lock")
    with contextlib.suppress(BlockingIOError):  # others read it
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_open_as(path, lock):
            for name in (copy, sums_path(copy), path):
                name.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # other copies are in it
                path.parent.rmdir()
    lock.close()


def _is_open_as(path: Path, file: TextIO) -> bool:
    """Whether an open file is still the one of a name."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    return False
