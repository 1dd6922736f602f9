"""The members of a zip as its directory lists them, checked against what lies in the file.

``zipfile`` takes four times as long, believes any size, and does not see that members are missing.
"""

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from reid.core.checksums import CheckedFile
from reid.core.errors import ReidError
from reid.core.file_type import describe
from reid.core.files import regular
from reid.raw.archive import LOCAL_HEADER, impossible
from reid.raw.members import member_name, normalise, shown, some
from reid.raw.sizes import MOST_DIRECTORY, MOST_MEMBERS

# PKWARE APPNOTE 4.3.16, 4.3.15, 4.3.14 and 4.3.12
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_ALL_ONES = 0xFFFFFFFF  # in the place of a number that zip64 writes elsewhere
_ENCRYPTED = 0x2041  # flags: encrypted, strongly, with a hidden directory
SMALLEST_PNG = 57  # bytes: signature, header and end with nothing between
_SMALLEST_IMAGE = LOCAL_HEADER.size + len("0-0-1x1.png") + SMALLEST_PNG  # bytes in the zip: none hides in fewer
_MOST_NAMES = 1000  # of unlisted members, for a message
_DESCRIPTOR = 24  # bytes at most, behind a member whose packer streamed


class Member(NamedTuple):
    """A member of a zip.

    ``name`` is text as :func:`reid.raw.members.normalise` spells it, ``offset`` the place of its local header,
    ``packed`` and ``size`` its compressed and uncompressed bytes, ``method`` that of its compression, ``crc`` the
    CRC-32 of its uncompressed bytes, ``stored_name`` the number of bytes of its name in the zip.
    """

    name: str
    offset: int
    packed: int
    size: int
    method: int
    crc: int
    encrypted: bool
    stored_name: int

    def problem(self) -> str | None:
        """Why it cannot be read, by the directory alone; None if it can."""
        if self.encrypted:
            return "is encrypted; fetch or pack the zip without a password"
        return impossible(self.packed, self.size, self.method)


def list_members(path: Path | str) -> list[Member]:
    """Members of a zip, all of which lie inside the file and apart from each other, with none between them unlisted.

    Returns:
        list of Member, in the order of the file

    Raises:
        ReidError: there is no such file, it is no zip, cut short or patched, or its directory does not list all that
            lies in it.
        OSError: the file cannot be read.
    """
    with CheckedFile(regular(path)) as file, _named(path):
        count, directory, start, shift = _read_directory(file)
        members = _entries(directory, shift)
        listed = len(members)
        if listed != count and (count > 0xFFFF or listed % 0x10000 != count):  # old packers write 16 bits of it
            raise ValueError(f"its end says that there are {count:,} members, and its directory lists {listed:,}")
        members.sort(key=lambda member: member.offset)
        if unlisted := _unlisted(file, members, start):
            raise ValueError(
                f"its directory lists {listed:,} members, and there are more in the file: {some(unlisted)}"
            )
    return members


def directory_bytes(path: Path | str) -> bytes:
    """The directory of a zip as it is written: names, sizes, times and CRC of all members.

    Raises:
        ReidError: there is no such file, or it has no such directory.
        OSError: the file cannot be read.
    """
    with CheckedFile(regular(path)) as file, _named(path):
        return _read_directory(file)[1]


@contextlib.contextmanager
def _named(path: Path | str) -> Iterator[None]:
    """Turn a ValueError on a zip into a ReidError that says which file, and what it is."""
    try:
        yield
    except ValueError as error:
        what = describe(path)
        known = what.startswith(("a zip", "an empty zip"))
        reason = "it was cut short or changed" if known else f"it is {what}"
        raise ReidError(f"{path}: is not a complete zip ({error}); {reason}: remove it and fetch it again") from error


def _read_at(file: CheckedFile, offset: int, size: int) -> bytes:
    """Bytes of a file from an offset on, as many as there are."""
    file.seek(offset)
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _read_directory(file: CheckedFile) -> tuple[int, bytes, int, int]:
    """Find and read the directory of a zip.

    Returns:
        (int, bytes, int, int): number of members by the zip's end; the directory; where it begins; how many bytes lie
            before the zip itself, which its offsets do not count

    Raises:
        ValueError: there is none.
    """
    size = file.seek(0, os.SEEK_END)
    before = max(0, size - _END.size - 0xFFFF - _LOCATOR.size - _END64.size)
    end = _read_at(file, before, size - before)
    at = end.rfind(b"PK\x05\x06")
    while at >= 0 and (len(end) - at < _END.size or at + _END.size + _END.unpack_from(end, at)[-1] > len(end)):
        at = end.rfind(b"PK\x05\x06", 0, at)  # that one was part of another number, or of the comment
    if at < 0:
        raise ValueError("it has no end of a zip")
    _, disk, first_disk, _, count, length, offset, _ = _END.unpack_from(end, at)
    at64 = at - _LOCATOR.size - _END64.size
    if at64 >= 0 and end[at - _LOCATOR.size :][:4] == b"PK\x06\x07" and end[at64 : at64 + 4] == b"PK\x06\x06":
        *_, disk, first_disk, _, count, length, offset = _END64.unpack_from(end, at64)
        at = at64
    if disk or first_disk:
        raise ValueError("it is one of several parts")
    start = before + at - length
    if length > MOST_DIRECTORY or count > MOST_MEMBERS:
        raise ValueError(
            f"it is said to have {count:,} members and a directory of {length:,} bytes, and no split has more than "
            f"{MOST_MEMBERS:,} and {MOST_DIRECTORY:,}"
        )
    if start < offset:
        raise ValueError(f"its directory of {length:,} bytes is not where its end says")
    return count, _read_at(file, start, length), start, start - offset


def _entries(directory: bytes, shift: int) -> list[Member]:
    """The members that a directory lists; ``shift`` is added to their offsets.

    Raises:
        ValueError: it is damaged, or lists more than any split has.
    """
    members: list[Member] = []
    at, end = 0, len(directory)
    while at < end:
        if end - at < _ENTRY.size:
            raise ValueError("its directory ends within an entry")
        (signature, _, _, flags, method, _, _, crc, packed, size, name, extra, comment, _, _, _, offset) = (
            _ENTRY.unpack_from(directory, at)
        )
        first = at + _ENTRY.size
        at = first + name + extra + comment
        if signature != b"PK\x01\x02" or at > end:
            raise ValueError(f"entry {len(members) + 1:,} of its directory is damaged")
        if packed == _ALL_ONES or size == _ALL_ONES or offset == _ALL_ONES:
            size, packed, offset = _zip64(directory[first + name : first + name + extra], size, packed, offset)
        text = member_name(directory[first : first + name], flags)
        members.append(Member(text, offset + shift, packed, size, method, crc, bool(flags & _ENCRYPTED), name))
        if len(members) > MOST_MEMBERS:
            raise ValueError(f"its directory lists more than {MOST_MEMBERS:,} members, and no split has so many")
    return members


def _zip64(extra: bytes, *numbers: int) -> list[int]:
    """Numbers of an entry, those that are all ones taken from its extra field, in their order.

    Raises:
        ValueError: the extra field is damaged.
    """
    at, values = 0, list(numbers)
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            places = [i for i, value in enumerate(values) if value == _ALL_ONES]
            if length < 8 * len(places) or at + 4 + 8 * len(places) > len(extra):
                raise ValueError("a zip64 field of its directory is damaged")
            for i, value in zip(places, struct.unpack_from(f"<{len(places)}Q", extra, at + 4), strict=True):
                values[i] = value
            break
        at += 4 + length
    return values


def _unlisted(file: CheckedFile, members: list[Member], directory: int) -> list[str]:
    """Names of members that lie in a zip, and that its directory does not list under any number.

    A name that is listed, too, is that of an older edition, which some packers leave where it was.

    Args:
        members: in the order of the file.
        directory: where the zip's directory begins.

    Raises:
        ValueError: a listed member is not where the directory says, or another lies there.
    """
    # Looking at every header would be a seek per member on a cold disk; about 1000 are enough to see a shift.
    stride = max(1, len(members) // 1000)
    names: list[str] = []
    end, last = 0, None  # of what is accounted for
    for number, member in enumerate(members):
        start, before = member.offset, end
        end = start + LOCAL_HEADER.size + member.stored_name + member.packed
        inside = before <= start and end <= directory
        own = _name_at(file, member) if inside and number % stride == 0 else member.name
        if not inside or own is None:
            raise ValueError(f"{shown(member.name)} is not where the directory says")
        if own != member.name:
            raise ValueError(f"its directory says {shown(member.name)} where {shown(own)} lies")
        if start - before >= _SMALLEST_IMAGE:
            names += _walk(file, last, start)
        last = member
    if directory - end >= _SMALLEST_IMAGE:
        names += _walk(file, last, directory)
    listed = {member.name for member in members} if names else set()
    return [name for name in names if name not in listed]


def _name_at(file: CheckedFile, member: Member) -> str | None:
    """The name in the header of a listed member; None if there is no header."""
    header = file.unchecked(member.offset, LOCAL_HEADER.size + member.stored_name)
    if len(header) < LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
        return None
    _, _, flags, *_, length, _ = LOCAL_HEADER.unpack_from(header)
    name = header[LOCAL_HEADER.size :]
    if length > len(name):  # another name, and longer
        name = file.unchecked(member.offset + LOCAL_HEADER.size, length)
    return member_name(name[:length], flags)


def _walk(file: CheckedFile, before: Member | None, end: int) -> list[str]:
    """Names of the members in a row after another (or from the beginning on) and before a byte."""
    start = 0
    if before:  # its header may have another extra field than the directory
        header = _read_at(file, before.offset, LOCAL_HEADER.size)
        *_, name, extra = LOCAL_HEADER.unpack(header.ljust(LOCAL_HEADER.size, b"\0"))
        start = before.offset + LOCAL_HEADER.size + name + extra + before.packed
    names: list[str] = []
    while start + _SMALLEST_IMAGE <= end and len(names) < _MOST_NAMES:
        block = _read_at(file, start, 1024)
        ahead = block.find(b"PK\x03\x04", 0, _DESCRIPTOR + 4)  # behind the descriptor of the member before
        if ahead < 0 or len(block) < ahead + LOCAL_HEADER.size:
            break
        *_, packed, _, length, extra = LOCAL_HEADER.unpack_from(block, ahead)
        first = ahead + LOCAL_HEADER.size
        names.append(normalise(block[first : first + length].decode("utf-8", errors="replace")))
        start += first + length + extra + packed
    return names
