"""The maps of queries and of their best ranked boxes (see :mod:`reid.reports.activation`)."""

import contextlib
from collections.abc import Sequence

import numpy as np
from torch.nn.attention import SDPBackend, sdpa_kernel

from reid.models.embedder import Embedder
from reid.reports.activation import find_places, similarity_maps
from reid.reports.chosen_queries import Chosen


def maps_of(network: Embedder, chosen: Sequence[Chosen], store: np.ndarray) -> list[np.ndarray]:
    """The maps of queries and of their boxes: of a query with its first box, of each box with the query.

    The same bytes every time, after :func:`reid.models.device.prepare`: what lies between a map and the embedding
    (pooling, projection, a transformer's last block) has deterministic backward passes on a GPU too, but for fused
    attention, in whose place the plain one is used there.

    Args:
        network: in evaluation mode, on the device that is to compute.
        chosen: the queries.
        store: thumbnails, uint8 N x H x W x 3.

    Returns:
        float32 arrays, one per query: (1 + boxes) x h x w, that of the query first

    Raises:
        ReidError: the network has no maps.
    """
    on_gpu = network.mean.device.type == "cuda"
    maps = []
    with sdpa_kernel(SDPBackend.MATH) if on_gpu else contextlib.nullcontext():
        places = find_places(network)
        for query in chosen:
            images = np.asarray(store[[query.row, *(box.row for box in query.boxes)]])
            maps.append(similarity_maps(network, images, [1] + [0] * len(query.boxes), places)[0])
    return maps
