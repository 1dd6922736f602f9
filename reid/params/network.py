"""Section ``network`` of a model."""

import os
from typing import Annotated, Any, Literal

from pydantic import Field

from reid.params.base import PathText, Section, Share, expanded
from reid.params.registries import POOLINGS


@POOLINGS.declare("average")
class Average(Section):
    """Mean of the last feature map; of a transformer's tokens, normalised before or after as its weights have it."""


@POOLINGS.declare("gem")
class GeM(Section):
    """Generalised mean of the last feature map with a learned power (Radenovic 2018)."""

    power: float = Field(3.0, ge=0.1, le=7, description="to begin with")  # from 8 on, zeros have no gradient


@POOLINGS.declare("token")
class Token(Section):
    """A transformer's class token."""


class Projection(Section):
    """A layer after the pooling."""

    width: int = Field(ge=1, le=65_536, description="components of the embedding")
    kind: Literal["linear", "relu"] = Field(
        "linear", description="linear alone, or linear + batch norm + ReLU (dev kit)"
    )


class Init(Section):
    """What a network from scratch begins with in place of random numbers (Jordan 2024)."""

    dirac: bool = Field(False, description="convolutions of 3x3 that keep the number of channels hand on their input")
    whitened_stem: bool = Field(
        False,
        description="the first convolution takes patches of the training images apart into uncorrelated parts of "
        "variance 1, the largest first, each with either sign",
    )


Mean = Annotated[list[Share], Field(min_length=3, max_length=3)]
Deviation = Annotated[list[Annotated[float, Field(ge=0.001, le=10)]], Field(min_length=3, max_length=3)]


class Network(Section):
    """From image to embedding."""

    backbone: Any = Field(
        description="a classification network of torchvision.models or timm by its name there (timm/NAME where both "
        "have it); osnet_x1_0, osnet_x0_75, osnet_x0_5, osnet_x0_25, osnet_ain_x1_0, ...; resnet18_ibn_a, "
        "resnet34_ibn_a, ... (IBN-Net); or one of extensions/"
    )
    weights: PathText | None = Field(
        None,
        description="pretrained weights to start from (from scratch if absent): DEFAULT or a name of torchvision's "
        "(IMAGENET1K_V1) or timm's (the tag, as laion2b); or the path of a file, with a dot or a separator in it: "
        "safetensors, what torch.save wrote, Torchreid's too, or OpenAI's CLIP (backbone "
        "vit_base_patch16_clip_quickgelu_224, ...; ~ is the home folder)",
    )
    mean: Mean | None = Field(
        None,
        description="of the images that the weights were trained on (RGB in 0..1); if absent, those of weights by "
        "name, else what timm has for the backbone, or ImageNet's",
    )
    std: Deviation | None = Field(None, description="their standard deviation")
    init: Init | None = Field(None, description="of a network from scratch; random if absent")
    last_stride: Annotated[int, Field(ge=1, le=2)] = Field(
        2, description="of a ResNet's last stage; 1 keeps a finer map (dev kit)"
    )
    pooling: Any = Field(description="of the last feature map")
    projection: Projection | None = None
    bnneck: bool = Field(
        False,
        description="batch norm between the embedding of the pair losses and that of id loss and result (Luo 2019)",
    )
    drop_path: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the residual branches that are left out in training, rising to this with depth; 0 is "
        "none, whatever torchvision or timm have by themselves (dropout is off in all of their networks)",
    )
    checkpointing: bool = Field(
        False,
        description="the backbone's blocks are computed again in the backward pass: less memory, up to a third slower",
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
