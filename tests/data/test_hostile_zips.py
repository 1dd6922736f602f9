"""Zips bent at random in names, bytes, sizes, images and labels: used whole, or one clear error and nothing made."""

import os
import struct
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.hostile import MINUTES
from builders.pngs import ALL_KINDS, chunk, make_png, samples_of
from builders.split import TinySplit
from builders.zips import Part, zip_bytes
from reid.core.errors import ReidError
from reid.core.splits import SPLITS
from reid.data.index import build_index
from reid.data.thumbnails import build_store, open_store
from reid.params.data import Thumbnails
from reid.sources.checks import check_zip

PIECES = ("../", "./", ".x/", "\\", "//", "valid/", "a\0b", "\n", " ", ".", "é", "e\u0301", "__MACOSX/", "\x1b[2J")
ENDS = (".jpg", ".png ", ".PNG", "", ".png/", ".txt", ".png.part")
VALUES = ("1e400", "NaN", "2.9", "null", "true", "[]", "{}", '"x"', "-1", "1" * 5000, "[" * 2000, '"\\ud800"')
NUMBERS = (0, 1, 2**31, 2**32 - 1, 2**40, 2**63)


def bent(data, rng):
    """Bytes with up to three of them changed, stretches removed, inserted or doubled."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at : at + rng.randint(1, 40)]
        elif kind == 2:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 20)))
        else:
            data[at:at] = data[at : at + rng.randint(1, 200)]
    return bytes(data)


def bent_name(name, rng):
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(PIECES) + name
    if kind == 1:
        return name.replace("/", rng.choice(PIECES), 1)
    if kind == 2:
        return name[:-4] + rng.choice(ENDS)
    at = rng.randrange(len(name))
    return name[:at] + rng.choice("0123456789-x_/.é ") + name[at + 1 :]


def bent_image(content, rng):
    """Another kind of PNG of the same size, perhaps with a damaged stream under right CRCs; or damaged bytes."""
    if rng.random() < 0.3:
        return bent(content, rng)
    width, height = struct.unpack(">II", content[16:24])
    colour, depth = rng.choice(ALL_KINDS)
    content = make_png(samples_of(height, width, colour, depth), depth, colour, interlaced=rng.random() < 0.3)
    if rng.random() < 0.5:
        at = content.index(b"IDAT")
        content = content[: at - 4] + chunk(b"IDAT", bent(content[at + 4 : -16], rng)) + content[-12:]
    return content


def bent_labels(content, rng):
    if rng.random() < 0.5:
        return bent(content, rng)
    text = content.decode()
    at = text.index(":", rng.randrange(len(text) // 2))
    return (text[: at + 1] + rng.choice(VALUES) + text[at + 2 :]).encode()


def bent_zip(split, rng):
    """The zip of a tiny split with a few faults."""
    parts = []
    for name, content in TinySplit(split).members().items():
        if rng.random() < 0.1:
            content = bent_labels(content, rng) if name.endswith(".json") else bent_image(content, rng)
        if rng.random() < 0.03:
            name = bent_name(name, rng)
        part = Part(name, content, rng.choice([0, 0, 8]), flags=rng.choice([0x800, 0x800, 0, 0x801]))
        part.flags &= ~1 if rng.random() < 0.97 else ~0
        if rng.random() < 0.02:
            setattr(part, rng.choice(["packed", "size", "crc", "offset"]), rng.choice(NUMBERS) % 2**64)
            part.crc = part.crc and part.crc % 2**32
        if rng.random() < 0.02:
            part.method = rng.choice([1, 12, 99])
        part.listed = rng.random() < 0.98
        if rng.random() < 0.01:
            part.listed_name = bent_name(part.name.decode(), rng).encode()
        parts.append(part)
    data = zip_bytes(parts, rng.choice([b"", b"x" * 50]), rng.choice([b"", b"comment"]), zip64=rng.random() < 0.2)
    return bent(data, rng) if rng.random() < 0.3 else data


@settings(
    max_examples=2500 if MINUTES else 100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(SPLITS), st.randoms(use_true_random=False))
def test_bent_zip_is_used_whole_or_refused(tmp_path, split, rng):
    path, out = tmp_path / "a.zip", tmp_path / "out/a.npy"
    out.unlink(missing_ok=True)
    path.write_bytes(bent_zip(split, rng))
    started = time.process_time()
    try:
        count = check_zip(path, split, progress=False)["images"]
        table, _ = build_index(path, split)
        build_store(path, table, out, Thumbnails(height=16, width=8), 1, progress=False)
        assert count == len(table) == len(open_store(out))
    except ReidError as error:
        message = str(error)
        assert str(path) in message and "Traceback" not in message and len(message) < 20_000
        assert all(line.isprintable() for line in message.splitlines())
        assert not out.exists() and not any(name.endswith(".partial") for name in os.listdir(out.parent.parent))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("split", SPLITS)
def test_split_that_is_not_bent_is_used(tmp_path, split):
    path = tmp_path / "a.zip"
    path.write_bytes(zip_bytes([Part(name, content) for name, content in TinySplit(split).members().items()]))
    table, _ = build_index(path, split)
    build_store(path, table, tmp_path / "a.npy", Thumbnails(height=16, width=8), 1, progress=False)
    assert check_zip(path, split)["images"] == len(open_store(tmp_path / "a.npy")) == 10
