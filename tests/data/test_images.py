"""Images of any folder: a PNG as in the thumbnail store, a JPEG as Pillow reads it, and what is broken by its row."""

import io

import numpy as np
import pytest
from PIL import Image

from builders.split import png
from reid.data.images import ImageFolder, decode_any
from reid.data.thumbnails import decode


def jpeg(height, width, seed, mode="RGB", **options):
    channels = {"RGB": (3,), "CMYK": (4,), "L": ()}[mode]
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise, mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("interpolation", "fit"), [("bilinear", "stretch"), ("bicubic", "pad")])
def test_a_png_is_what_the_store_holds(interpolation, fit):
    content = png(40, 17, 1, "RGBA")
    expected = decode(content, 32, 16, (40, 17), interpolation, fit)
    np.testing.assert_array_equal(decode_any(content, 32, 16, interpolation, fit), expected)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_a_jpeg_is_resized_as_a_png_of_its_pixels(mode):
    content = jpeg(40, 17, 2, mode)
    pixels = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").save(pixels, "PNG")
    expected = decode(pixels.getvalue(), 32, 16, (40, 17))
    np.testing.assert_array_equal(decode_any(content, 32, 16), expected)


def test_a_jpeg_of_a_phone_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise shows it upright
    lying = jpeg(16, 32, 3)
    turned = decode_any(jpeg(16, 32, 3, exif=exif), 32, 16)
    np.testing.assert_array_equal(turned, np.rot90(decode_any(lying, 16, 32), -1))


def test_a_slice_is_its_rows_and_what_is_broken_is_told_by_row(tmp_path):
    contents = {
        "a.png": png(40, 17, 1),
        "b.jpg": jpeg(30, 20, 2)[:-200],
        "c.png": jpeg(30, 20, 3),  # the first bytes decide
        "d.png": b"<html>",
        "e.jpg": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    images = ImageFolder(tmp_path, [*contents, "gone.png"], 32, 16, "bilinear", "stretch")
    assert images.shape == (6, 32, 16, 3)
    assert len(images) == 6
    rows = images[0:6]
    np.testing.assert_array_equal(rows[0], decode_any(contents["a.png"], 32, 16))
    np.testing.assert_array_equal(rows[2], decode_any(contents["c.png"], 32, 16))
    assert not rows[[1, 3, 4, 5]].any()
    assert sorted(images.problems) == [1, 3, 4, 5]
    for row, words in {1: "truncated", 3: "a web page", 4: "it is empty", 5: "there is no such file"}.items():
        assert words in images.problems[row]
        assert str(tmp_path / images.names[row]) in images.problems[row]
    assert images[5:9].shape == (1, 32, 16, 3)
    assert images[6:9].shape == (0, 32, 16, 3)


def test_a_name_of_two_lines_is_told_in_one(tmp_path):
    (tmp_path / "a\nb.png").write_bytes(b"<html>")
    images = ImageFolder(tmp_path, ["a\nb.png"], 32, 16, "bilinear", "stretch")
    assert not images[0:1].any()
    assert r"a\nb.png': it is neither" in images.problems[0] and "\n" not in images.problems[0]


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded():
    content = bytearray(jpeg(16, 16, 1))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"  # height and width
    with pytest.raises(ValueError, match="65535x65535|decompression bomb"):
        decode_any(bytes(content), 32, 16)
