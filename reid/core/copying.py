"""A file is read once for all that needs it: copy, SHA-256, digests of blocks. 12 GB are slow to read twice."""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

from reid.core.checksums import BLOCK, Sums
from reid.core.checksums import digest as block_digest
from reid.core.progress import bar


def read_through(
    source: Path | str, text: str, progress: bool, target: Path | str | None = None, like: Sums | None = None
) -> tuple[str, Sums]:
    """Read a file once.

    Args:
        source: the file.
        text: what a progress bar says.
        progress: show it (on a terminal).
        target: where to write a copy; None for none.
        like: digests whose blocks are taken; None for blocks of :data:`reid.core.checksums.BLOCK`.

    Returns:
        (str, Sums): SHA-256; digests as :func:`reid.core.checksums.sum_file` gives them.
    """
    with open(source, "rb") as stream:
        return read_stream(stream, os.path.getsize(source), text, progress, target, like)


def read_stream(
    stream: BinaryIO | Any,
    size: int,
    text: str,
    progress: bool,
    target: Path | str | None = None,
    like: Sums | None = None,
) -> tuple[str, Sums]:
    """:func:`read_through` of an open file, of which no more than ``size`` bytes are read; its reads may be short."""
    whole, digests, done = hashlib.sha256(), [], 0
    head, block = (min(like.head, size), like.block) if like else (0, BLOCK)
    with open(target, "wb") if target else contextlib.nullcontext() as new, bar(size, text, "B", progress) as shown:
        while data := _exactly(stream, min(head if head and not done else block, size - done)):
            whole.update(data)
            digests.append(block_digest(data))
            done += len(data)
            if new:
                new.write(data)
            shown.update(len(data))
    return whole.hexdigest(), Sums(done, head, block, digests)


def _exactly(stream: Any, count: int) -> bytes:
    """``count`` bytes of a stream, or those that are left."""
    parts, left = [], count
    while left and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
