"""Embeddings of all thumbnails of a split."""

import numpy as np
import torch
from torch.nn.functional import normalize

from reid import compute
from reid.errors import ReidError
from reid.files import replacing
from reid.progress import bar


def embed_batches(network, store, batch, dtype, views="plain"):
    """Embeddings of a store, batch by batch.

    Args:
        network: reid.networks.Embedder in evaluation mode, on the device that is to compute.
        store: uint8 N x H x W x 3.
        batch: pictures at a time.
        dtype: torch.dtype of convolutions and matrix products.
        views: as in reid.params.Embed.

    Yields:
        float32 array, at most ``batch`` x D
    """
    where = network.mean.device
    for start in range(0, len(store), batch):
        pictures = torch.from_numpy(np.array(store[start : start + batch])).to(where)
        with torch.inference_mode(), compute.autocast(dtype, where):
            embeddings = network(network.prepare(pictures))
            if views == "plain+flip":
                mirrored = network(network.prepare(pictures.flip(2)))
                embeddings = (normalize(embeddings) + normalize(mirrored)) / 2
        yield embeddings.float().cpu().numpy()


def embed(network, store, params, progress=True):
    """Embed every thumbnail.

    With ``params.views`` of "plain+flip" an embedding is the mean of the picture's and its mirror image's, each of
    length 1 (as is common in the field).

    Args:
        network: reid.networks.Embedder
        store: uint8 N x H x W x 3.
        params: reid.params.Embed
        progress: whether to show a progress bar.

    Returns:
        float32 array N x D, row i is row i of the store

    Raises:
        ReidError: an embedding is not finite.
    """
    where = compute.device()
    compute.prepare(params.threads)
    dtype = compute.precision(params.precision, where)
    network = network.eval().to(where, memory_format=torch.channels_last)
    result = np.empty((len(store), network.width), np.float32)
    with bar(len(store), "embed", "picture", progress) as done:
        starts = range(0, len(store), params.batch)
        for start, embeddings in zip(
            starts, embed_batches(network, store, params.batch, dtype, params.views), strict=True
        ):
            result[start : start + params.batch] = embeddings
            done.update(len(embeddings))
    wrong = np.flatnonzero(~np.isfinite(result).all(1))
    if len(wrong):
        raise ReidError(f"the embedding of row {wrong[0]} and {len(wrong) - 1} more is not finite; train again")
    return result


def write_embeddings(path, embeddings):
    """Write embeddings as ``.npy`` (float32, N x D)."""
    with replacing(path) as partial, open(partial, "wb") as file:
        np.save(file, embeddings)
