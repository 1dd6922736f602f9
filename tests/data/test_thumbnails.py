"""The thumbnail store: equal to a plain loop over the images, whole or not there at all."""

import argparse
import io
import itertools
import json
import mmap
import multiprocessing
import os
import runpy
import struct
import zipfile
import zlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from builders import ROOT
from builders.split import png, write_zip
from reid.core import parallel
from reid.core.errors import ReidError
from reid.data.index import build_index, read_index, write_index
from reid.data.thumbnails import INTERPOLATION, build_store, decode, open_store

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
    build_store(path, table, out, height, width, interpolation, workers, progress=False, **fit)
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
    assert os.listdir(tmp_path) == ["a.npy"]


def test_building_maps_no_file(tmp_path, noise, monkeypatch):
    """A mapped store would count as this process's memory and grow with the split."""

    def mapped(*_, **__):
        raise AssertionError("the store was mapped while it was built")

    with monkeypatch.context() as patched:
        patched.setattr(np, "memmap", mapped)
        patched.setattr(np.lib.format, "open_memmap", mapped)
        patched.setattr(mmap, "mmap", mapped)
        build_store(*noise, tmp_path / "a.npy", 16, 8, "bilinear", 1, progress=False)
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
    assert "no member at this offset" in fails(other, table, out)
    assert out.read_bytes() == old and os.listdir(tmp_path / "out") == ["a.npy"]


def test_zip_that_changed_since_it_was_indexed(tmp_path, noise, make_zip):
    """Twenty of the 150 are written out; at the first one's offset there is still a member, but another."""
    reason = "it does not unpack"
    message = fails(make_zip({"first.txt": b"1" * 77, "last.txt": b"2" * 200_000}), noise[1], tmp_path / "out/a.npy")
    assert "images that cannot be used: 150 problems\n" in message and "... and 130 more" in message
    assert message.count("has the zip changed since it was indexed?") == 19 and message.count(reason) == 1


def test_missing_zip_is_named(tmp_path, noise):
    assert f"{tmp_path}/none.zip: is missing" in fails(tmp_path / "none.zip", noise[1], tmp_path / "out/a.npy")
    assert not (tmp_path / "out").exists()


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


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    "kind", [b"tRNS", b"gAMA", b"cHRM", b"iCCP", b"pHYs", b"PLTE", b"acTL", b"fcTL", b"IDAT", b"IEND"]
)
@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_decode_of_damaged_chunks_raises_nothing_but_value_errors(mode, kind):
    """Pillow has many words for damage; one that escaped would hide which image it was."""
    content = png(20, 10, 1, mode)
    outcomes = []
    for data in (b"", b"\x00", b"\x01\x02\x03", bytes(9), b"\xff" * 9):
        for position in {content.index(b"IDAT") - 4, 33, len(content) - 12}:  # IHDR ends at 33, IEND has 12 bytes
            try:
                outcomes.append(
                    decode(content[:position] + chunk(kind, data) + content[position:], 8, 4, (20, 10)).shape
                )
            except ValueError as error:
                outcomes.append(str(error).startswith("it does not decode ("))
    assert len(outcomes) >= 10 and all(outcome in (True, (8, 4, 3)) for outcome in outcomes)


def test_decode_reports_an_error_of_any_kind(monkeypatch):
    def wrong(*_, **__):
        raise IndexError("index out of range")

    monkeypatch.setattr(Image, "open", wrong)
    with pytest.raises(ValueError, match="it does not decode .index out of range"):
        decode(png(20, 10, 1), 8, 4, (20, 10))


# ---- opening


def test_open_store_maps_and_does_not_write(tmp_path, noise):
    store = build(*noise, tmp_path / "a.npy")
    assert isinstance(store, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store[0] = 0


@pytest.mark.parametrize(
    "array", [np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 4, 4), np.uint8), np.zeros((2, 3, 4, 4), np.uint8)]
)
def test_open_store_refuses_another_kind_of_array(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ReidError, match="a.npy: is not a thumbnail store .uint8 N x H x W x 3., but "):
        open_store(tmp_path / "a.npy")


def test_open_store_refuses_another_number_of_rows(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4, 3), np.uint8))
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
    with pytest.raises(ReidError, match="a.npy: is not a thumbnail store .*make it with scripts/thumbnails.py"):
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
