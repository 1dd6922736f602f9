"""What is read is what was written: digests beside every file that the pipeline makes, checked as it is read.

A file NAME has its digests in ``.NAME.sums``: one per block, so that a part of a large file can be checked by itself.
They are of xxh3 (64 bits): made against flipped bits, half copies and a hand that slipped, not against malice. A file
without digests (one's own, or from elsewhere) is read as it is. A file that differs from its digests is read if it is
what DVC's ledger records, for DVC puts back files of earlier runs; else it is refused.
"""

import hashlib
import io
import json
import mmap
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from reid.core import dvc_lock
from reid.core.errors import ReidError, named

BLOCK = 1 << 22  # bytes
_LARGEST_SUMS = 1 << 26  # bytes: for a file of 16 TB
_DIGESTS = re.compile(r"([0-9a-f]{16})*")


class Sums(NamedTuple):
    """Digests of a file of ``size`` bytes: of its first ``head`` bytes, if any, and of each ``block`` bytes after."""

    size: int
    head: int
    block: int
    digests: list[str]

    def bounds(self, number: int) -> tuple[int, int]:
        """First byte of a block, and that after its last."""
        if self.head:
            first = 0 if number == 0 else self.head + (number - 1) * self.block
            end = self.head if number == 0 else first + self.block
        else:
            first, end = number * self.block, (number + 1) * self.block
        return first, min(end, self.size)

    def number(self, byte: int) -> int:
        """Number of the block that holds a byte."""
        if byte < self.head:
            return 0
        return (byte - self.head) // self.block + bool(self.head)


def digest(data: Any) -> str:
    """Digest of a block, 16 hexadecimal digits."""
    return xxhash.xxh3_64_hexdigest(data)


def sums_path(path: Path | str) -> Path:
    """Where the digests of a file are."""
    path = Path(path)
    return path.with_name(f".{path.name}.sums")


def sum_file(path: Path | str, block: int = BLOCK) -> Sums:
    """Digests of a file as it is."""
    size, digests = 0, []
    buffer = memoryview(bytearray(block))
    with open(path, "rb", buffering=0) as file:
        while count := _fill(file, buffer):
            digests.append(digest(buffer[:count]))
            size += count
    return Sums(size, 0, block, digests)


def _fill(file: io.RawIOBase | io.FileIO, buffer: memoryview) -> int:
    count = 0
    while count < len(buffer) and (more := file.readinto(buffer[count:])):
        count += more
    return count


def write_sums(path: Path | str, sums: Sums, of: Path | str | None = None) -> None:
    """Write the digests of a file beside it.

    Args:
        path: the file.
        sums: its digests.
        of: what is renamed to the file between the writing of the digests and their renaming: a full disk or a kill
            then leaves the old file, or the new one without digests, and never one with those of the other.
    """
    target = sums_path(path)
    partial = target.with_name(f"{target.name}.partial")
    content = {**sums._asdict(), "digests": "".join(sums.digests)}
    try:
        partial.unlink(missing_ok=True)  # a pipe would hang, and a link be written through
        partial.write_text(json.dumps(content) + "\n", encoding="ascii")
        if of is not None:
            target.unlink(missing_ok=True)
            os.replace(of, path)
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_sums(path: Path | str) -> Sums | None:
    """The digests beside a file; None if there are none.

    Raises:
        OSError: they cannot be read.
        ReidError: they are damaged.
    """
    source = sums_path(path)
    if not os.path.lexists(source):
        return None
    try:
        if not source.is_file() or source.stat().st_size > _LARGEST_SUMS:
            raise ValueError
        with named(source):
            content = json.loads(source.read_bytes())
        numbers, text = [content[name] for name in ("size", "head", "block")], content["digests"]
        size, head, block = numbers
        if set(map(type, numbers)) != {int} or block < 1 or not 0 <= head <= size or not _DIGESTS.fullmatch(text):
            raise ValueError
        sums = Sums(size, head, block, [text[i : i + 16] for i in range(0, len(text), 16)])
        if len(sums.digests) != (sums.number(size - 1) + 1 if size else 0):
            raise ValueError
        return sums
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ReidError(f"{source}: the digests of {path} are damaged; {_remedy(path)}") from error


def _remedy(path: Path | str) -> str:
    return f"remove {path} and run again, which makes it anew"


def _differs(path: Path | str, what: str) -> ReidError:
    return ReidError(f"{path}: is not what was written ({what}); {_remedy(path)}")


def in_ledger(path: Path | str, ledger: Mapping[str, str]) -> bool:
    """Whether a file is what DVC's ledger of the working folder, by :func:`recorded`, records of it.

    DVC puts back files of earlier runs, and with them come no digests.
    """
    wanted = ledger.get(os.path.relpath(path))
    return wanted is not None and md5(path) == wanted


def ledger_stages(path: Path) -> dict[str, dict[str, Any]]:
    """Entries of a ``dvc.lock`` by the names of their stages (:mod:`reid.core.dvc_lock`); none without a sound one."""
    try:
        return dvc_lock.stages(path.read_bytes())
    except (OSError, ValueError):
        return {}


def recorded(stages: Collection[Mapping[str, Any]]) -> dict[str, str]:
    """MD5 by path of each file that these entries of a ledger say that their stages read or made."""
    items = [item for key in ("deps", "outs") for stage in stages for item in stage[key]]
    return {item["path"]: item["md5"] for item in items if "md5" in item}


def md5(path: Path | str) -> str:
    """MD5 of a file, as DVC records it: 32 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def verify(path: Path | str) -> None:
    """Check a whole file against the digests beside it, if there are any.

    Raises:
        ReidError: it differs, and DVC's ledger does not know it either.
    """
    sums = read_sums(path)
    if sums is None or not Path(path).is_file():
        return
    problem = difference(path, sums)
    if problem and not _put_back(path):
        raise _differs(path, problem)


def difference(path: Path | str, sums: Sums) -> str | None:
    """How a file differs from digests, in words; None if it does not."""
    with open(path, "rb") as file:
        return _problem(_mapped(file.fileno(), os.path.getsize(path)), sums)


def _mapped(file: int, size: int) -> memoryview:
    """The bytes of an open file, without a copy."""
    return memoryview(mmap.mmap(file, size, access=mmap.ACCESS_READ) if size else b"")


def _put_back(path: Path | str) -> bool:
    """Whether DVC put a file back; its digests are then written anew."""
    if not in_ledger(path, recorded(ledger_stages(Path("dvc.lock")).values())):
        return False
    write_sums(path, sum_file(path))
    return True


def read_verified(path: Path | str, limit: int | None = None) -> bytes:
    """The content of a file, checked against the digests beside it if there are any.

    Args:
        path: the file.
        limit: bytes that it may have at most.

    Raises:
        OSError: it cannot be read.
        ReidError: it differs from its digests, or has more bytes.
    """
    size = os.path.getsize(path)
    if limit is not None and size > limit:
        raise ReidError(f"{path}: has {size:,} bytes, and {limit:,} is the most that such a file can have")
    with named(path):
        content = Path(path).read_bytes()
    sums = read_sums(path)
    if sums is not None:
        problem = _problem(memoryview(content), sums)
        if problem and not _put_back(path):
            raise _differs(path, problem)
    return content


def _problem(content: memoryview, sums: Sums) -> str | None:
    """The first difference from digests, in words; None without one."""
    if len(content) != sums.size:
        return f"it has {len(content):,} bytes instead of {sums.size:,}"
    for number, wanted in enumerate(sums.digests):
        first, end = sums.bounds(number)
        if digest(content[first:end]) != wanted:
            return f"bytes {first:,} to {end - 1:,} differ"
    return None


class Checker:
    """Checks blocks of a file once each, when they are first needed."""

    def __init__(self, path: Path | str, size: int) -> None:
        self.path, self.sums = Path(path), read_sums(path)
        if self.sums is None:
            return
        if self.sums.size != size:
            self._refuse(f"it has {size:,} bytes instead of {self.sums.size:,}")
        self.done = bytearray(len(self.sums.digests) if self.sums else 0)

    def _refuse(self, problem: str) -> None:
        if not _put_back(self.path):
            raise _differs(self.path, problem)
        self.sums = None  # the whole file is what the ledger records

    def check(self, data: memoryview, numbers: Iterable[int]) -> None:
        """Check blocks by their numbers; ``data`` is the whole file, mapped."""
        if self.sums is None:
            return
        for number in numbers:
            if self.done[number]:
                continue
            first, end = self.sums.bounds(number)
            if digest(data[first:end]) != self.sums.digests[number]:
                self._refuse(f"bytes {first:,} to {end - 1:,} differ")
                return
            self.done[number] = 1


class CheckedFile(io.RawIOBase):
    """A file whose blocks are checked when they are first read: for zips, of which the directory alone is read.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be opened.
        ReidError: what is read differs from what was written.
    """

    def __init__(self, path: Path | str) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed with this
        self._size = os.fstat(self._file.fileno()).st_size
        self._data = _mapped(self._file.fileno(), self._size)
        self._checker = Checker(path, self._size)

    def readinto(self, buffer: Any) -> int:
        start, sums = self._file.tell(), self._checker.sums
        end = min(start + len(buffer), self._size)
        if sums and start < end:
            self._checker.check(self._data, range(sums.number(start), sums.number(end - 1) + 1))
        return self._file.readinto(buffer) or 0

    def unchecked(self, offset: int, size: int) -> bytes:
        """A few bytes that tell by themselves whether they are sound: nothing else of their block is read."""
        return os.pread(self._file.fileno(), size, offset)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()
