"""Mean and standard deviation of the colours of a thumbnail store."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from reid.core.arrays import CheckedArray

SAMPLE = 4096  # images whose colours are counted, of a split that has more: the real train store holds 24 GB
_BLOCK = 64  # images at a time; their sums of squares fit uint32, and their digests are of as many


def _sample(count: int, sample: int) -> np.ndarray:
    """Rows of a store to look at: all, or ``sample`` of them in evenly spaced groups.

    To check a single image is to read its whole block of the file: images between others would cost as much as all.
    """
    if count <= sample:
        return np.arange(count)
    groups = sample // _BLOCK
    first = np.arange(groups) * (count // _BLOCK) // groups * _BLOCK
    return (first[:, None] + np.arange(_BLOCK)).ravel()


def _blocks(store: np.ndarray | CheckedArray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Some rows of a store, a block at a time, as uint8 n x (H W 3)."""
    size = int(np.prod(store.shape[1:]))
    for first in range(0, len(rows), _BLOCK):
        chosen = rows[first : first + _BLOCK]
        yield store[chosen].reshape(len(chosen), size)
        if isinstance(store, CheckedArray):
            store.release()


def channels(store: np.ndarray | CheckedArray, sample: int = SAMPLE) -> dict[str, Any]:
    """Mean and standard deviation of each colour over all pixels of a thumbnail store.

    Of a store with more images than ``sample`` that many are taken, in evenly spaced groups. Sums are whole numbers,
    so the result does not depend on how they are split; memory does not depend on the store.

    Args:
        store: uint8, N x H x W x 3.
        sample: how many images at most; a multiple of 64.

    Returns:
        ``{"mean": [r, g, b], "std": [r, g, b], "images", "of"}``; colours from 0 to 1
    """
    rows = _sample(len(store), sample)
    count = len(rows)
    total = square = np.zeros(3, np.uint64)
    for block in _blocks(store, rows):
        # over images first: that is along memory, and much faster than over the pixels of one channel
        total = total + block.sum(axis=0, dtype=np.uint32).reshape(-1, 3).sum(axis=0, dtype=np.uint64)
        squares = np.square(block, dtype=np.uint16).sum(axis=0, dtype=np.uint32)
        square = square + squares.reshape(-1, 3).sum(axis=0, dtype=np.uint64)
    pixels = count * store.shape[1] * store.shape[2]
    mean = total / pixels / 255
    std = [
        float(np.sqrt(pixels * int(q) - int(t) ** 2) / pixels / 255) for t, q in zip(total, square, strict=True)
    ]  # in whole numbers up to the root: nothing cancels
    return {"mean": mean.tolist(), "std": std, "images": count, "of": len(store)}
