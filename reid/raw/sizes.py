"""How large a split and what it holds may be: limits that are looked at before the work is done."""

from reid.raw.filenames import parse_name

MOST_MEMBERS = 1_000_000  # files of a split: four times what train has
MOST_FOLDERS = 300_000  # of a split: there are 221,036 identities, and a folder of one's own may have one for each
MOST_DIRECTORY = 1 << 28  # bytes of a zip's directory: four times what train's takes
MOST_PIXELS = 40_000_000  # of a thumbnail, which is a part of a frame: a whole frame of 8K has 33 million
MOST_UNPACKED = 1 << 29  # bytes of any file


def most_bytes(height: int, width: int) -> int:
    """Bytes that a PNG of this size has at most: 16 bits of RGBA that do not pack, and 4 MiB of metadata."""
    return (1 << 22) + height * (9 * width + 1)


def check_image_size(height: int, width: int, size: int) -> None:
    """Check that an image of so many pixels may have ``size`` bytes.

    Raises:
        ValueError: it has too many pixels for a thumbnail, or too many bytes for its pixels.
    """
    if height * width > MOST_PIXELS:
        raise ValueError(
            f"is said to be {height}x{width}, and a thumbnail has {MOST_PIXELS // 1_000_000} million pixels at most"
        )
    if size > (most := most_bytes(height, width)):
        raise ValueError(f"has {size:,} bytes, and an image of {height}x{width} has {most:,} at most")


def most_label_bytes(images: int) -> int:
    """Bytes that the ``bbox_info.json`` of so many images has at most: three times what SoccerNet's takes."""
    return (1 << 20) + 1024 * images


def check_file_size(path: str, size: int, images: int) -> None:
    """Check that a file of a split may have ``size`` bytes.

    Args:
        path: of an image or a ``bbox_info.json``.
        size: bytes, unpacked.
        images: how many the split has.

    Raises:
        ValueError: it has too many.
    """
    most = MOST_UNPACKED
    if path.endswith(".json"):
        most = most_label_bytes(images)
    else:
        try:
            thumbnail = parse_name(path.rsplit("/", 1)[-1])
        except ValueError:
            pass  # the index says what is wrong with the name
        else:
            check_image_size(thumbnail.height, thumbnail.width, size)
    if size > most:
        raise ValueError(f"has {size:,} bytes, and {most:,} is the most that it can have")
