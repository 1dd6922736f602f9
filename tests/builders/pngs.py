"""PNG files of every kind that the format knows, written by hand, whole or damaged."""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# colour type to (samples per pixel, bit depths): grey, RGB, palette, grey with alpha, RGB with alpha
KINDS = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
ALL_KINDS = [(colour, depth) for colour, (_, depths) in KINDS.items() for depth in depths]
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(kind, data):
    """One chunk with its length and CRC."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(height, width, depth=8, colour=2, interlaced=False):
    """The chunk IHDR."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def samples_of(height, width, colour, depth, seed=0):
    """Noise: an int array, height x width x samples; of a palette, the indices."""
    count = KINDS[colour][0]
    return np.random.default_rng(seed).integers(0, 1 << depth, (height, width, count))


def scanlines(samples, depth, filters=(0, 1, 2, 3, 4)):
    """The lines of an image (or of a pass of an interlaced one) as they are compressed, filters in turns."""
    count = samples.shape[2]
    step = max(1, count * depth // 8)
    lines, before = [], None
    for number, row in enumerate(samples):
        if depth == 16:
            line = row.astype(">u2").tobytes()
        elif depth == 8:
            line = row.astype(np.uint8).tobytes()
        else:
            bits = (row.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1
            line = np.packbits(bits.reshape(-1).astype(np.uint8)).tobytes()
        before = before or bytes(len(line))
        kind = filters[number % len(filters)]
        lines.append(bytes([kind]) + _filtered(kind, line, before, step))
        before = line
    return b"".join(lines)


def _filtered(kind, line, above, step):
    result = bytearray()
    for i, value in enumerate(line):
        left, up, corner = (line[i - step] if i >= step else 0), above[i], (above[i - step] if i >= step else 0)
        near = min((left, up, corner), key=lambda v: abs(left + up - corner - v))  # the first of equals, as Paeth's
        result.append((value - (0, left, up, (left + up) // 2, near)[kind]) & 255)
    return bytes(result)


def make_png(samples, depth=8, colour=2, palette=None, interlaced=False, before=(), split=None, level=6):
    """A whole PNG.

    Args:
        samples: int array, height x width x samples.
        palette: bytes of the chunk PLTE; for colour type 3 one of noise by default.
        before: chunks (bytes) between the header and the pixels.
        split: bytes per IDAT; one by default.
    """
    height, width, _ = samples.shape
    if interlaced:
        parts = [samples[y::dy, x::dx] for y, x, dy, dx in _PASSES]
        raw = b"".join(scanlines(part, depth) for part in parts if part.size)
    else:
        raw = scanlines(samples, depth)
    if colour == 3 and palette is None:
        palette = np.random.default_rng(1).bytes(3 << depth)
    data = zlib.compress(raw, level)
    split = split or len(data)
    content = SIGNATURE + header(height, width, depth, colour, interlaced) + b"".join(before)
    content += chunk(b"PLTE", palette) if palette else b""
    content += b"".join(chunk(b"IDAT", data[i : i + split]) for i in range(0, len(data), split))
    return content + chunk(b"IEND", b"")


def rgb_of(samples, depth, colour, palette=None):
    """What the pixels mean, by the format's definition: uint8, height x width x 3; alpha is left away.

    16 bits are cut to the upper eight; fewer than eight are spread over 0 to 255.
    """
    if colour == 3:
        table = np.frombuffer(palette or np.random.default_rng(1).bytes(3 << depth), np.uint8).reshape(-1, 3)
        return table[samples[:, :, 0]]
    values = samples >> 8 if depth == 16 else samples * 255 // ((1 << depth) - 1)
    return (
        np.repeat(values[:, :, :1], 3, 2).astype(np.uint8) if colour in (0, 4) else values[:, :, :3].astype(np.uint8)
    )
