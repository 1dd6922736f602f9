"""Images of a folder as the thumbnail store would hold them: read, decoded and resized when their rows are asked for.

Not here: the store of a split (:mod:`reid.data.thumbnails`), whose decoding and resizing this shares.
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from reid.core.checksums import read_verified
from reid.core.errors import ReidError
from reid.core.file_type import describe_bytes
from reid.core.files import regular
from reid.core.parallel import cores
from reid.data.thumbnails import INTERPOLATION, decode, fitted
from reid.raw.members import shown
from reid.raw.png import image_size
from reid.raw.sizes import MOST_UNPACKED, check_image_size

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG"


def open_jpeg(content: bytes) -> Image.Image:
    """Decode a JPEG, turned as its EXIF says.

    What libjpeg merely warns of is not noticed, for Pillow does not hand it on: where the stream is damaged, or ends
    early at an end marker, pixels are other ones or grey.

    Args:
        content: bytes of the file.

    Returns:
        PIL.Image.Image in RGB

    Raises:
        ValueError: it does not decode, the file ends early, or it has more pixels or bytes than a thumbnail.
    """
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            size = image.height, image.width
            check_image_size(*size, len(content))
            return ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # Pillow has no kind of its own for damaged files
        raise ValueError(f"it does not decode ({error})") from error


def decode_any(
    content: bytes, height: int, width: int, interpolation: str = "bilinear", fit: str = "stretch"
) -> np.ndarray:
    """Decode a PNG or JPEG of any size and resize it; a PNG gives what :func:`reid.data.thumbnails.decode` gives.

    The first bytes decide what it is, not the name of a file.

    Args:
        content: bytes of the file.
        height, width, interpolation, fit: as for :func:`reid.data.thumbnails.decode`.

    Returns:
        uint8 array, height x width x 3

    Raises:
        ValueError: it is neither, does not decode (a PNG: not whole; of a JPEG see :func:`open_jpeg`), or has more
            pixels or bytes than a thumbnail.
    """
    if content.startswith(_PNG):
        return decode(content, height, width, image_size(content), interpolation, fit)
    if not content.startswith(_JPEG):
        raise ValueError(f"it is neither a PNG nor a JPEG image; it is {describe_bytes(content[:512])}")
    image = open_jpeg(content)
    if (image.height, image.width) != (height, width):
        image = fitted(image, height, width, INTERPOLATION[interpolation], fit)
    return np.asarray(image)


class ImageFolder:
    """Images that are decoded when rows are asked for, so that memory does not depend on their number.

    A row that cannot be read or decoded is black, and ``problems`` says why: who reads it decides what that means.

    Args:
        folder: that holds the images.
        names: of the images, relative to it; row i is the i-th.
        height, width: of a row, pixels.
        interpolation, fit: as for :func:`reid.data.thumbnails.decode`.

    Attributes:
        shape: N x height x width x 3; rows are uint8.
        problems: row to what is wrong with it, of the rows that were asked for.
    """

    def __init__(
        self, folder: Path | str, names: Sequence[str], height: int, width: int, interpolation: str, fit: str
    ) -> None:
        self.folder, self.names = Path(folder), names
        self.shape = (len(names), height, width, 3)
        self.interpolation, self.fit = interpolation, fit
        self.problems: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Rows of a slice: uint8 array, B x height x width x 3."""
        numbers = range(*rows.indices(len(self)))
        with ThreadPoolExecutor(cores()) as pool:  # decoders leave the interpreter to other threads
            images = list(pool.map(self._row, numbers))
        return np.stack(images) if images else np.zeros((0, *self.shape[1:]), np.uint8)

    def _row(self, number: int) -> np.ndarray:
        _, height, width, _ = self.shape
        path = self.folder / self.names[number]
        try:
            content = read_verified(regular(path), MOST_UNPACKED)
            return decode_any(content, height, width, self.interpolation, self.fit)
        except ReidError as error:
            self.problems[number] = str(error)
        except OSError as error:
            self.problems[number] = f"{shown(str(path))}: cannot be read ({error.strerror})"
        except ValueError as error:
            self.problems[number] = f"{shown(str(path))}: {error}"
        return np.zeros((height, width, 3), np.uint8)
