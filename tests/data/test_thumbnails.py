"""The thumbnail store: equal to a plain loop over the images, whole or not there at all."""

import argparse
import io
import itertools
import json
import mmap
import multiprocessing
import os
import resource
import runpy
import struct
import zipfile
import zlib
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from builders import ROOT
from builders.pngs import ALL_KINDS, SIGNATURE, chunk, header, make_png, rgb_of, samples_of
from builders.split import png, write_zip
from reid.core import parallel, shared
from reid.core.errors import ReidError
from reid.data.index import build_index, read_index, write_index
from reid.data.thumbnails import INTERPOLATION, build_store, content_facts, decode, open_store
from reid.params.data import Thumbnails

FOLDER = "england_epl/2015-2016/2015-08-08 - 19-30 Bournemouth 0 - 1 Aston Villa/0"
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}  # Pillow's own numbers


def member(number, height, width):
    return f"train/{FOLDER}/{number}-0-{number}-0-Main_referee-None-000r000_{number:012}-{height}x{width}.png"


def plain_loop(path, table, height, width, interpolation="bilinear", fit="stretch"):
    """Open, convert, resize, image after image."""
    images = []
    with zipfile.ZipFile(path) as archive:
        for name in table["member"].to_pylist():
            image = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            if fit == "pad":
                images.append(padded(image, height, width, interpolation))
            else:
                images.append(np.array(image.resize((width, height), FILTERS[interpolation])))
    return np.stack(images)


def padded(image, height, width, interpolation):
    """As large as fits, then pixel for pixel into the middle of a grey image."""
    scale = min(Fraction(height, image.height), Fraction(width, image.width))
    inner_height, inner_width = max(1, round(image.height * scale)), max(1, round(image.width * scale))
    inner = np.array(image.resize((inner_width, inner_height), FILTERS[interpolation]))
    result = np.array([[(124, 116, 104)] * width] * height, np.uint8)
    for y in range(inner_height):
        for x in range(inner_width):
            result[(height - inner_height) // 2 + y, (width - inner_width) // 2 + x] = inner[y, x]
    return result


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A zip of 150 images of noise (three tasks for the workers) of all modes and many sizes, and its index."""
    members = {}
    for i, mode in zip(range(150), itertools.cycle(["RGB", "RGBA", "P", "L"])):
        size = (16, 8) if i < 8 else (5 + i * 7 % 50, 3 + i * 5 % 40)  # the first need no resizing
        members[member(i, *size)] = png(*size, i, mode)
    path = write_zip(tmp_path_factory.mktemp("noise") / "train.zip", members, zipfile.ZIP_DEFLATED)
    return path, build_index(path, "train")[0]


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """Two processes are tested on a machine of one core as well."""
    monkeypatch.setattr(parallel, "cores", lambda: 2)


def build(path, table, out, height=16, width=8, interpolation="bilinear", workers=1, **fit):
    section = Thumbnails(height=height, width=width, interpolation=interpolation, **fit)
    build_store(path, table, out, section, workers, progress=False)
    return open_store(out, len(table))


# ---- equal to a plain loop


@pytest.mark.parametrize("interpolation", list(FILTERS))
@pytest.mark.parametrize("height, width", [(16, 8), (61, 47)])
def test_store_equals_a_plain_loop(tmp_path, noise, interpolation, height, width):
    path, table = noise
    store = build(path, table, tmp_path / "new/a.npy", height, width, interpolation)
    assert store.shape == (150, height, width, 3) and store.dtype == np.uint8
    np.testing.assert_array_equal(store, plain_loop(path, table, height, width, interpolation))


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("height, width", [(16, 8), (21, 47)])
def test_store_fits_images_as_a_plain_loop_does(tmp_path, noise, height, width, fit):
    store = build(*noise, tmp_path / "a.npy", height, width, "bicubic", 2, fit=fit)
    np.testing.assert_array_equal(store, plain_loop(*noise, height, width, "bicubic", fit))


@pytest.mark.parametrize(
    "size, rows, columns",
    [
        ((40, 10), (0, 16), (2, 6)),  # tall: grey at both sides
        ((10, 20), (6, 10), (0, 8)),  # wide: grey above and below
        ((4, 3), (2, 13), (0, 8)),  # 32/3 rows are 11, of five grey ones the odd one is below
        ((300, 1), (0, 16), (3, 4)),  # never less than a pixel
        ((1, 300), (7, 8), (0, 8)),
        ((32, 16), (0, 16), (0, 8)),  # of the same shape
        ((8, 4), (0, 16), (0, 8)),
        ((16, 8), (0, 16), (0, 8)),
    ],
)
def test_pad_keeps_the_shape_in_the_middle_of_grey(size, rows, columns):
    content = png(*size, 1)
    thumbnail = decode(content, 16, 8, size, "bilinear", "pad")
    inner = (columns[1] - columns[0], rows[1] - rows[0])
    want = np.array(Image.open(io.BytesIO(content)).resize(inner, Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(thumbnail[slice(*rows), slice(*columns)], want)
    grey = np.ones((16, 8), bool)
    grey[slice(*rows), slice(*columns)] = False
    assert thumbnail.shape == (16, 8, 3) and (thumbnail[grey] == (124, 116, 104)).all()


def test_every_interpolation_is_one_of_pillow():
    assert {name: int(value) for name, value in INTERPOLATION.items()} == FILTERS


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
def test_sample_equals_a_plain_loop(tmp_path, pku, split):
    path = pku / f"{split}.zip"
    table, _ = build_index(path, split)
    store = build(path, table, tmp_path / "a.npy", 64, 32, workers=2)
    np.testing.assert_array_equal(store, plain_loop(path, table, 64, 32))


def test_one_and_two_workers_give_the_same_bytes(tmp_path, noise):
    for workers in (1, 2):
        build(*noise, tmp_path / f"{workers}.npy", workers=workers)
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "2.npy").read_bytes()


def test_rows_follow_the_index_and_not_the_zip(tmp_path, noise):
    path, table = noise
    turned = table.take(np.arange(len(table))[::-1])
    one, two = build(path, table, tmp_path / "a.npy"), build(path, turned, tmp_path / "b.npy")
    np.testing.assert_array_equal(one[::-1], two)


def test_file_is_plain_npy(tmp_path, noise):
    store = build(*noise, tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), store)
    assert sorted(os.listdir(tmp_path)) == [".a.npy.sums", "a.npy"]


def test_building_maps_no_file(tmp_path, noise, monkeypatch):
    """A mapped store would count as this process's memory and grow with the split."""

    def mapped(*_, **__):
        raise AssertionError("the store was mapped while it was built")

    with monkeypatch.context() as patched:
        patched.setattr(np, "memmap", mapped)
        patched.setattr(np.lib.format, "open_memmap", mapped)
        patched.setattr(mmap, "mmap", mapped)
        build_store(*noise, tmp_path / "a.npy", Thumbnails(height=16, width=8), 1, progress=False)
    np.testing.assert_array_equal(open_store(tmp_path / "a.npy"), plain_loop(*noise, 16, 8))


# ---- images that cannot be used


def fails(path, table, out, workers=1):
    with pytest.raises(ReidError) as caught:
        build(path, table, out, workers=workers)
    return str(caught.value)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_damaged_images_are_named_and_nothing_is_left(tmp_path, make_zip, workers):
    names = [member(i, 20, 10) for i in range(100)]
    members = {name: png(20, 10, i) for i, name in enumerate(names)}
    marked = png(20, 10, 999)
    members[names[1]] = b"<html>not found</html>" * 3
    members[names[2]] = members[names[2]][:-60]
    members[names[70]] = png(10, 20, 70)
    members[names[71]] = marked
    path = make_zip(members)
    table, _ = build_index(path, "train")
    path.write_bytes(path.read_bytes().replace(marked, marked[:100] + bytes([marked[100] ^ 1]) + marked[101:]))
    message = fails(path, table, tmp_path / "out/a.npy", workers)
    lines = [line for line in message.splitlines() if line.startswith("  - ")]
    reasons = ["it is no PNG image", "it does not decode", "it is 10x20, but its name says 20x10", "its CRC is not"]
    for line, number, reason in zip(lines, (1, 2, 70, 71), reasons, strict=True):
        assert line.startswith(f"  - {path}: {names[number]}: {reason}")
    assert ": 4 problems\n" in message and os.listdir(tmp_path / "out") == []


def test_failure_keeps_the_old_store(tmp_path, noise, make_zip):
    path, table = noise
    out = tmp_path / "out/a.npy"
    build(path, table, out)
    old = out.read_bytes()
    os.truncate(other := make_zip({"x": b""}, "other.zip"), 0)
    assert f"{other}: is empty, not the zip that was indexed" in fails(other, table, out)
    assert out.read_bytes() == old and sorted(os.listdir(tmp_path / "out")) == [".a.npy.sums", "a.npy"]


def test_zip_that_changed_since_it_was_indexed(tmp_path, noise, make_zip):
    """Twenty of the 150 are written out; at the first one's offset there is still a member, but another."""
    reason = "what lies there is called first.txt"
    message = fails(make_zip({"first.txt": b"1" * 77, "last.txt": b"2" * 200_000}), noise[1], tmp_path / "out/a.npy")
    assert "images that cannot be used: 150 problems\n" in message and "... and 130 more" in message
    assert message.count("has the zip changed since it was indexed?") == 19 and message.count(reason) == 1


def test_missing_zip_is_named(tmp_path, noise):
    message = fails(tmp_path / "none.zip", noise[1], tmp_path / "out/a.npy")
    assert f"{tmp_path}/none.zip: there is no such file" in message
    assert not (tmp_path / "out").exists()


def test_what_is_no_file_is_not_read(tmp_path, noise):
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "zero.zip").symlink_to("/dev/zero")
    for name, what in (("pipe", "a named pipe"), ("zero", "a device"), ("", "a directory")):
        message = fails(tmp_path / f"{name}.zip" if name else tmp_path, noise[1], tmp_path / "out/a.npy")
        assert f"is {what}, not a file" in message


def test_index_without_places_is_refused(tmp_path, noise):
    path, table = noise
    bare = table.set_column(table.schema.get_field_index("offset"), "offset", pa.nulls(len(table), pa.int64()))
    assert "does not say where in the zip its images are" in fails(path, bare, tmp_path / "out/a.npy")


def test_image_that_bears_another_name_where_it_lies_is_refused(tmp_path, noise):
    """What the directory of a large zip says is compared with the headers here, image by image."""
    path, table = noise
    names = table["member"].to_pylist()
    changed = pa.array([names[1], *names[1:]])
    message = fails(path, table.set_column(table.schema.get_field_index("member"), "member", changed), tmp_path / "o")
    assert f"{names[1]}: what lies there is called {names[0]} (" in message


@pytest.mark.parametrize("place", [2**62, 2**63 - 1])
def test_place_behind_the_end_of_any_file_is_refused_by_name(tmp_path, noise, place):
    path, table = noise
    offsets = pa.array([place, *table["offset"].to_pylist()[1:]], pa.int64())
    message = fails(path, table.set_column(table.schema.get_field_index("offset"), "offset", offsets), tmp_path / "o")
    assert f"{table['member'][0]}: there is no member at this offset" in message


@pytest.mark.parametrize("workers", [1, 2])
def test_full_disk(tmp_path, noise, monkeypatch, workers):
    if workers > 1 and multiprocessing.get_start_method() != "fork":
        pytest.skip("the full disk is pretended in this process, and only a fork takes it over")

    def pwrite(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", pwrite)
    assert "a.npy: the disk is full" in fails(*noise, tmp_path / "out/a.npy", workers)
    assert os.listdir(tmp_path / "out") == []


def test_short_writes_are_continued(tmp_path, noise, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, position: pwrite(file, data[:1000], position))
    np.testing.assert_array_equal(build(*noise, tmp_path / "a.npy"), plain_loop(*noise, 16, 8))


def test_decode_gives_the_pixels_where_the_size_is_right():
    content = png(20, 10, 1)
    np.testing.assert_array_equal(decode(content, 20, 10, (20, 10)), np.array(Image.open(io.BytesIO(content))))


def test_decode_refuses_turned_images_and_other_formats():
    with pytest.raises(ValueError, match=r"it is 20x10, but its name says 10x20 \(height x width\)"):
        decode(png(20, 10, 1), 20, 10, (10, 20))
    jpeg = io.BytesIO()
    Image.new("RGB", (10, 20)).save(jpeg, "JPEG")
    with pytest.raises(ValueError, match="no PNG"):
        decode(jpeg.getvalue(), 20, 10, (20, 10))


# ---- every kind of PNG


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("colour, depth", ALL_KINDS)
@pytest.mark.parametrize("height, width", [(1, 1), (20, 10), (7, 13), (3, 300)])
def test_decode_gives_what_the_format_defines(colour, depth, height, width, interlaced):
    samples = samples_of(height, width, colour, depth, height * width)
    content = make_png(samples, depth, colour, interlaced=interlaced, split=70)
    np.testing.assert_array_equal(decode(content, height, width, (height, width)), rgb_of(samples, depth, colour))


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("colour, depth", [kind for kind in ALL_KINDS if kind != (0, 16)])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_decode_gives_what_pillow_gives(colour, depth, interlaced, fit):
    """But for 16 bits of grey, which Pillow cuts to 255."""
    content = make_png(samples_of(31, 17, colour, depth), depth, colour, interlaced=interlaced)
    image = Image.open(io.BytesIO(content)).convert("RGB")
    np.testing.assert_array_equal(decode(content, 31, 17, (31, 17), fit=fit), np.array(image))
    if fit == "pad":
        want = padded(image, 16, 8, "bilinear")
    else:
        want = np.array(image.resize((8, 16), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decode(content, 16, 8, (31, 17), fit=fit), want)


@pytest.mark.parametrize("colour", [0, 4])
def test_grey_of_sixteen_bits_is_its_upper_eight(colour):
    ramp = np.linspace(0, 65535, 20 * 10).astype(int).reshape(20, 10, 1)
    samples = ramp if colour == 0 else np.concatenate([ramp, 65535 - ramp], 2)
    thumbnail = decode(make_png(samples, 16, colour), 20, 10, (20, 10))
    np.testing.assert_array_equal(thumbnail, np.repeat(ramp >> 8, 3, 2))
    assert thumbnail.min() == 0 and thumbnail.max() == 255 and len(np.unique(thumbnail)) > 150


@pytest.mark.parametrize(
    "other",
    [
        chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)),
        chunk(b"tRNS", b"x"),
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"gAMA", b""),
        chunk(b"sBIT", b"\5\6\5"),
        chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10_000_000), 9)),
        chunk(b"zTXt", b"a\0\0no stream"),
        chunk(b"acTL", struct.pack(">II", 3, 0)),
        chunk(b"PLTE", bytes(9)),
        chunk(b"tEXt", b"text")[:-1] + b"x",
    ],
)
def test_what_makes_no_pixels_changes_none(other):
    """Neither transparency, profile, text nor animation, whole or damaged."""
    samples = samples_of(20, 10, 2, 8)
    content = make_png(samples, before=[other])
    np.testing.assert_array_equal(decode(content, 20, 10, (20, 10)), samples)
    np.testing.assert_array_equal(decode(content + b"more", 20, 10, (20, 10)), samples)


# ---- damaged PNGs


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("colour, depth", ALL_KINDS)
@pytest.mark.parametrize("share", [0, 0.25, 0.5, 0.99])
def test_stream_that_ends_well_before_the_last_row_is_refused(colour, depth, share, interlaced):
    """A decoder that takes what comes leaves black rows."""
    whole = make_png(samples_of(20, 10, colour, depth), depth, colour, interlaced=interlaced)
    start = whole.index(b"IDAT") + 4
    raw = zlib.decompress(whole[start:-16])
    content = whole[: start - 8] + chunk(b"IDAT", zlib.compress(raw[: int(share * len(raw))])) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="it does not decode .*too short"):
        decode(content, 16, 8, (20, 10))


def test_five_of_twenty_rows_are_named_and_leave_no_store(tmp_path, make_zip):
    short = make_png(samples_of(5, 10, 2, 8))
    short = short.replace(short[8:33], header(20, 10))
    path = make_zip({member(0, 20, 10): png(20, 10, 0), member(1, 20, 10): short})
    message = fails(path, build_index(path, "train")[0], tmp_path / "out/a.npy")
    assert f"{path}: {member(1, 20, 10)}: it does not decode (IDAT stream too short)" in message
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_every_damaged_byte_of_an_image_is_found(mode):
    """Also where the zip was packed of a damaged file, so that its CRC is right."""
    content = png(20, 10, 1, mode)
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 0x10
        with pytest.raises(ValueError):
            decode(bytes(changed), 20, 10, (20, 10))


def test_every_cut_image_is_found():
    content = png(20, 10, 1)
    for size in range(len(content)):
        with pytest.raises(ValueError):
            decode(content[:size], 20, 10, (20, 10))


@pytest.mark.parametrize("kind", [b"PLTE", b"IDAT", b"IEND", b"IHDR", b"ABCD"])
@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
def test_decode_of_odd_chunks_raises_nothing_but_value_errors(mode, kind):
    content = png(20, 10, 1, mode)
    outcomes = []
    for data in (b"", b"\x00", b"\x01\x02\x03", bytes(9), b"\xff" * 9, bytes(13)):
        for position in {content.index(b"IDAT") - 4, 33, len(content) - 12}:  # IHDR ends at 33, IEND has 12 bytes
            try:
                outcomes.append(
                    decode(content[:position] + chunk(kind, data) + content[position:], 8, 4, (20, 10)).shape
                )
            except ValueError as error:
                outcomes.append(str(error).startswith("it does not decode ("))
    assert len(outcomes) >= 12 and all(outcome in (True, (8, 4, 3)) for outcome in outcomes)


@pytest.mark.parametrize("at, value", [(24, 3), (24, 0), (24, 32), (25, 1), (25, 5), (26, 1), (27, 1), (28, 2)])
def test_decode_of_an_unknown_kind_of_png(at, value):
    head = bytearray(header(20, 10))
    head[at - 8] = value
    content = png(20, 10, 1)
    content = content[:8] + chunk(b"IHDR", bytes(head[8:21])) + content[33:]
    with pytest.raises(ValueError, match="it does not decode"):
        decode(content, 20, 10, (20, 10))


def test_image_of_other_pixels_than_its_name_is_never_unpacked():
    """A few bytes that say 99999 x 99999, and a stream that would fill them."""
    bomb = SIGNATURE + header(99_999, 99_999) + chunk(b"IDAT", zlib.compress(bytes(10**7), 9)) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="it is 99999x99999, but its name says 20x10"):
        decode(bomb, 16, 8, (20, 10))
    with pytest.raises(ValueError, match="is said to be 99999x99999, and a thumbnail has 40 million pixels"):
        decode(bomb, 16, 8, (99_999, 99_999))


def test_stream_of_a_gigabyte_in_a_small_image_takes_no_memory():
    raw = zlib.compressobj(9)
    data = b"".join(raw.compress(bytes(10**7)) for _ in range(20)) + raw.flush()
    content = SIGNATURE + header(20, 10) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert decode(content, 16, 8, (20, 10)).shape == (16, 8, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


# ---- opening


def test_open_store_maps_and_does_not_write(tmp_path, noise):
    store = build(*noise, tmp_path / "a.npy")
    assert isinstance(store.array, np.memmap)
    with pytest.raises(TypeError):
        store[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        store.array[0] = 0


@pytest.mark.parametrize(
    "array", [np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 4, 4), np.uint8), np.zeros((2, 3, 4, 4), np.uint8)]
)
def test_open_store_refuses_another_kind_of_array(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ReidError, match="a.npy: is not a thumbnail store .uint8 N x H x W x 3., but "):
        open_store(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", [(2, 0, 16, 3), (2, 16, 0, 3), (2, 7, 16, 3), (2, 8, 2049, 3), (0, 16, 8, 3)])
def test_open_store_refuses_what_no_parameters_make(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    count, height, width, _ = shape
    reason = f"holds {count} thumbnails of {height}x{width} .height x width., and wanted .* 8 to 2,048 pixels"
    with pytest.raises(ReidError, match=f"a.npy: {reason}; make it with scripts/thumbnails.py$"):
        open_store(tmp_path / "a.npy", count)


@pytest.mark.parametrize("height, width", [(8, 2048), (2048, 8)])
def test_open_store_takes_the_sizes_of_the_parameters(tmp_path, height, width):
    size = Thumbnails(height=height, width=width)
    np.save(tmp_path / "a.npy", np.zeros((1, size.height, size.width, 3), np.uint8))
    assert open_store(tmp_path / "a.npy").shape == (1, height, width, 3)


def test_open_store_refuses_another_number_of_rows(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8, 3), np.uint8))
    assert len(open_store(tmp_path / "a.npy", 2)) == 2
    for rows in (0, 1, 3):
        with pytest.raises(ReidError, match=f"a.npy: has 2 rows and its index {rows}; make both again"):
            open_store(tmp_path / "a.npy", rows)


@pytest.mark.parametrize("kind", ["missing", "empty", "cut", "text", "pickle", "zip"])
def test_open_store_refuses_what_is_no_array(tmp_path, kind):
    path = tmp_path / "a.npy"
    if kind == "pickle":
        np.save(path, np.array([{}], object))
    elif kind == "zip":
        with open(path, "wb") as file:
            np.savez(file, a=np.zeros((2, 4, 4, 3), np.uint8))
    elif kind == "cut":
        np.save(path, np.zeros((200, 40, 40, 3), np.uint8))
        os.truncate(path, path.stat().st_size - 1)
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"no array " * 50)
    reason = "there is no such file" if kind == "missing" else "is not a thumbnail store"
    with pytest.raises(ReidError, match=f"a.npy: {reason}.*make it with scripts/thumbnails.py"):
        open_store(path)


# ---- the program


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_program_takes_size_fit_and_filter_from_the_parameters(tmp_path, noise, fit):
    path, table = noise
    write_index(tmp_path / "a.parquet", table, "train", "0" * 64)
    params = (ROOT / "params.yaml").read_text()
    section = params[params.index("\nthumbnails:") : params.index("\ntrain:")]
    new = {"height": 12, "width": 9, "fit": fit, "interpolation": "nearest"}
    (tmp_path / "params.yaml").write_text(params.replace(section, f"\nthumbnails: {json.dumps(new)}\n"))
    main = runpy.run_path(str(ROOT / "scripts/thumbnails.py"))["main"]
    files = {
        "zip": path,
        "index": tmp_path / "a.parquet",
        "out": tmp_path / "a.npy",
        "params": tmp_path / "params.yaml",
    }
    main(argparse.Namespace(**files, threads=2))
    read, _ = read_index(tmp_path / "a.parquet")
    np.testing.assert_array_equal(open_store(tmp_path / "a.npy", 150), plain_loop(path, read, 12, 9, "nearest", fit))


def test_a_store_is_shared_under_all_that_decides_its_bytes(noise):
    table, section = noise[1], Thumbnails(height=16, width=8)
    others = {"height": 17, "width": 9, "interpolation": "nearest", "fit": "pad"}
    facts = [
        content_facts(table, "0" * 64, section),
        content_facts(table, "1" * 64, section),
        content_facts(table.slice(1), "0" * 64, section),
        *(content_facts(table, "0" * 64, section.model_copy(update={name: of})) for name, of in others.items()),
    ]
    for name in ("offset", "packed", "size", "method", "crc", "height", "width"):
        place, column = table.column_names.index(name), table[name].to_numpy().copy()
        column[-1] ^= 1
        other = table.set_column(place, table.schema.field(name), pa.array(column))
        facts.append(content_facts(other, "0" * 64, section))
    assert len({shared.key("thumbnails", one) for one in facts}) == len(facts) == 14
    assert content_facts(table.slice(0), "0" * 64, Thumbnails(height=16, width=8)) == facts[0]
