"""The chunks that make pixels: kept to the byte, checked, and the others left away; and the size of an image."""

import struct
import zlib

import pytest

from builders.pngs import ALL_KINDS, SIGNATURE, chunk, header, make_png, samples_of
from builders.split import png
from reid.raw.png import essential, image_size

OTHERS = [
    chunk(kind, data) for kind in (b"tEXt", b"gAMA", b"iCCP", b"tRNS", b"eXIf", b"abCd") for data in (b"", b"x" * 9)
]


@pytest.mark.parametrize("colour, depth", ALL_KINDS)
@pytest.mark.parametrize("split", [1, 40, None])
def test_png_of_pixels_alone_is_given_back(colour, depth, split):
    content = make_png(samples_of(9, 7, colour, depth), depth, colour, split=split)
    assert essential(content) is content


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("colour", [0, 2, 3])
def test_chunks_that_make_no_pixels_are_left_away(other, colour):
    samples = samples_of(9, 7, colour, 8)
    bare = make_png(samples, 8, colour)
    at = bare.index(b"IDAT") - 4
    assert essential(make_png(samples, 8, colour, before=[other])) == bare
    assert essential(bare[:at] + other + bare[at:]) == essential(bare[:-12] + other + bare[-12:]) == bare


def test_damage_and_bombs_in_what_is_left_away_do_not_matter():
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000), 9))
    broken = chunk(b"tEXt", b"text")[:-4] + b"\0\0\0\0"
    bare = make_png(samples_of(9, 7, 2, 8))
    assert essential(make_png(samples_of(9, 7, 2, 8), before=[bomb, broken])) == bare


def test_bytes_behind_the_end_are_not_kept_with_other_chunks():
    bare = make_png(samples_of(9, 7, 2, 8))
    assert essential(make_png(samples_of(9, 7, 2, 8), before=[OTHERS[0]]) + b"more") == bare


def test_every_cut_is_found():
    content = make_png(samples_of(9, 7, 2, 8), split=50)
    for size in range(8, len(content)):
        with pytest.raises(ValueError, match="it is cut short"):
            essential(content[:size])


def test_every_changed_byte_of_what_makes_pixels_is_found():
    content = make_png(samples_of(9, 7, 3, 8), 8, 3, split=50)
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 0x04
        try:
            kept = essential(bytes(changed))
        except ValueError:
            continue
        assert len(kept) < len(content)  # a chunk became one that makes no pixels


@pytest.mark.parametrize("kind", [b"ABCD", b"JUNK", b"IDAU"])
def test_unknown_chunk_that_is_needed_is_refused(kind):
    with pytest.raises(ValueError, match="unknown and said to be needed"):
        essential(make_png(samples_of(9, 7, 2, 8), before=[chunk(kind, b"x")]))


@pytest.mark.parametrize("length", [2**31, 2**32 - 1, 10**6])
def test_chunk_of_any_length_is_bounded_by_the_file(length):
    content = SIGNATURE + header(9, 7) + struct.pack(">I", length) + b"IDAT" + bytes(100)
    with pytest.raises(ValueError, match="it is cut short in its chunk b'IDAT'"):
        essential(content)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0", SIGNATURE[:7]])
def test_no_png(content):
    with pytest.raises(ValueError, match="it is "):
        essential(content)


# ---- the size of an image


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("height, width", [(1, 1), (775, 449), (3, 300)])
def test_image_size_is_height_and_width(mode, height, width):
    content = png(height, width, 1, mode)
    assert image_size(content) == image_size(content[:24]) == (height, width)


@pytest.mark.parametrize(
    "content, what",
    [
        (b"", "it is empty"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "it is a JPEG image"),
        (b"\x89PNG\r\n\x1a\n", "the beginning of one"),
        (bytes(24), "it is zeros"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a Git LFS pointer"),
    ],
)
def test_image_size_of_no_png_says_what_it_is(content, what):
    with pytest.raises(ValueError, match=f"it is no PNG image.*{what}"):
        image_size(content)


def test_image_size_of_a_cut_or_foreign_header():
    content = png(5, 6, 1)
    for wrong in (content[:23], content[:12] + b"IDAT" + content[16:], content[1:]):
        with pytest.raises(ValueError, match="no PNG"):
            image_size(wrong)
