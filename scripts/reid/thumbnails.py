"""The thumbnail store: every picture of a split decoded and resized once, as one memory-mapped array.

uint8, N x H x W x 3 (RGB), row i is row i of the index.
"""

import io
import os

import numpy as np
from PIL import Image

from reid.archive import picture_size, read_member
from reid.errors import ReidError, summarise
from reid.files import replacing
from reid.parallel import ordered_map
from reid.progress import bar

INTERPOLATION = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,  # Pillow widens the filter when it shrinks: antialiased, as the kit does
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MEAN_COLOUR = (124, 116, 104)  # ImageNet's mean (RGB): what networks see as zero
_CHUNK = 64  # pictures per task: small enough to share work evenly, large enough that handing over costs nothing


def _fitted(picture, height, width, method, fit):
    """A picture of another size, stretched or padded to this one."""
    if fit == "stretch":
        return picture.resize((width, height), method)
    if picture.height * width >= picture.width * height:  # a narrower shape
        inner = max(1, round(picture.width * height / picture.height)), height
    else:
        inner = width, max(1, round(picture.height * width / picture.width))
    padded = Image.new("RGB", (width, height), MEAN_COLOUR)
    padded.paste(picture.resize(inner, method), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return padded


def decode(content, height, width, size, interpolation="bilinear", fit="stretch"):
    """Decode one picture and resize it.

    Args:
        content: bytes of the PNG.
        height, width: of the result, pixels.
        size: (height, width) that the picture must have.
        interpolation: a key of :data:`INTERPOLATION`.
        fit: ``"stretch"``, or ``"pad"``: keep height : width, centred on :data:`MEAN_COLOUR`.

    Returns:
        uint8 array, height x width x 3

    Raises:
        ValueError: it does not decode, or has another size.
    """
    found = picture_size(content)
    if found != size:
        raise ValueError(f"it is {found[0]}x{found[1]}, but its name says {size[0]}x{size[1]} (height x width)")
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            picture = picture.convert("RGB")
    except Exception as error:  # Pillow raises OSError, SyntaxError, IndexError and more for damaged chunks
        raise ValueError(f"it does not decode ({error})") from error
    if picture.size != (width, height):
        picture = _fitted(picture, height, width, INTERPOLATION[interpolation], fit)
    return np.asarray(picture)


def _decode_rows(task):
    """Decode some rows of the index and write them into the store.

    Writes by position and not through a memory map, so that the process does not grow with the file.
    """
    zip_path, store_path, start, rows, height, width, interpolation, fit, header = task
    problems = []
    source = os.open(zip_path, os.O_RDONLY)
    target = os.open(store_path, os.O_WRONLY)
    try:
        block = np.zeros((len(rows), height, width, 3), np.uint8)
        for i, (member, offset, packed, size, method, crc, *picture) in enumerate(rows):
            try:
                content = read_member(source, offset, packed, size, method, crc)
                block[i] = decode(content, height, width, tuple(picture), interpolation, fit)
            except ValueError as error:
                problems.append(f"{zip_path}: {member}: {error}")
        data = memoryview(block).cast("B")
        position = header + start * height * width * 3
        while len(data):
            written = os.pwrite(target, data, position)
            data, position = data[written:], position + written
    finally:
        os.close(source)
        os.close(target)
    return len(rows), problems


def build_store(zip_path, table, path, height, width, interpolation, workers, progress=True, fit="stretch"):
    """Decode and resize all pictures of a split.

    Args:
        zip_path: the zip that the index describes.
        table: the index (pyarrow.Table).
        path: the ``.npy`` file to make.
        height, width: of every thumbnail, pixels.
        interpolation: a key of :data:`INTERPOLATION`.
        workers: number of processes; memory does not depend on the number of pictures.
        progress: whether to show a progress bar.
        fit: as for :func:`decode`.

    Raises:
        ReidError: the zip is missing; pictures that do not decode, whose CRC is wrong or whose size is not the one in
            their name, all in one message with zip and member.
    """
    names = ["member", "offset", "packed", "size", "method", "crc", "height", "width"]
    count, shape = table.num_rows, (table.num_rows, height, width, 3)
    problems = []
    if not os.access(zip_path, os.R_OK):
        raise ReidError(f"{zip_path}: is missing or cannot be read")
    with replacing(path) as partial:
        with open(partial, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            header = file.tell()
            file.truncate(header + count * height * width * 3)

        def tasks():
            for start in range(0, count, _CHUNK):
                part = table.slice(start, _CHUNK).select(names).to_pydict()
                rows = list(zip(*(part[name] for name in names), strict=True))
                yield zip_path, partial, start, rows, height, width, interpolation, fit, header

        with bar(count, os.path.basename(path), "picture", progress) as done:
            for number, found in ordered_map(_decode_rows, tasks(), workers):
                problems += found
                done.update(number)
        if problems:
            raise ReidError(summarise(problems, "pictures that cannot be used") + "\nFetch or pack the zip again.")


def open_store(path, rows=None):
    """Map a store into memory.

    Args:
        path: a file written by :func:`build_store`.
        rows: how many rows it must have (those of its index).

    Returns:
        uint8 memory map, N x H x W x 3, read-only

    Raises:
        ReidError: the file is missing, is no store, or has another number of rows.
    """
    try:
        store = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise ReidError(f"{path}: is not a thumbnail store ({error}); make it with scripts/thumbnails.py") from error
    if store.dtype != np.uint8 or store.ndim != 4 or store.shape[3] != 3:
        raise ReidError(f"{path}: is not a thumbnail store (uint8 N x H x W x 3), but {store.dtype} {store.shape}")
    if rows is not None and len(store) != rows:
        raise ReidError(f"{path}: has {len(store)} rows and its index {rows}; make both again from the same zip")
    return store
