"""The chunks of a PNG: which of them make pixels, whether they are whole, and what size the image has."""

import struct
import zlib

from reid.core.file_type import describe_bytes

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_USED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # the critical chunks of the format


def essential(content: bytes) -> bytes:
    """A PNG without the chunks that no pixel needs, each of the others checked against its CRC.

    What is left away here (text, profiles, transparency, ...) can neither fail nor grow when it is unpacked.

    Args:
        content: the file.

    Returns:
        bytes: ``content`` itself where there is nothing to leave away

    Raises:
        ValueError: it is no PNG, is cut short, or a chunk is damaged or unknown and critical.
    """
    if content[:8] != _SIGNATURE:
        raise ValueError(f"it is {describe_bytes(content[:512])}")
    view, position, kept = memoryview(content), 8, [content[:8]]
    kind, whole = b"", True
    while kind != b"IEND":
        if position + 12 > len(content):
            raise ValueError(f"it is cut short: its chunk {kind.decode('latin-1')} is the last one, not IEND")
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if end > len(content):
            raise ValueError(f"it is cut short in its chunk {kind!a}")
        if kind in _USED:
            if zlib.crc32(view[position + 4 : end - 4]) != struct.unpack_from(">I", content, end - 4)[0]:
                raise ValueError(f"its chunk {kind.decode()} is damaged: the CRC is another one")
            kept.append(content[position:end])
        elif not kind[0] & 0x20:
            raise ValueError(f"its chunk {kind!a} is unknown and said to be needed")
        else:
            whole = False
        position = end
    return content if whole else b"".join(kept)


def image_size(content: bytes) -> tuple[int, int]:
    """Height and width of a PNG from its header (no decoding).

    Args:
        content: bytes, the file or its first 24 bytes.

    Returns:
        (height, width) in pixels

    Raises:
        ValueError: no PNG.
    """
    header = content[:24]
    if header[:8] != _SIGNATURE:
        raise ValueError(f"it is no PNG image; it is {describe_bytes(content[:512])}")
    if header[12:16] != b"IHDR" or len(header) < 24:
        raise ValueError("it is no PNG image, but the beginning of one: its header is cut short or another one")
    width, height = struct.unpack(">II", header[16:24])
    return height, width
