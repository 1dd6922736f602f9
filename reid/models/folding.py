"""Batch norms as a part of the convolutions before them: a network that embeds passes less often over its maps."""

import copy
from collections import Counter
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from reid.models.embedder import Embedder

_KINDS = {nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d}
_TOLERANCE = 1e-2  # of an embedding's length: TF32 rounds, and a norm in the wrong place makes it another one


@torch.no_grad()
def folded(network: Embedder) -> Embedder:
    """The same embeddings, to rounding, with fewer steps: batch norms that follow a convolution become a part of it.

    What follows what is seen as an image passes, so that it works with any network. If the embedding of that image is
    another one afterwards (something else uses the map of a convolution too), all stays as it is.

    Args:
        network: in evaluation mode; is not changed.

    Returns:
        in evaluation mode, on the same device; ``network`` itself where nothing can be folded
    """
    if not any(type(module) in _KINDS.values() for module in network.modules()):
        return network
    image = torch.rand(1, 3, *network.size, generator=torch.Generator().manual_seed(0))
    x = network.normalise(image.to(network.mean.device))
    wanted, pairs = _pairs(network, x)
    copies: dict[int, Any] = {}
    for convolution, norm in pairs:
        copies |= {id(convolution): fuse_conv_bn_eval(convolution, norm), id(norm): nn.Identity()}
    result = copy.deepcopy(network, copies)  # with these in the place of what they are made of
    same = (result(x) - wanted).norm() <= _TOLERANCE * wanted.norm()
    return result if same else network


def _pairs(network: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[tuple[Any, Any]]]:
    """Embeddings of images, and what was seen as they passed.

    That is each batch norm that takes a convolution's map as it is, with that convolution, where both are used once.
    """
    modules = list(network.modules())
    uses: Counter[nn.Module] = Counter()
    maps: list[tuple[nn.Module, torch.Tensor]] = []
    found: list[tuple[Any, Any]] = []

    def of_convolution(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        uses[module] += 1
        maps.append((module, output))

    def of_norm(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        uses[module] += 1
        found.extend((made_by, module) for made_by, output in maps if output is inputs[0])

    hooks = [m.register_forward_hook(of_convolution) for m in modules if type(m) in _KINDS]
    hooks += [m.register_forward_pre_hook(of_norm) for m in modules if type(m) in _KINDS.values()]
    try:
        embeddings = network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return embeddings, [
        (convolution, norm)
        for convolution, norm in found
        if uses[convolution] == uses[norm] == 1 and norm.running_mean is not None
    ]
