"""Which places of an image raise its similarity to another: one map for every kind of backbone, without a classifier.

Of a pair with embeddings e and f the cosine is e.f / (|e| |f|). The map of the first image is, at each place of the
backbone's last feature map, the sum over the channels of activation times gradient of that cosine. The lengths |e| and
|f| are held constant, and so are the deviations by which layer norms divide, or all gradients would sum to zero: a
cosine does not change with the length of a feature.

After average or GeM pooling this is the decomposition of Stylianou, Souvenir and Pless, Visualizing Deep Similarity
Networks, WACV 2019 (arXiv:1901.00536): the map sums to the cosine. Layers behind the pooling are taken as they are at
this image, as in HiResCAM (Draelos and Carin 2020, arXiv:2011.08891): with biases the map sums to the cosine less
what these add. Layer norms: Ali et al., XAI for Transformers, ICML 2022 (arXiv:2202.07304).

A network that gives out its class token reads the patches for the last time in the attention of its last block. Their
map shows what is read there; what the token brings from earlier blocks belongs to no place and is in no map.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from reid.core.errors import ReidError
from reid.models.embedder import Embedder

Size = tuple[int, int]  # height, width


class Places(NamedTuple):
    """Where a backbone has its last map: a module's name, and how the module's output is laid out.

    ``layout`` is "channels first" (B x C x h x w), "channels last" (B x h x w x C) or "tokens" (B x N x C, of which
    the last h * w are patches, line by line); ``grid`` is (h, w).
    """

    module: str
    layout: str
    grid: Size


@contextlib.contextmanager
def _hook(module: nn.Module, function: Callable[[nn.Module, Any, torch.Tensor], Any]) -> Iterator[None]:
    """Call ``function(module, inputs, output)`` after the module; what it returns, if anything, is the new output."""
    handle = module.register_forward_hook(function)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _constant_deviations(network: nn.Module) -> Iterator[None]:
    """Layer norms give the same values, but divide by a constant where gradients are concerned."""

    def replace(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        assert isinstance(module, nn.LayerNorm)  # as chosen below
        channels = 1 if type(module).__name__.endswith("2d") else -1  # of torchvision and timm: B x C x H x W
        x = inputs[0].float()
        centred = x - x.mean(channels, keepdim=True)
        scale = (centred.square().mean(channels, keepdim=True) + module.eps).rsqrt().detach()
        shape = [1] * x.ndim
        shape[channels] = -1
        result = centred * scale
        if module.weight is not None:
            result = result * module.weight.view(shape)
        return (result if module.bias is None else result + module.bias.view(shape)).to(output.dtype)

    with contextlib.ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
                hooks.enter_context(_hook(module, replace))
        yield


def _grid(shape: tuple[int, ...], size: Size, smallest: Size, prefixes: set[int]) -> tuple[str, Size] | None:
    """Layout and (h, w) of an output that is a map of the whole image; None if it is none.

    Args:
        shape: of the output; the first number is that of the images.
        size: (height, width) of the images.
        smallest: (h, w) of the smallest map so far; a map never grows again.
        prefixes: how many tokens may stand before the patches.
    """
    if len(shape) == 4:
        for layout, (h, w), channels in (
            ("channels first", shape[2:], shape[1]),
            ("channels last", shape[1:3], shape[3]),
        ):
            # one stride for both sides, up to a place more or less at the border
            alike = size[0] / (h + 1) < size[1] / max(w - 1, 1e-9) and size[1] / (w + 1) < size[0] / max(h - 1, 1e-9)
            # channels that were pooled, C x 1 x 1, are no map with one channel
            if alike and channels > 1 and 1 < h * w <= smallest[0] * smallest[1]:
                return layout, (h, w)
    patches = smallest[0] * smallest[1]
    if len(shape) == 3 and smallest != size and any(shape[1] == before + patches for before in prefixes):
        return "tokens", smallest
    return None


def _of_places(tensor: torch.Tensor, layout: str, grid: Size) -> torch.Tensor:
    """An output of :class:`Places` as B x h x w x C."""
    if layout == "channels first":
        return tensor.permute(0, 2, 3, 1)
    if layout == "tokens":
        return tensor[:, -grid[0] * grid[1] :].reshape(len(tensor), *grid, -1)
    return tensor


def find_places(network: Embedder) -> Places:
    """The last map of a network's backbone on which its embedding depends, found by passing two images of noise.

    Args:
        network: in evaluation mode.

    Raises:
        ReidError: the backbone has no map of more than one place.
    """
    backbone, size = network.backbone, network.size
    prefixes = {0, int(hasattr(backbone, "class_token")), int(getattr(backbone, "num_prefix_tokens", 0))}
    noise = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)).to(network.mean.device)
    maps: list[tuple[Places, torch.Tensor]] = []
    calls: dict[str, int] = {}

    def look(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        calls[name] = calls.get(name, 0) + 1
        if not isinstance(output, torch.Tensor) or not output.requires_grad or output.shape[:1] != (2,):
            return
        place = _grid(tuple(output.shape), size, maps[-1][0].grid if maps else size, prefixes)
        if place:
            maps.append((Places(name, *place), output))

    with torch.enable_grad(), contextlib.ExitStack() as hooks:
        hooks.enter_context(_constant_deviations(network))  # first, for its outputs are those that the others see
        for name, module in backbone.named_modules():
            if name:
                hooks.enter_context(_hook(module, partial(look, name)))
        embeddings = network(network.normalise(noise.requires_grad_()))
        # a random direction, for a sum may be constant
        direction = torch.randn(network.width, generator=torch.Generator().manual_seed(1)).to(embeddings)
        outputs = [output for _, output in maps]
        gradients = torch.autograd.grad((embeddings @ direction).sum(), outputs, allow_unused=True) if maps else ()
    for (places, _), gradient in zip(reversed(maps), reversed(gradients), strict=True):
        once = calls[places.module] == 1  # of a module that is used again, which output is meant cannot be said
        if once and gradient is not None and _of_places(gradient, *places[1:]).any():
            return places
    raise ReidError(
        f"{type(backbone).__name__}: this network has no map of the image's places that could be shown for "
        f"{size[0]}x{size[1]} images; explain needs a convolutional network or a transformer of patches, and "
        "images of more than one place"
    )


def similarity_maps(
    network: Embedder, images: np.ndarray, partner: Sequence[int], places: Places | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What each place of an image adds to its cosine similarity to a partner.

    Args:
        network: in evaluation mode, on the device that is to compute.
        images: uint8 array B x H x W x 3.
        partner: which of the images each of the B is compared with.
        places: :func:`find_places` by default.

    Returns:
        (float32 array B x h x w, float32 array B): the maps, and the cosines

    Raises:
        ReidError: the backbone has no map of more than one place.
    """
    places = places or find_places(network)
    kept: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1].clone()  # what follows may work in place

    x = network.prepare(torch.from_numpy(images).to(network.mean.device))
    module = network.backbone.get_submodule(places.module)
    with torch.enable_grad(), _constant_deviations(network), _hook(module, keep):
        embeddings = network(x)
        other = normalize(embeddings.detach())[torch.as_tensor(partner, device=embeddings.device)]
        cosines = (embeddings / embeddings.detach().norm(dim=1, keepdim=True) * other).sum(1)
        (gradient,) = torch.autograd.grad(cosines.sum(), kept)
    maps = (_of_places(kept[0].detach(), *places[1:]) * _of_places(gradient, *places[1:])).sum(3)
    return maps.float().cpu().numpy(), cosines.detach().float().cpu().numpy()
