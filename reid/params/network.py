"""Section ``network`` of a model."""

import os
from typing import Annotated, Any, Literal

from pydantic import Field

from reid.params.base import PathText, Section, expanded
from reid.params.registries import POOLINGS


@POOLINGS.declare("average")
class Average(Section):
    """Mean of the last feature map."""


@POOLINGS.declare("gem")
class GeM(Section):
    """Generalised mean of the last feature map with a learned power (Radenovic 2018)."""

    power: float = Field(3.0, gt=0, le=100, description="to begin with")


@POOLINGS.declare("token")
class Token(Section):
    """A transformer's class token."""


class Projection(Section):
    """A layer after the pooling."""

    width: int = Field(ge=1, le=65_536, description="components of the embedding")
    kind: Literal["linear", "relu"] = Field(
        "linear", description="linear alone, or linear + batch norm + ReLU (dev kit)"
    )


class Network(Section):
    """From image to embedding."""

    backbone: Any = Field(
        description="a classification network of torchvision.models or timm by its name there (timm/NAME where both "
        "have it); osnet_x1_0, osnet_x0_75, osnet_x0_5, osnet_x0_25, osnet_ain_x1_0, ...; or one of extensions/"
    )
    weights: PathText | None = Field(
        None,
        description="pretrained weights to start from (from scratch if absent): DEFAULT or a name of torchvision's "
        "(IMAGENET1K_V1) or timm's (the tag, as laion2b); or the path of a file, with a dot or a separator in it: "
        "safetensors, or what torch.save wrote, Torchreid's too (~ is the home folder)",
    )
    last_stride: Annotated[int, Field(ge=1, le=2)] = Field(
        2, description="of a ResNet's last stage; 1 keeps a finer map (dev kit)"
    )
    pooling: Any = Field(description="of the last feature map")
    projection: Projection | None = None
    bnneck: bool = Field(
        False,
        description="batch norm between the embedding of the pair losses and that of id loss and result (Luo 2019)",
    )

    @property
    def backbone_name(self) -> str:
        """Name of the backbone, also of one with parameters."""
        return self.backbone if isinstance(self.backbone, str) else self.backbone.kind

    def file(self) -> str | None:
        """Path of the file that ``weights`` names, its ``~`` expanded; None if it is a name of weights.

        No name of torchvision's or timm's holds a dot or a separator. A text without either is a file's if there is
        one of that name.
        """
        text = self.weights
        if text is None or not (text.startswith("~") or any(mark in text for mark in "./\\") or os.path.isfile(text)):
            return None
        return str(expanded(text))
