"""The thumbnails of an action on one sheet."""

import io
import math

import numpy as np
from PIL import Image

_LARGEST = 128  # pixels, height and width of a thumbnail on the page
_QUALITY = 85


def tile_size(height: int, width: int) -> tuple[int, int]:
    """Height and width (pixels) of a thumbnail on the page: the store's, or as much smaller as it must be."""
    scale = min(1, _LARGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def sprite(thumbnails: np.ndarray, height: int, width: int) -> tuple[bytes, int]:
    """All thumbnails of an action on one sheet, line by line, about as high as wide.

    JPEG: WebP is a third smaller and takes ten times as long.

    Args:
        thumbnails: uint8 array N x H x W x 3.
        height, width: of each on the sheet, pixels.

    Returns:
        the JPEG; thumbnails per line
    """
    columns = min(len(thumbnails), math.ceil(math.sqrt(len(thumbnails) * height / width)))
    sheet = Image.new("RGB", (columns * width, math.ceil(len(thumbnails) / columns) * height))
    for i, thumbnail in enumerate(thumbnails):
        image = Image.fromarray(thumbnail)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=1)
        sheet.paste(image, (i % columns * width, i // columns * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue(), columns
