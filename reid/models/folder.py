"""Embeddings of any folder of images, for what is no part of this pipeline: trackers, game state, notebooks."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reid.core.cli import log
from reid.core.errors import ReidError, summarise
from reid.core.files import replacing, sha256
from reid.core.tables import arrow
from reid.data.images import ImageFolder
from reid.models.checkpoint import load
from reid.models.embedding import embedded
from reid.params.data import Thumbnails
from reid.params.ranking import Embed
from reid.raw.images import list_images
from reid.raw.members import counted

_GROUP = 8192  # rows that are kept before they are written: 64 MB of 2,048 values


def embed_folder(
    checkpoint: Path | str,
    folder: Path | str,
    path: Path | str,
    thumbnails: Thumbnails,
    params: Embed,
    skip_broken: bool = False,
    progress: bool = True,
) -> tuple[int, int]:
    """Embed all PNG and JPEG files of a folder and those below it, as the pipeline embeds thumbnails.

    Images are read batch by batch, so that memory does not depend on their number. The same images in the same order,
    in batches of the same size, have the embeddings of scripts/embed.py to the bit.

    Args:
        checkpoint: of the model.
        folder: that holds the images.
        path: the table to make (Parquet): ``name`` (relative to the folder, with "/"), sorted, and ``embedding``
            (float32, D values); its metadata name the checkpoint, by SHA-256, and the preprocessing.
        thumbnails: section ``thumbnails``: what images are resized to first.
        params: section ``embed``.
        skip_broken: leave out, with a warning that names them, images that cannot be used.
        progress: whether to show a progress bar.

    Returns:
        (int, int): how many images were embedded, and how many left out

    Raises:
        ReidError: the folder has no image, images cannot be used (all of them are named), or an embedding is not
            finite.
    """
    found = list_images(folder)
    if not found.names:
        others = f"; it holds {counted(found.passed_over)}" if found.passed_over else ""
        raise ReidError(f"{folder}: holds no .png, .jpg or .jpeg file{others}")
    if found.passed_over:
        log.info("%s: passed over what is no image by its name: %s", folder, counted(found.passed_over))
    network = load(checkpoint)
    size = thumbnails.height, thumbnails.width
    images = ImageFolder(folder, found.names, *size, thumbnails.interpolation, thumbnails.fit)
    about = {
        "checkpoint": sha256(checkpoint),
        "thumbnails": thumbnails.model_dump(),
        "embed": params.model_dump(),
    }
    with replacing(path) as partial, open(partial, "wb") as file:  # Arrow opens no name that is not UTF-8
        schema = _schema(network.width, about)
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            rows = _rows(images, embedded(network, images, params, progress), skip_broken)
            for names, embeddings in _grouped(rows):
                values = arrow(embeddings.reshape(-1), pa.float32())
                column = pa.FixedSizeListArray.from_arrays(values, network.width)
                writer.write_table(pa.Table.from_arrays([pa.array(names, pa.string()), column], schema=schema))
        if len(images.problems) == len(images):
            raise ReidError(_broken(images))
    if images.problems:
        log.warning("left out %s", _broken(images))
    return len(images) - len(images.problems), len(images.problems)


def _schema(width: int, about: dict) -> pa.Schema:
    fields = [("name", pa.string()), ("embedding", pa.list_(pa.float32(), width))]
    return pa.schema(fields, metadata={"reid": json.dumps(about, sort_keys=True)})


def _broken(images: ImageFolder) -> str:
    return summarise((images.problems[i] for i in sorted(images.problems)), "images that cannot be used", len(images))


def _rows(
    images: ImageFolder, batches: Iterator[np.ndarray], skip_broken: bool
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names and embeddings of the images that can be used, batch by batch."""
    row = 0
    for embeddings in batches:
        numbers = range(row, row + len(embeddings))
        row += len(embeddings)
        if images.problems and not skip_broken:
            break
        usable = [i for i in numbers if i not in images.problems]
        embeddings = embeddings[[i - numbers.start for i in usable]]
        wrong = np.flatnonzero(~np.isfinite(embeddings).all(1))
        if len(wrong):
            name = images.names[usable[wrong[0]]]
            raise ReidError(f"the embedding of {name} is not finite; train again, or use embed.precision: fp32")
        yield [images.names[i] for i in usable], embeddings
    if images.problems and not skip_broken:
        for start in range(row, len(images), 256):  # the rest is only looked at
            images[start : start + 256]
        raise ReidError(f"{_broken(images)}\nMend or remove them, or leave them out with --skip-broken.")


def _grouped(rows: Iterator[tuple[list[str], np.ndarray]]) -> Iterator[tuple[list[str], np.ndarray]]:
    """The same rows in fewer and larger pieces."""
    names: list[str] = []
    parts: list[np.ndarray] = []
    for more, embeddings in rows:
        names += more
        parts.append(embeddings)
        if len(names) >= _GROUP:
            yield names, np.concatenate(parts)
            names, parts = [], []
    if names:
        yield names, np.concatenate(parts)
