"""Embeddings of all thumbnails of a split."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch.nn.functional import normalize

from reid.core.arrays import CheckedArray
from reid.core.errors import ReidError
from reid.core.progress import bar
from reid.models import device as compute
from reid.models.embedder import Embedder
from reid.models.folding import folded
from reid.params.ranking import Embed


class Images(Protocol):
    """Images by rows: an array, a thumbnail store, a folder (:class:`reid.data.images.ImageFolder`)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N x H x W x 3; rows are uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


Store = np.ndarray | CheckedArray | Images
Function = Callable[[torch.Tensor], torch.Tensor]
_BUFFERS = 3  # of batches: one is computed, one is there to come next, one is read


def embeddings_of(network: Embedder, images: torch.Tensor, flip_test: bool) -> torch.Tensor:
    """Embeddings of a batch.

    Args:
        network: in evaluation mode.
        images: uint8, B x H x W x 3, on the network's device.
        flip_test: the mean of the embeddings of an image and of its mirror image, each of length 1.

    Returns:
        float32, B x D
    """
    x = network.prepare(images)
    embeddings: torch.Tensor = network(x)
    if flip_test:
        embeddings = (normalize(embeddings) + normalize(network(x.flip(3)))) / 2
    return embeddings.float()


def embed_batches(
    network: Embedder, store: Store, batch_size: int, dtype: torch.dtype, flip_test: bool = False
) -> Iterator[np.ndarray]:
    """Embeddings of a store, batch by batch.

    Args:
        network: in evaluation mode, on the device that is to compute.
        store: uint8 N x H x W x 3.
        batch_size: images at a time.
        dtype: of convolutions and matrix products.
        flip_test: the mean of the embeddings of an image and of its mirror image, each of length 1.

    Yields:
        float32 array, at most ``batch_size`` x D
    """
    where, network = network.mean.device, folded(network)

    def function(images: torch.Tensor) -> torch.Tensor:
        with network.named(), torch.inference_mode(), compute.autocast(dtype, where):
            return embeddings_of(network, images, flip_test)

    if where.type == "cuda":
        return _pipelined(function, store, batch_size, Copies(where))
    return _one_by_one(function, store, batch_size)


def _one_by_one(function: Function, store: Store, batch_size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(store), batch_size):
        yield function(torch.from_numpy(np.array(store[start : start + batch_size]))).numpy()


class Copies:
    """Copies from and to a device while it computes; on a CPU they are plain ones.

    Args:
        where: the device.
    """

    def __init__(self, where: torch.device) -> None:
        self.where = where
        self.stream = torch.cuda.Stream(where) if where.type == "cuda" else None

    def here(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor on the CPU, in memory that the device can read and write by itself."""
        return torch.empty(shape, dtype=dtype, pin_memory=self.stream is not None)

    def there(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor on the device, to copy to."""
        tensor = torch.empty(shape, dtype=dtype, device=self.where)
        if self.stream:  # what had its memory before may be under way still
            self.stream.wait_stream(torch.cuda.current_stream(self.where))
        return tensor

    def up(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Copy to the device; what it is asked to compute from here on waits for it, and nothing else."""
        with torch.cuda.stream(self.stream):  # None changes nothing
            target.copy_(source, non_blocking=True)
        if self.stream:
            torch.cuda.current_stream(self.where).wait_stream(self.stream)

    def down(self, source: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
        """Copy from the device what it is asked to compute up to here; the function that is returned waits for it."""
        target.copy_(source, non_blocking=True)
        return torch.cuda.current_stream(self.where).record_event().synchronize if self.stream else lambda: None

    def finish(self) -> None:
        """Wait for copies to the device that nothing has waited for."""
        if self.stream:
            self.stream.synchronize()


def _pipelined(function: Function, store: Store, batch_size: int, copies: Copies) -> Iterator[np.ndarray]:
    """As :func:`_one_by_one`, while the next batch is read and the result of the last one is copied back.

    All batches have one size: the last one is filled up. So the kernels are the same for all of them, and with these
    what a row's embedding is.
    """
    starts, shape = range(0, len(store), batch_size), (batch_size, *store.shape[1:])
    buffers = [(copies.here(shape, torch.uint8), copies.there(shape, torch.uint8)) for _ in starts[:_BUFFERS]]

    def read(number: int) -> int:
        rows, into = store[starts[number] : starts[number] + batch_size], buffers[number % _BUFFERS][0].numpy()
        into[: len(rows)] = rows
        into[len(rows) :] = 0
        return len(rows)

    def take(wait: Callable[[], None], result: torch.Tensor, rows: int) -> np.ndarray:
        wait()
        return result[:rows].numpy().copy()

    with ThreadPoolExecutor(1) as reader:
        coming = deque(reader.submit(read, number) for number in range(len(buffers)))
        under_way: list[tuple[Callable[[], None], torch.Tensor, int]] = []
        try:
            for number in range(len(starts)):
                rows, (images, images_there) = coming.popleft().result(), buffers[number % _BUFFERS]
                copies.up(images, images_there)
                embeddings = function(images_there)
                result = copies.here(tuple(embeddings.shape), embeddings.dtype)
                under_way.append((copies.down(embeddings, result), result, rows))
                if number:
                    done = take(*under_way.pop(0))
                    if (following := number - 1 + _BUFFERS) < len(starts):  # in the buffer that is free now
                        coming.append(reader.submit(read, following))
                    yield done
            if under_way:
                yield take(*under_way.pop())
        finally:
            copies.finish()


def embedded(network: Embedder, store: Store, params: Embed, progress: bool = True) -> Iterator[np.ndarray]:
    """Set up the device as ``params`` say, and embed batch by batch.

    Args:
        network: left in evaluation mode, on the device that computed.
        store: uint8 N x H x W x 3.
        params: section ``embed``.
        progress: whether to show a progress bar.

    Yields:
        float32 array, at most ``params.batch_size`` x D, in the order of the rows; what is not finite is yielded too
    """
    where = compute.device()
    compute.prepare(params.threads)
    dtype = compute.precision(params.precision, where)
    network = network.eval().to(where).to(memory_format=torch.channels_last)
    with bar(len(store), "embed", "image", progress) as done:
        for embeddings in embed_batches(network, store, params.batch_size, dtype, params.flip_test):
            yield embeddings
            done.update(len(embeddings))


def embed(network: Embedder, store: Store, params: Embed, progress: bool = True) -> np.ndarray:
    """Embed every thumbnail: the batches of :func:`embedded` as one array.

    Returns:
        float32 array N x D, row i is row i of the store

    Raises:
        ReidError: an embedding is not finite.
    """
    result = np.empty((len(store), network.width), np.float32)
    row = 0
    for embeddings in embedded(network, store, params, progress):
        result[row : row + len(embeddings)] = embeddings
        row += len(embeddings)
    wrong = np.flatnonzero(~np.isfinite(result).all(1))
    if len(wrong):
        raise ReidError(f"the embedding of row {wrong[0]} and {len(wrong) - 1} more is not finite; train again")
    return result
