"""What turns a backbone's result into one vector per image, as ``network.pooling`` asks for.

The networks of torchvision, timm and OSNet average and take their token themselves; what replaces that is built here.
"""

import torch
from torch import nn

from reid.params import network as sections
from reid.params.registries import POOLINGS


@POOLINGS.implement("average")
class Average(nn.Module):
    """Mean of a map, B x C x H x W to B x C; vectors, B x D, stay as they are."""

    takes = (2, 4)

    def __init__(self, params: sections.Average) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) if x.ndim == 4 else x


@POOLINGS.implement("gem")
class GeM(nn.Module):
    """Generalised mean of a map with a trained power (Radenovic 2018): B x C x H x W to B x C x 1 x 1."""

    takes = (4,)

    def __init__(self, params: sections.GeM) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor([params.power]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):  # powers leave the range of half precision
            return x.float().clamp(min=1e-6).pow(self.power).mean((2, 3), keepdim=True).pow(1 / self.power)


@POOLINGS.implement("token")
class Token(nn.Module):
    """The first of a transformer's tokens: B x N x D to B x D."""

    takes = (3,)

    def __init__(self, params: sections.Token) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0]


_SHAPES = {2: "vectors, B x D", 3: "tokens, B x N x D", 4: "a map of places, B x C x H x W"}


def check(features: object, pooling: nn.Module, kind: str) -> None:
    """Check that a pooling can take what a backbone gives.

    Args:
        features: what the backbone gives.
        pooling: a module of POOLINGS; those of extensions take maps, or what their attribute ``takes`` (tuple of
            numbers of dimensions) says.
        kind: its name, for the message.

    Raises:
        ValueError: it cannot.
    """
    takes = getattr(pooling, "takes", (4,))
    if not isinstance(features, torch.Tensor):
        raise ValueError(f"the backbone gives a {type(features).__name__}, not a tensor")
    if features.ndim not in takes:
        wanted = " or ".join(_SHAPES[dimensions] for dimensions in takes)
        raise ValueError(f"{kind} needs {wanted}, not {features.ndim} dimensions")
