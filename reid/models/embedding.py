"""Embeddings of all thumbnails of a split."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn.functional import normalize

from reid.core.errors import ReidError
from reid.core.progress import bar
from reid.models import device as compute
from reid.models.embedder import Embedder
from reid.params.ranking import Embed


def embed_batches(
    network: Embedder, store: np.ndarray, batch_size: int, dtype: torch.dtype, flip_test: bool = False
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
    where = network.mean.device
    for start in range(0, len(store), batch_size):
        images = torch.from_numpy(np.array(store[start : start + batch_size])).to(where)
        with torch.inference_mode(), compute.autocast(dtype, where):
            embeddings = network(network.prepare(images))
            if flip_test:
                mirrored = network(network.prepare(images.flip(2)))
                embeddings = (normalize(embeddings) + normalize(mirrored)) / 2
        yield embeddings.float().cpu().numpy()


def embed(network: Embedder, store: np.ndarray, params: Embed, progress: bool = True) -> np.ndarray:
    """Embed every thumbnail.

    Args:
        network: left in evaluation mode, on the device that computed.
        store: uint8 N x H x W x 3.
        params: section ``embed``.
        progress: whether to show a progress bar.

    Returns:
        float32 array N x D, row i is row i of the store

    Raises:
        ReidError: an embedding is not finite.
    """
    where = compute.device()
    compute.prepare(params.threads)
    dtype = compute.precision(params.precision, where)
    network = network.eval().to(where).to(memory_format=torch.channels_last)
    result = np.empty((len(store), network.width), np.float32)
    row = 0
    with bar(len(store), "embed", "image", progress) as done:
        for embeddings in embed_batches(network, store, params.batch_size, dtype, params.flip_test):
            result[row : row + len(embeddings)] = embeddings
            row += len(embeddings)
            done.update(len(embeddings))
    wrong = np.flatnonzero(~np.isfinite(result).all(1))
    if len(wrong):
        raise ReidError(f"the embedding of row {wrong[0]} and {len(wrong) - 1} more is not finite; train again")
    return result
