"""Statistics of batch norms that fit the weights that are used, and images as they are embedded.

Those that a training leaves behind are a running mean over weights that have changed since, and over images that were
cropped and erased; averaged weights never saw a batch at all.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch

from reid.models import device
from reid.models.embedder import Embedder
from reid.models.recomputation import batch_norms
from reid.training import ranks
from reid.training.dataset import Images

BATCH = 256  # images, at most


def sample(rows: np.ndarray, images: int, seed: int) -> list[np.ndarray]:
    """Batches of nearly one size, of rows drawn at random without repetition; of all of them if there are no more.

    Args:
        rows: int64, those of the training.
        images: how many to draw.
        seed: of the draw.
    """
    rng = np.random.default_rng([seed, images])
    chosen = rng.permutation(rows)[:images]
    return np.array_split(chosen, -(-len(chosen) // BATCH))


@torch.no_grad()
def precise(network: Embedder, images: Images, batches: Sequence[np.ndarray], dtype: torch.dtype) -> Embedder:
    """A copy of a network whose batch norms have the statistics of these images (precise BN, Wu and Johnson 2021).

    Each batch passes as it would in training, but without augmentation and at the size of the network's input, and
    mean and variance are the plain means of those of the batches. Dropout and drop path are off. (PyTorch's update_bn
    has them on, and knows neither shares of a batch nor a format to compute in.)

    Args:
        network: on the device that is to compute; where several processes train (reid.training.ranks), each takes its
            share of a batch, and all come to the same copy.
        images: the stores.
        batches: rows of each batch, int64.
        dtype: of convolutions and matrix products.

    Returns:
        in evaluation mode, on the same device
    """
    network, where = copy.deepcopy(network).eval(), network.mean.device
    norms = batch_norms(network)
    for norm in norms:
        norm.train()
    for number, rows in enumerate(batches):
        for norm in norms:
            norm.momentum = 1 / (number + 1)  # a running mean becomes a plain one
        x = network.prepare(torch.from_numpy(images[rows[ranks.share(len(rows))]]).to(where))
        with network.named(), device.autocast(dtype, where):
            own = network.features(x)
        network.bnneck(ranks.gather(own, len(rows)))
    return network.eval()
