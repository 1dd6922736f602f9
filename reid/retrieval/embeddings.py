"""Embedding files of a split: those of our own models, and those that were made elsewhere."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from reid.core.arrays import by, map_array
from reid.core.checksums import verify
from reid.core.errors import ReidError
from reid.core.files import regular, replacing
from reid.core.tables import column, numbers, read_parquet

WIDEST = 1 << 16  # values of an embedding


def write_embeddings(path: Path | str, embeddings: np.ndarray) -> None:
    """Write embeddings as ``.npy``.

    Args:
        path: the file to make.
        embeddings: float32 N x D; row i is row i of the index.
    """
    with replacing(path) as partial, open(partial, "wb") as file:
        np.save(file, embeddings)


def read_embeddings(
    path: Path | str, rows: int, maker: str = "scripts/embed.py", box: Callable[[int], str] = "row {}".format
) -> np.ndarray:
    """Read embeddings of a split, our own or others.

    Args:
        path: ``.npy`` file, float16, float32 or float64, N x D, of any byte order; row i is row i of the index.
        rows: how many it must have, those of the index.
        maker, box: what makes such a file, and what to call the box of a row, for messages.

    Returns:
        float32 array N x D; mapped into memory and read-only if that is what the file holds

    Raises:
        ReidError: the file is missing, of another kind or length, not what was written, or holds a value that is not
            finite, or a row that float32 cannot hold.
    """
    try:
        verify(regular(path, maker))
        embeddings = map_array(path)
    except ValueError as error:
        raise ReidError(f"{path}: is not an array of embeddings ({error}); make it with {maker}") from error
    floats = embeddings.dtype.kind == "f" and embeddings.dtype.itemsize <= 8
    if not floats or embeddings.ndim != 2 or embeddings.shape[1] == 0:
        raise ReidError(
            f"{path}: must be float16, float32 or float64, {rows} x D, not {embeddings.dtype} {by(embeddings.shape)}"
        )
    if embeddings.shape[1] > WIDEST:
        raise ReidError(f"{path}: has embeddings of {embeddings.shape[1]:,} values, and {WIDEST:,} is the most")
    if len(embeddings) != rows:
        raise ReidError(
            f"{path}: has {len(embeddings)} rows, but the index has {rows}; row i must be row i of the index"
        )
    return _single_precision(embeddings, path, box)


def read_external(folder: Path | str, split: str, table: pa.Table) -> np.ndarray:
    """Read embeddings of a split that were made elsewhere.

    Args:
        folder: holds one of ``{split}.npy`` (float16, float32 or float64, N x D; row i is row i of the index) and
            ``{split}.parquet`` (columns role, bbox_idx and embedding, a list of floats; every box of the index once,
            in any order).
        split: whose embeddings are wanted.
        table: index of the split (columns role, bbox_idx).

    Returns:
        float32 array N x D; row i is row i of the index

    Raises:
        ReidError: neither file is there, or both are; or a box of the index has not exactly one finite embedding that
            float32 can hold.
    """
    array, boxes = (Path(folder) / f"{split}.{suffix}" for suffix in ("npy", "parquet"))
    there = [path for path in (array, boxes) if os.path.lexists(path)]
    if len(there) == 2:
        raise ReidError(f"{folder}: holds both {array.name} and {boxes.name}; which one counts? keep one")

    def box(row: int) -> str:
        return f"{table['role'][row]} {table['bbox_idx'][row]}"

    if there == [array]:
        return read_embeddings(array, len(table), "numpy.save", box)
    if there:
        return _single_precision(_read_boxes(boxes, table), boxes, box)
    if not Path(folder).is_dir():
        raise ReidError(f"{folder}: there is no such folder; it must hold {array.name} or {boxes.name}")
    raise ReidError(f"{folder}: holds neither {array.name} nor {boxes.name}; put the embeddings of {split} there")


def _read_boxes(path: Path, table: pa.Table) -> np.ndarray:
    """Embeddings of a ``.parquet`` file, brought into the order of the index."""
    boxes, embedding = _columns(path)
    rows = _rows_of(boxes, table, path)
    width = numbers(embedding.value_lengths()).astype(np.int64)
    if width.max() > WIDEST:
        raise ReidError(f"{path}: has embeddings of {width.max():,} values, and {WIDEST:,} is the most")
    other = np.flatnonzero(width != width[0])
    if len(other):
        first, second = (f"{width[i]} values for {' '.join(map(str, boxes[i]))}" for i in (0, other[0]))
        raise ReidError(f"{path}: embeddings are not of one length: {first}, but {second}")
    flat = embedding.flatten()
    if flat.null_count or not len(flat):
        raise ReidError(
            f"{path}: " + ("an embedding holds null" if flat.null_count else "the embeddings have no values")
        )
    values = numbers(flat).reshape(len(rows), -1)
    result = np.empty_like(values)
    result[rows] = values
    return result


def _columns(path: Path) -> tuple[list[tuple[str, int]], pa.Array]:
    """(role, bbox_idx) of each row of a ``.parquet`` file, and its lists of floats; none is null."""
    try:
        content = read_parquet(path, ["role", "bbox_idx", "embedding"], "pyarrow.parquet.write_table")
        role, bbox, embedding = (content[name].combine_chunks() for name in ("role", "bbox_idx", "embedding"))
        names = role.cast(pa.string()).to_pylist()
    except KeyError as error:
        raise ReidError(f"{path}: {error.args[0]}; there must be role, bbox_idx and embedding") from error
    except pa.ArrowException as error:
        raise ReidError(f"{path}: is not a table of embeddings ({error})") from error
    if not pa.types.is_integer(bbox.type):
        raise ReidError(f"{path}: bbox_idx must hold integers, not {bbox.type}")
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(kind(embedding.type) for kind in lists) or not pa.types.is_floating(embedding.type.value_type):
        raise ReidError(f"{path}: embedding must hold lists of floats, not {embedding.type}")
    for name, array in (("role", role), ("bbox_idx", bbox), ("embedding", embedding)):
        if array.null_count:
            raise ReidError(f"{path}: {name} is null in {array.null_count} of {len(array)} rows")
    return list(zip(names, bbox.to_pylist(), strict=True)), embedding


def _rows_of(boxes: list[tuple[str, int]], table: pa.Table, path: Path) -> np.ndarray:
    """Row in the index of each (role, bbox_idx); there is each box of the index, and no other, once."""
    index = zip(table["role"].to_pylist(), column(table, "bbox_idx").tolist(), strict=True)
    row_of = {box: row for row, box in enumerate(index)}
    if len(row_of) < len(table):
        raise ReidError("the index holds a box twice; make it again with scripts/index.py")
    given = Counter(boxes)
    for what, wrong in {
        "stands more than once": [box for box, times in given.items() if times > 1],
        "is not in the index": [box for box in given if box not in row_of],
        "is in the index, but not here": [box for box in row_of if box not in given],
    }.items():
        if wrong:
            role, idx = wrong[0]
            more = f"; {len(wrong) - 1} more like it" if len(wrong) > 1 else ""
            raise ReidError(f"{path}: {role} {idx} {what}{more}")
    return np.array([row_of[box] for box in boxes], np.int64)


def _single_precision(embeddings: np.ndarray, path: Path | str, box: Callable[[int], str]) -> np.ndarray:
    """Embeddings as float32, row by row; all are finite, and none has lost its digits."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.asanyarray(embeddings, np.float32, order="C")
        finite = np.isfinite(result.sum())  # a sum takes a tenth of the time
    if not finite and len(wrong := np.flatnonzero(~np.isfinite(result).all(axis=1))):
        reason = "too large for float32" if np.isfinite(embeddings[wrong[0]]).all() else "not finite"
        raise ReidError(f"{path}: the embedding of {_first(wrong, box)} holds a value that is {reason}")
    if embeddings.dtype.itemsize > 4:
        largest = np.maximum(result.max(axis=1), -result.min(axis=1))
        small = np.flatnonzero(largest < np.finfo(np.float32).tiny)  # below it digits are lost, and at last all
        if len(wrong := small[embeddings[small].any(axis=1)]):
            raise ReidError(
                f"{path}: the embedding of {_first(wrong, box)} has values too small for float32; multiply all "
                "embeddings by one number"
            )
    return result


def _first(rows: np.ndarray, box: Callable[[int], str]) -> str:
    """The first of some rows by its name, and how many there are beside it."""
    return box(int(rows[0])) + (f" and {len(rows) - 1} more" if len(rows) > 1 else "")
