"""Mean and standard deviation of the colours of a thumbnail store."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

SAMPLE = 4096  # images whose colours are counted, of a split that has more: the real train store holds 24 GB
_BLOCK = 64  # images at a time; their sums of squares fit uint32


def _blocks(store: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Some rows of a store, a block at a time, as uint8 n x (H W 3).

    A memory map is read as a file: its pages would count as memory of this process, and each would be a fault.
    """
    size = int(np.prod(store.shape[1:]))
    mapped = store if isinstance(store, np.memmap) and store.filename is not None else None
    with nullcontext() if mapped is None else open(str(mapped.filename), "rb", buffering=0) as file:
        for first in range(0, len(rows), _BLOCK):
            chosen = rows[first : first + _BLOCK]
            if mapped is None or file is None:
                yield store[chosen].reshape(len(chosen), size)
                continue
            block = np.empty((len(chosen), size), np.uint8)
            for line, row in zip(block, chosen.tolist(), strict=True):
                file.seek(mapped.offset + row * size)
                file.readinto(line.data)
            yield block


def channels(store: np.ndarray, sample: int = SAMPLE) -> dict[str, Any]:
    """Mean and standard deviation of each colour over all pixels of a thumbnail store.

    Of a store with more images than ``sample`` that many are taken, evenly spaced. Sums are whole numbers, so the
    result does not depend on how they are split; memory does not depend on the store.

    Args:
        store: uint8 array or memory map, N x H x W x 3.
        sample: how many images at most.

    Returns:
        ``{"mean": [r, g, b], "std": [r, g, b], "images", "of"}``; colours from 0 to 1
    """
    count = min(len(store), sample)
    rows = np.arange(count) * len(store) // count
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
