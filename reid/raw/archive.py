"""The raw zips: packed the same way every time, listed from their directory, read by offset, never extracted."""

import contextlib
import io
import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from reid.core.errors import ReidError
from reid.core.files import regular, replacing
from reid.core.integrity import CheckedFile

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's oldest time: a packed zip does not depend on when it was packed
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # PKWARE APPNOTE 4.3.7


def pack(path: Path | str, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a stored (uncompressed) zip; the same members in the same order give the same bytes.

    Args:
        path: the zip to write; it appears whole or not at all.
        members: iterable of (name: str, content: bytes).

    Raises:
        ReidError: the disk is full.
    """
    with (
        replacing(path) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, content in members:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)


def open_zip(path: Path | str) -> zipfile.ZipFile:
    """Open a zip and read its directory.

    Raises:
        ReidError: the file is missing, truncated or no zip.
    """
    try:
        return zipfile.ZipFile(io.BufferedReader(CheckedFile(regular(path)), 1 << 20))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ReidError(
            f"{path}: is not a complete zip ({error}); it was cut short or is another kind of file: fetch it again"
        ) from error


def member_name(info: zipfile.ZipInfo) -> str:
    """Name of a member as text, in Unicode's composed form (NFC).

    Old packers write UTF-8 without saying so, and ``zipfile`` then reads it as code page 437; macOS writes decomposed
    letters. Both are undone here, so that a name can be compared with ``bbox_info.json``.
    """
    name = info.filename
    if not info.flag_bits & 0x800 and not name.isascii():
        with contextlib.suppress(UnicodeError):  # it was code page 437 after all
            name = name.encode("cp437").decode("utf-8")
    return unicodedata.normalize("NFC", name)


def read_member(file: int, offset: int, packed: int, size: int, method: int, crc: int) -> bytes:
    """Read one member by its offset: one read, no directory.

    Args:
        file: file descriptor of the zip; shared descriptors are safe (``pread``).
        offset: of the member's local header, bytes.
        packed: compressed size, bytes.
        size: uncompressed size, bytes.
        method: 0 (stored) or 8 (deflated).
        crc: CRC-32 of the uncompressed bytes.

    Returns:
        bytes: uncompressed

    Raises:
        ValueError: the header is not where it should be, the method is another one, the bytes do not unpack or the
            CRC differs.
    """
    guess = _LOCAL_HEADER.size + 512  # room for the name and the extra field, so that one read is enough as a rule
    block = os.pread(file, guess + packed, offset)
    if len(block) < _LOCAL_HEADER.size or block[:4] != b"PK\x03\x04":
        raise ValueError("there is no member at this offset (has the zip changed since it was indexed?)")
    *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(block)
    start = _LOCAL_HEADER.size + name_length + extra_length
    data = block[start : start + packed]
    if len(data) < packed:
        data += os.pread(file, packed - len(data), offset + start + len(data))
    if method == zipfile.ZIP_DEFLATED:
        try:
            data = zlib.decompress(data, wbits=-15, bufsize=max(size, 1))
        except zlib.error as error:
            raise ValueError(f"it does not unpack ({error})") from error
    elif method != zipfile.ZIP_STORED:
        raise ValueError(f"compression method {method} is not known; pack the zip stored or deflated")
    if len(data) != size or zlib.crc32(data) != crc:
        raise ValueError("its CRC is not the one in the zip's directory: the file is damaged")
    return data


def image_size(content: bytes) -> tuple[int, int]:
    """Height and width of a PNG from its header (no decoding).

    Args:
        content: bytes, the file or its first 24 bytes.

    Returns:
        (height, width) in pixels

    Raises:
        ValueError: no PNG.
    """
    header = io.BytesIO(content).read(24)
    if header[:8] != b"\x89PNG\r\n\x1a\n" or header[12:16] != b"IHDR" or len(header) < 24:
        raise ValueError("it is no PNG image")
    width, height = struct.unpack(">II", header[16:24])
    return height, width
