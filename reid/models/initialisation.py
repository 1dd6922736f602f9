"""What a network from scratch begins with, beside random numbers: ``network.init``.

Source: Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024 (arXiv:2404.00498).
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from reid.core.errors import ReidError
from reid.models.embedder import Embedder
from reid.params.network import Init

MOST_IMAGES = 1024  # that the stem is whitened on
_SMALLEST = 5e-4  # added to the variances, as in the paper: parts that hardly vary do not become noise


def initialise(network: Embedder, init: Init, images: Any, rows: np.ndarray, seed: int) -> None:
    """Begin with what is asked for in place of random numbers.

    Args:
        network: on the CPU; it is changed.
        init: what is asked for; the rest stays as it is.
        images: uint8, N x H x W x 3, indexed by an array of rows.
        rows: those to train on.
        seed: of the choice of images.

    Raises:
        ReidError: the backbone's first convolution does not take an image.
    """
    if init.dirac:
        set_dirac(network.backbone)
    if init.whitened_stem:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(rows, min(MOST_IMAGES, len(rows)), replace=False))
        whiten_stem(network, network.prepare(torch.from_numpy(images[chosen])))


def set_dirac(backbone: nn.Module) -> None:
    """Make every 3x3 convolution that keeps the number of its channels the identity (stride aside)."""
    for module in backbone.modules():
        if not isinstance(module, nn.Conv2d) or module.kernel_size != (3, 3) or module.groups != 1:
            continue
        if module.in_channels == module.out_channels:
            nn.init.dirac_(module.weight)


def whiten_stem(network: Embedder, images: torch.Tensor) -> None:
    """Make the first convolution a whitening of its patches.

    Its channels are the eigenvectors of the patches' second moments over the root of the eigenvalues, the largest
    first, and after them the same with the other sign. Channels beyond twice the numbers of a patch stay as they are.

    Args:
        network: its backbone begins with a convolution.
        images: float32, B x 3 x H x W, normalised.

    Raises:
        ReidError: it does not.
    """
    stem = next((module for module in network.backbone.modules() if isinstance(module, nn.Conv2d)), None)
    if stem is None or stem.in_channels != 3 or stem.groups != 1:
        raise ReidError(
            f"network.init.whitened_stem: {network.params.backbone_name} does not begin with a convolution of the "
            "image; leave it out"
        )
    size = stem.weight[0].numel()
    moments, count = torch.zeros(size, size, dtype=torch.float64), 0
    for part in images.split(32):
        patches = nn.functional.unfold(part, stem.kernel_size, stem.dilation, stride=stem.stride)
        patches = patches.transpose(1, 2).reshape(-1, size).double()
        moments += patches.T @ patches
        count += len(patches)
    values, vectors = torch.linalg.eigh(moments / count)
    filters = (vectors / (values.clamp(min=0) + _SMALLEST).sqrt()).T.flip(0)
    half = min(size, stem.out_channels // 2)
    with torch.no_grad():
        whole = torch.cat([filters[:half], -filters[:half]])
        stem.weight[: 2 * half] = whole.reshape(2 * half, *stem.weight.shape[1:]).to(stem.weight.dtype)
        if stem.bias is not None:
            stem.bias.zero_()
