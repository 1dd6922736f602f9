"""The raw zips: packed the same way every time, read by offset, never extracted."""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from reid.core.files import replacing
from reid.raw.members import member_name, shown
from reid.raw.sizes import MOST_UNPACKED

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's oldest time: a packed zip does not depend on when it was packed
LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # PKWARE APPNOTE 4.3.7
_LAST = (1 << 63) - 1  # byte that a file can have


def pack(path: Path | str, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a stored (uncompressed) zip; the same members in the same order give the same bytes.

    Args:
        path: the zip to write; it appears whole or not at all.
        members: iterable of (name: str, content: bytes).

    Raises:
        ReidError: the disk is full.
    """
    with replacing(path) as partial:
        write_members(partial, members)


def write_members(path: Path | str, members: Iterable[tuple[str, bytes]]) -> None:
    """:func:`pack` into a file that another replaces."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)


def read_member(
    file: int, name: str, offset: int, packed: int, size: int, method: int, crc: int, limit: int = MOST_UNPACKED
) -> bytes:
    """Read one member by its offset: one read, no directory.

    Args:
        file: file descriptor of the zip; shared descriptors are safe (``pread``).
        name: that the zip's directory gives it, as :func:`reid.raw.members.normalise` spells it.
        offset: of the member's local header, bytes.
        packed: compressed size, bytes.
        size: uncompressed size, bytes.
        method: 0 (stored) or 8 (deflated).
        crc: CRC-32 of the uncompressed bytes.
        limit: uncompressed bytes that it may have at most.

    Returns:
        bytes: uncompressed

    Raises:
        ValueError: the header is not where it should be or names another member, the method is another one, the sizes
            cannot be, the bytes do not unpack or the CRC differs.
    """
    if size > limit:
        raise ValueError(f"it is said to unpack to {size:,} bytes, and {limit:,} is the most that it can have")
    if reason := impossible(packed, size, method):
        raise ValueError(reason)
    guess = LOCAL_HEADER.size + 512  # room for the name and the extra field, so that one read is enough as a rule
    block = os.pread(file, guess + packed, offset) if offset + guess + packed <= _LAST else b""
    if len(block) < LOCAL_HEADER.size or block[:4] != b"PK\x03\x04":
        raise ValueError("there is no member at this offset (has the zip changed since it was indexed?)")
    _, _, flags, *_, name_length, extra_length = LOCAL_HEADER.unpack_from(block)
    start = LOCAL_HEADER.size + name_length + extra_length
    if len(block) < start + packed:
        block += os.pread(file, start + packed - len(block), offset + len(block))
    own = member_name(block[LOCAL_HEADER.size : LOCAL_HEADER.size + name_length], flags)
    if own != name:
        raise ValueError(f"what lies there is called {shown(own)} (has the zip, or its directory, been changed?)")
    data = block[start : start + packed]
    if method == zipfile.ZIP_DEFLATED:
        unpacker = zlib.decompressobj(wbits=-15)
        try:
            data = unpacker.decompress(data, size + 1)  # and no further, whatever the stream holds
        except zlib.error as error:
            raise ValueError(f"it does not unpack ({error})") from error
        if not unpacker.eof:
            raise ValueError(f"it does not unpack (its stream does not end after {size:,} bytes)")
    if len(data) != size or zlib.crc32(data) != crc:
        raise ValueError("its CRC is not the one in the zip's directory: the file is damaged")
    return data


def impossible(packed: int, size: int, method: int) -> str | None:
    """Why a member cannot be read, by what the directory says of it; None if it can.

    Args:
        packed, size: compressed and uncompressed size, bytes.
        method: of compression.
    """
    if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"has compression method {method}, which is not known; pack the zip stored or deflated"
    if method == zipfile.ZIP_STORED and packed != size:
        return f"is stored in {packed:,} bytes, but said to have {size:,}: the zip is damaged"
    # Deflate says 258 bytes in two bits at best, and no packer doubles the content at worst.
    if method == zipfile.ZIP_DEFLATED and not (size <= 1032 * packed and packed <= 2 * size + 1024):
        return f"is packed in {packed:,} bytes and said to unpack to {size:,}, which cannot be: the zip is damaged"
    return None
