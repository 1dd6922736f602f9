"""Limits that no real file meets, and no hostile one passes."""

import numpy as np
import pytest

from builders.pngs import ALL_KINDS, make_png, samples_of
from builders.split import TinySplit
from reid.raw.sizes import check_file_size, check_image_size, most_bytes, most_label_bytes


@pytest.mark.parametrize("colour, depth", ALL_KINDS)
@pytest.mark.parametrize("height, width", [(1, 1), (128, 64), (1, 3000), (3000, 1)])
def test_no_png_is_larger_than_the_limit(colour, depth, height, width):
    """Noise, not packed, in chunks of a few bytes."""
    content = make_png(samples_of(height, width, colour, depth), depth, colour, level=0, split=16)
    check_image_size(height, width, len(content))


def test_limit_grows_with_the_pixels_alone():
    assert most_bytes(20, 10) < 5_000_000 and most_bytes(2160, 3840) < 80_000_000


@pytest.mark.parametrize("height, width", [(99_999, 99_999), (99_999, 401), (1, 40_000_001)])
def test_too_many_pixels(height, width):
    with pytest.raises(ValueError, match=f"{height}x{width}, and a thumbnail has 40 million pixels at most"):
        check_image_size(height, width, 100)
    check_image_size(4320, 7680, 100)  # a frame of 8K


def test_too_many_bytes_for_the_pixels():
    with pytest.raises(ValueError, match="has 1,000,000,000 bytes, and an image of 20x10 has"):
        check_image_size(20, 10, 10**9)


@pytest.mark.parametrize("count", [1, 10, 250_000])
def test_labels_fit_by_far(count):
    record = len(TinySplit("valid").members()["valid/bbox_info.json"]) / 10
    assert 2 * record * count < most_label_bytes(count) < 10_000_000 + 8 * record * count


@pytest.mark.parametrize(
    "path, most",
    [
        ("valid/query/a/b/c/0/0-0-0-0-Main_referee-7-a-20x9.png", most_bytes(20, 9)),
        ("query/1-2-20x9.png", most_bytes(20, 9)),
        ("valid/bbox_info.json", most_label_bytes(10)),
        ("query/of no known name.png", 1 << 29),
    ],
)
def test_a_file_is_measured_by_its_name(path, most):
    check_file_size(path, most, 10)
    with pytest.raises(ValueError, match=f"has {most + 1:,} bytes"):
        check_file_size(path, most + 1, 10)


def test_most_bytes_takes_large_numbers_exactly():
    assert isinstance(most_bytes(99_999, 99_999), int) and not isinstance(most_bytes(1, 1), np.integer)
