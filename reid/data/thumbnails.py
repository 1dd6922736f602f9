"""The thumbnail store: every image of a split decoded and resized once, as one memory-mapped array.

uint8, N x H x W x 3 (RGB), row i is row i of the index.
"""

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyspng
from PIL import Image

from reid.core import file_type, shared
from reid.core.arrays import CheckedArray
from reid.core.checksums import Sums, digest
from reid.core.errors import ReidError, summarise
from reid.core.files import regular, replacing
from reid.core.imagenet import MEAN_COLOUR
from reid.core.parallel import ordered_map
from reid.core.progress import bar
from reid.core.sides import LONGEST_SIDE, SHORTEST_SIDE
from reid.raw.archive import read_member
from reid.raw.members import shown
from reid.raw.png import essential, image_size
from reid.raw.sizes import check_image_size, most_bytes

INTERPOLATION = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,  # Pillow widens the filter when it shrinks: antialiased, as the kit does
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_CHUNK = 64  # images per task: small enough to share work evenly, large enough that handing over costs nothing


def fitted(image: Image.Image, height: int, width: int, method: Image.Resampling, fit: str) -> Image.Image:
    """An image of another size, stretched or padded to this one."""
    if fit == "stretch":
        return image.resize((width, height), method)
    if image.height * width >= image.width * height:  # a narrower shape
        inner = max(1, round(image.width * height / image.height)), height
    else:
        inner = width, max(1, round(image.height * width / image.width))
    padded = Image.new("RGB", (width, height), MEAN_COLOUR)
    padded.paste(image.resize(inner, method), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return padded


def decode(
    content: bytes,
    height: int,
    width: int,
    size: tuple[int, int],
    interpolation: str = "bilinear",
    fit: str = "stretch",
) -> np.ndarray:
    """Decode one image and resize it.

    Args:
        content: bytes of the PNG.
        height, width: of the result, pixels.
        size: (height, width) that the image must have.
        interpolation: a key of :data:`INTERPOLATION`.
        fit: ``"stretch"``, or ``"pad"``: keep height : width, centred on :data:`reid.core.imagenet.MEAN_COLOUR`.

    Returns:
        uint8 array, height x width x 3

    Raises:
        ValueError: it does not decode whole, has another size, or more pixels or bytes than a thumbnail.
    """
    actual = image_size(content)
    if actual != size:
        raise ValueError(f"it is {actual[0]}x{actual[1]}, but its name says {size[0]}x{size[1]} (height x width)")
    check_image_size(*size, len(content))
    try:
        # Not Pillow: it fills what a stream that ends early leaves out with black, and reads 16 bits of grey wrong.
        pixels: np.ndarray = pyspng.load(essential(content), "RGB")
    except (ValueError, RuntimeError) as error:
        reason = str(error).removeprefix("pyspng: could not decode image: ")
        raise ValueError(f"it does not decode ({reason})") from error
    if size == (height, width):
        return pixels
    return np.asarray(fitted(Image.fromarray(pixels), height, width, INTERPOLATION[interpolation], fit))


def content_facts(table: Any, zip_sha256: str, section: Any) -> dict[str, Any]:
    """All that decides the bytes of a store, for :func:`reid.core.shared.key`: arguments of :func:`build_store`.

    ``zip_sha256`` is that of the zip, as its index names it.
    """
    rows = hashlib.sha256()
    for name in ("offset", "packed", "size", "method", "crc", "height", "width"):
        rows.update(table[name].to_numpy().tobytes())
    return {
        "zip": zip_sha256,
        "rows": rows.hexdigest(),
        "size": [section.height, section.width, section.interpolation, section.fit],
        "code": shared.code("data/thumbnails.py", "core/imagenet.py", "raw/archive.py", "raw/png.py"),
        "versions": shared.versions("numpy", "pillow", "pyspng"),
    }


def layout(count: int, height: int, width: int) -> tuple[bytes, Sums]:
    """How a store of ``count`` images lies on the disk.

    Returns:
        (bytes, Sums): the header of its ``.npy`` file; its digests, still without any
    """
    header, row = io.BytesIO(), height * width * 3
    shape = (count, height, width, 3)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    head = header.getvalue()
    return head, Sums(len(head) + count * row, len(head), _CHUNK * row, [])


class _Task(NamedTuple):
    """Some rows of the index, to be decoded into the store."""

    zip_path: Path | str
    store_path: Path
    rows: list[tuple]  # member, offset, packed, size, method, crc, height, width
    position: int  # in the store, bytes
    section: Any  # as for build_store


def _decode_rows(task: _Task) -> tuple[int, list[str], str]:
    """Decode some rows of the index and write them into the store.

    Writes by position and not through a memory map, so that the process does not grow with the file.
    """
    problems, made = [], task.section
    source = os.open(task.zip_path, os.O_RDONLY)
    target = os.open(task.store_path, os.O_WRONLY)
    try:
        block = np.zeros((len(task.rows), made.height, made.width, 3), np.uint8)
        for i, (member, offset, packed, size, method, crc, height, width) in enumerate(task.rows):
            try:
                content = read_member(source, member, offset, packed, size, method, crc, most_bytes(height, width))
                block[i] = decode(content, made.height, made.width, (height, width), made.interpolation, made.fit)
            except ValueError as error:
                problems.append(f"{task.zip_path}: {shown(member)}: {error}")
        data, sums = block.data.cast("B"), digest(block.data)
        position = task.position
        while len(data):
            written = os.pwrite(target, data, position)
            data, position = data[written:], position + written
        with contextlib.suppress(AttributeError, OSError):  # Linux: the disk begins now, the end has less to wait for
            os.posix_fadvise(target, task.position, block.nbytes, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(source)
        os.close(target)
    return len(task.rows), problems, sums


def build_store(
    zip_path: Path | str, table: Any, path: Path | str, section: Any, workers: int, progress: bool = True
) -> None:
    """Decode and resize all images of a split.

    Args:
        zip_path: the zip that the index describes.
        table: the index (pyarrow.Table).
        path: the ``.npy`` file to make.
        section: height, width, interpolation and fit of every thumbnail (reid.params.data.Thumbnails).
        workers: number of processes; memory does not depend on the number of images.
        progress: whether to show a progress bar.

    Raises:
        ReidError: the zip is missing or no zip; images that do not decode, whose CRC is wrong or whose size is not the
            one in their name, all in one message with zip and member.
    """
    names = ["member", "offset", "packed", "size", "method", "crc", "height", "width"]
    count = table.num_rows
    problems: list[str] = []
    if not os.access(regular(zip_path), os.R_OK):
        raise ReidError(f"{zip_path}: must not be read by this user; change its rights")
    if any(table[name].null_count for name in names):
        raise ReidError("the index does not say where in the zip its images are; make it with scripts/index.py")
    head, sums = layout(count, section.height, section.width)
    sums.digests.append(digest(head))
    row = section.height * section.width * 3
    with replacing(path, lambda: sums) as partial:
        with open(partial, "wb") as file:
            file.write(head)
            file.truncate(sums.size)

        def tasks() -> Iterator[_Task]:
            for start in range(0, count, _CHUNK):
                part = table.slice(start, _CHUNK).select(names).to_pydict()
                rows = list(zip(*(part[name] for name in names), strict=True))
                position = sums.head + start * row
                yield _Task(zip_path, partial, rows, position, section)

        with bar(count, os.path.basename(path), "image", progress) as done:
            for number, failed, of_block in ordered_map(_decode_rows, tasks(), workers):
                problems += failed
                sums.digests.append(of_block)
                done.update(number)
        if problems:
            what = file_type.describe(zip_path)
            if not what.startswith(("a zip", "an empty zip")):
                raise ReidError(f"{zip_path}: is {what}, not the zip that was indexed; fetch or pack it again")
            raise ReidError(summarise(problems, "images that cannot be used") + "\nFetch or pack the zip again.")


def open_store(path: Path | str, rows: int | None = None) -> CheckedArray:
    """Map a store into memory.

    Args:
        path: a file written by :func:`build_store`.
        rows: how many rows it must have (those of its index).

    Returns:
        uint8, N x H x W x 3, mapped, read-only; rows are checked against their digests when they are first read

    Raises:
        ReidError: the file is missing, is no store, has another number of rows or none, or sides that
            reid.params.data.Thumbnails does not allow.
    """
    try:
        store = CheckedArray(regular(path, "scripts/thumbnails.py"))
    except ValueError as error:
        raise ReidError(f"{path}: is not a thumbnail store ({error}); make it with scripts/thumbnails.py") from error
    if store.dtype != np.uint8 or store.ndim != 4 or store.shape[3] != 3:
        raise ReidError(f"{path}: is not a thumbnail store (uint8 N x H x W x 3), but {store.dtype} {store.shape}")
    count, *sides, _ = store.shape
    if not count or not all(SHORTEST_SIDE <= side <= LONGEST_SIDE for side in sides):
        raise ReidError(
            f"{path}: holds {count:,} thumbnails of {sides[0]}x{sides[1]} (height x width), and wanted are some whose "
            f"sides have {SHORTEST_SIDE} to {LONGEST_SIDE:,} pixels; make it with scripts/thumbnails.py"
        )
    if rows is not None and len(store) != rows:
        raise ReidError(f"{path}: has {len(store)} rows and its index {rows}; make both again from the same zip")
    return store
