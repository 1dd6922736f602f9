"""A place that a team shares: what one has fetched or made, the others take from there.

It is named by the environment variable REID_SHARED: a folder, or an ``ssh://`` or ``s3://`` URL (any of fsspec's). No
parameter names it and no result depends on it: what comes is checked, and what does not fit is told and passed over.

Under it lie ``objects/SHA256``, whole files by their content, and ``keys/KEY.json``, which say what content a file has
that is made of certain inputs by certain code. Files appear there whole or not at all, and are never changed.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import reid
from reid.core.checksums import Sums
from reid.core.cli import log
from reid.core.copying import read_stream
from reid.core.errors import ReidError
from reid.core.files import parse_json, replacing, sha256

VARIABLE = "REID_SHARED"
EXTRA = "pip install --require-hashes -r envs/remotes.txt"
_RENAMED = ("file", "ssh", "sftp")  # file systems; in a store of objects a file appears whole by itself
_SHA256 = re.compile("[0-9a-f]{64}")
_MOST_KEY = 1 << 16  # bytes

Facts = dict[str, Any]


class _Unfit(Exception):
    """What lies in the place is not what it should be."""


def place() -> "Place | None":
    """The place that REID_SHARED names; None if it names none, or one that does not answer, which is told.

    Raises:
        ReidError: it can be none: no such folder, an unknown kind of URL, or a package for it is missing.
    """
    url = os.environ.get(VARIABLE, "").strip()
    if not url:
        return None
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    with contextlib.suppress(ImportError):  # DVC's own; fsspec knows another one, which does not come with it
        import sshfs

        fsspec.register_implementation("ssh", sshfs.SSHFileSystem, clobber=True)
    try:
        files, root = fsspec.url_to_fs(url if "://" in url else os.path.abspath(os.path.expanduser(url)))
    except ValueError as error:
        problem = str(error) if _shown(url) == url else "is no URL"  # it may quote a part of the password
        raise ReidError(f"{VARIABLE}: {_shown(url)}: {problem}; give a folder, or an ssh:// or s3:// URL") from error
    except ImportError as error:
        raise ReidError(f"{VARIABLE}: {_shown(url)}: its package is missing; {EXTRA}") from error
    except Exception as error:  # every kind of store has its own
        log.warning("%s: %s does not answer (%s); going on without it", VARIABLE, _shown(url), _line(error))
        return None
    if isinstance(files, LocalFileSystem) and not os.path.isdir(root):
        raise ReidError(f"{VARIABLE}: {root}: there is no such folder; make it, or correct or unset the variable")
    return Place(files, root.rstrip("/"), _shown(url))


def key(kind: str, facts: Facts) -> str:
    """Name of what is made of ``facts`` (anything that JSON takes): KIND-SHA256."""
    return f"{kind}-{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}"


def code(*parts: str) -> str:
    """SHA-256 of the code of packages (``synthetic``) and modules (``raw/png.py``) of ``reid``."""
    root, digest = Path(reid.__file__).parent, hashlib.sha256()
    for part in parts:
        path = root / part
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def versions(*packages: str) -> dict[str, str]:
    """Versions of installed packages."""
    return {name: importlib.metadata.version(name) for name in packages}


def obtain(
    path: Path | str,
    kind: str,
    facts: Callable[[], Facts],
    make: Callable[[], None],
    check: Callable[[Path], object] = lambda path: None,
    like: Sums | None = None,
) -> bool:
    """Take a file from the shared place, or make it and put it there. Without such a place it is made.

    Args:
        path: the file.
        kind, facts: all that decides its content, as for :func:`key`.
        make: makes it.
        check, like: as for :meth:`Place.fetch`.

    Returns:
        bool: whether it came from there
    """
    shared = place()
    if shared is None:
        make()
        return False
    name = key(kind, facts())
    if shared.fetch(path, name, check=check, like=like):
        return True
    make()
    shared.put(path, name, sha256(path))
    return False


class Place:
    """A shared place.

    Args:
        files: fsspec's file system.
        root: folder in it.
        shown: what messages call it.
    """

    def __init__(self, files: Any, root: str, shown: str) -> None:
        self.files, self.root, self.shown = files, root, shown
        self.unfit: set[str] = set()  # objects that are put anew

    def fetch(
        self,
        path: Path | str,
        name: str | None,
        pin: str | None = None,
        check: Callable[[Path], object] = lambda path: None,
        like: Sums | None = None,
    ) -> str | None:
        """Bring a file, whole and checked, or nothing: what is there and does not fit is told.

        Args:
            path: the file to make.
            name: its key; None for none.
            pin: its SHA-256, if that is known; the key is then not asked.
            check: raises a ReidError if a file of this content cannot be used.
            like: digests whose blocks those of the file shall have.

        Returns:
            SHA-256, 64 hexadecimal digits; None if it did not come

        Raises:
            ReidError: the file cannot be written here.
        """
        wanted = None
        try:
            wanted = pin.lower() if pin else name and self._content_of(name)
            source = f"{self.root}/objects/{wanted}"
            if not wanted or not self.files.exists(source):
                return None
            self._copy(source, Path(path), wanted, check, like)
        except ReidError:
            raise
        except Exception as error:  # every kind of store has its own
            if isinstance(error, _Unfit) and wanted:
                self.unfit.add(wanted)
            log.warning("%s: %s: %s; going on without it", VARIABLE, self.shown, _line(error))
            return None
        log.info("%s: taken from %s", path, self.shown)
        return wanted

    def put(self, path: Path | str, name: str | None, digest: str) -> None:
        """Put a file there, if that is possible.

        Args:
            path: the file.
            name: its key; None for none.
            digest: its SHA-256.
        """
        target, size = f"{self.root}/objects/{digest}", os.path.getsize(path)
        try:
            there = self.files.info(target)["size"] if self.files.exists(target) else None
            if there != size or digest in self.unfit:
                self._write(target, lambda partial: self.files.put_file(str(path), partial), size)
                log.info("%s: put into %s", path, self.shown)
            if name and self._content_of(name, strict=False) != digest:
                content = json.dumps({"sha256": digest, "bytes": size, "name": Path(path).name}).encode() + b"\n"
                self._write(f"{self.root}/keys/{name}.json", lambda partial: self.files.pipe_file(partial, content))
        except Exception as error:
            refused = isinstance(error, PermissionError)  # many may read such a place, and few write to it
            say = log.info if refused else log.warning
            say("%s: %s: %s is not put there (%s)", VARIABLE, self.shown, path, _line(error))

    def _content_of(self, name: str, strict: bool = True) -> str | None:
        """SHA-256 of what a key stands for; None without it.

        Raises:
            _Unfit: it is no key (if ``strict``).
        """
        path = f"{self.root}/keys/{name}.json"
        if not self.files.exists(path):
            return None
        try:
            self._size(path)
            text: bytes = self.files.cat_file(path, start=0, end=_MOST_KEY)
            content = parse_json(text, path)
            if isinstance(content, dict) and _SHA256.fullmatch(str(content.get("sha256"))):
                return str(content["sha256"])
            problem = "names no SHA-256"
        except (ReidError, _Unfit) as error:
            problem = str(error)
        if strict:
            raise _Unfit(f"keys/{name}.json {problem}")
        return None

    def _copy(self, source: str, path: Path, wanted: str, check: Callable[[Path], object], like: Sums | None) -> None:
        size = self._size(source)
        with (
            self.files.open(source, "rb") as stream,
            replacing(path, lambda: sums) as partial,
        ):
            digest, sums = read_stream(stream, size, f"take {path.name}", True, partial, like)
            if digest != wanted:
                raise _Unfit(f"{source} is damaged, its SHA-256 is {digest}")
            try:
                check(partial)
            except ReidError as error:
                raise _Unfit(f"{source} cannot be used ({error})") from error

    def _size(self, path: str) -> int:
        """Bytes of a file there.

        Raises:
            _Unfit: it is none; pipes would hang, and devices have no end.
        """
        about = self.files.info(path)
        if about["type"] != "file":
            raise _Unfit(f"{path} is no regular file")
        return int(about["size"])

    def _write(self, target: str, write: Callable[[str], None], size: int | None = None) -> None:
        """Let a file appear whole."""
        self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
        protocols = self.files.protocol if isinstance(self.files.protocol, tuple) else (self.files.protocol,)
        if not set(_RENAMED) & set(protocols):
            write(target)
            return
        folder, _, name = target.rpartition("/")
        partial = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}.partial"
        try:
            write(partial)
            if size is not None and self.files.info(partial)["size"] != size:
                raise OSError("it did not arrive whole")
            self.files.mv(partial, target)
        except BaseException:
            with contextlib.suppress(Exception):
                self.files.rm_file(partial)
            raise


def _shown(url: str) -> str:
    """A URL without its password, which may hold any character; its kind alone where that might be a folder's name."""
    found = re.match(r"([^:]*://)([^/:]*):(.*)@", url, re.DOTALL)
    if not found:
        return url
    kind, user, password = found.groups()
    return f"{kind}..." if "/" in password else f"{kind}{user}{url[found.end() - 1 :]}"


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, _Unfit) else f"{type(error).__name__}{': ' if text else ''}{text}"
