"""Zips written by hand, with what ``zipfile`` does not write: lies, other spellings, members that are not listed."""

import struct
import zlib
from dataclasses import dataclass, field

LOCAL, ENTRY, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


@dataclass
class Part:
    """One member; what is None follows from the content.

    Attributes:
        method: 0 or 8.
        flags: of both headers.
        packed, size, crc, offset: what the directory says.
        extra, listed_extra: extra fields of the header and of the directory.
        descriptor: bytes behind the data.
        listed: whether the directory lists it.
        listed_name: under which name it does; its own by default.
    """

    name: str | bytes
    content: bytes = b""
    method: int = 0
    flags: int = 0x800
    packed: int | None = None
    size: int | None = None
    crc: int | None = None
    offset: int | None = None
    extra: bytes = b""
    listed_extra: bytes = b""
    descriptor: bytes = b""
    listed: bool = True
    listed_name: str | bytes | None = None
    data: bytes = field(init=False)

    def __post_init__(self):
        self.name = self.name.encode() if isinstance(self.name, str) else self.name
        name = self.name if self.listed_name is None else self.listed_name
        self.listed_name = name.encode() if isinstance(name, str) else name
        self.data = self.content
        if self.method == 8:
            pack = zlib.compressobj(9, wbits=-15)
            self.data = pack.compress(self.content) + pack.flush()

    def numbers(self):
        """CRC, packed size and size as the directory says them."""
        given = (self.crc, self.packed, self.size)
        true = (zlib.crc32(self.content), len(self.data), len(self.content))
        return [own if own is not None else other for own, other in zip(given, true, strict=True)]


def zip_bytes(parts, before=b"", comment=b"", count=None, zip64=False):
    """A zip of parts.

    Args:
        before: bytes in front of it, which offsets do not count.
        count: number of members that its end says; what is listed by default.
        zip64: with the records of zip64, and all sizes and offsets in extra fields.
    """
    body, directory = bytearray(), bytearray()
    for part in parts:
        at = len(body) if part.offset is None else part.offset
        crc, packed, size = part.numbers()
        true = (zlib.crc32(part.content), len(part.data), len(part.content))
        sizes = (0, 0, 0) if part.descriptor else true
        body += LOCAL + struct.pack(
            "<5H3L2H", 20, part.flags, part.method, 0, 33, *sizes, len(part.name), len(part.extra)
        )
        body += part.name + part.extra + part.data + part.descriptor
        if part.listed:
            extra = part.listed_extra
            if zip64 or max(packed, size, at) >= 0xFFFFFFFF:
                extra = struct.pack("<HHQQQ", 1, 24, size, packed, at) + extra
                packed = size = at = 0xFFFFFFFF
            directory += ENTRY + struct.pack("<6H3L", 20, 20, part.flags, part.method, 0, 33, crc, packed, size)
            name = part.listed_name
            directory += struct.pack("<5H2L", len(name), len(extra), 0, 0, 0, 0o644 << 16, at) + name + extra
    count = sum(part.listed for part in parts) if count is None else count
    start, length = len(body), len(directory)
    end = b""
    if zip64:
        end += b"PK\x06\x06" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, count, count, length, start)
        end += b"PK\x06\x07" + struct.pack("<LQL", 0, start + length, 1)
    small = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if zip64 else (count, count, length, start)
    end += END + struct.pack("<4H2LH", 0, 0, *small, len(comment)) + comment
    return before + bytes(body + directory) + end


def write_parts(path, parts, **options):
    """:func:`zip_bytes` as a file."""
    path.write_bytes(zip_bytes(parts, **options))
    return path
