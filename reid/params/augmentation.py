"""Section ``augmentation`` of a model: what happens to an image in training, in the order of this file."""

from typing import ClassVar, Literal

from pydantic import Field

from reid.params.base import Section, Share
from reid.params.registries import AUGMENTATIONS

PROBABILITY = "that it happens to an image"


class Step(Section):
    """What every step has: ``stage`` says whether it changes the store's images or the network's input.

    ``"store"``: uint8, B x H x W x 3, before they are resized; ``"input"``: float32, B x 3 x H x W in [0, 1].
    """

    stage: ClassVar[Literal["store", "input"]] = "input"


AUGMENTATIONS.base = Step


@AUGMENTATIONS.declare("flip")
class Flip(Step):
    """Mirrored from left to right."""

    stage = "store"

    probability: Share = Field(description=PROBABILITY)


@AUGMENTATIONS.declare("crop")
class Crop(Step):
    """A window of the image's own size, out of the image with a margin around it."""

    stage = "store"

    probability: Share = Field(description=PROBABILITY)
    margin: float = Field(gt=0, le=0.5, description="as a share of height and width")


@AUGMENTATIONS.declare("perspective")
class Perspective(Step):
    """Seen from another place: each corner moves towards the middle, mean colour around."""

    probability: Share = Field(description=PROBABILITY)
    distortion: float = Field(
        gt=0, lt=1, description="by which a corner moves at most, as a share of half the height and width"
    )


@AUGMENTATIONS.declare("downscale")
class Downscale(Step):
    """Down- and up-sampling: cameras differ in scale."""

    probability: Share = Field(description=PROBABILITY)
    smallest: float = Field(gt=0, lt=1, description="smallest size as a share of the input's")


@AUGMENTATIONS.declare("blur")
class Blur(Step):
    """Gaussian blur."""

    probability: Share = Field(description=PROBABILITY)
    sigma: float = Field(ge=0.01, le=100, description="largest standard deviation, pixels")


@AUGMENTATIONS.declare("color_jitter")
class ColorJitter(Step):
    """A factor from 1 - x to 1 + x for each; hue turns by up to x of the circle (0 keeps the colours of kits)."""

    brightness: Share = Field(0.0, description="x of the factor")
    contrast: Share = Field(0.0, description="x of the factor")
    saturation: Share = Field(0.0, description="x of the factor")
    hue: float = Field(0.0, ge=0, le=0.5, description="x, as a share of the circle of hues")


@AUGMENTATIONS.declare("rand_augment")
class RandAugment(Step):
    """Some operations, drawn for each image (Cubuk 2020): none, shear, translation (both x, y), rotation, brightness,
    contrast, saturation, sharpness, posterize, solarize or autocontrast; equalize is not among them."""

    operations: int = Field(ge=1, le=10, description="one after the other, of equal odds (2)")
    magnitude: float = Field(gt=0, le=1, description="share of the paper's largest (0.3)")


class Rectangle(Step):
    """A random rectangle."""

    probability: Share = Field(description=PROBABILITY)
    smallest: float = Field(gt=0, lt=1, description="share of the image's area at least")
    largest: float = Field(gt=0, lt=1, description="share of the image's area at most")


@AUGMENTATIONS.declare("random_grey_patch")
class RandomGreyPatch(Rectangle):
    """A rectangle without colour (Gong 2021, local)."""


@AUGMENTATIONS.declare("random_patch")
class RandomPatch(Rectangle):
    """A rectangle filled from another image of the batch (dev kit's random_patch)."""


@AUGMENTATIONS.declare("random_erasing")
class RandomErasing(Rectangle):
    """A rectangle filled with the mean colour (Zhong 2020, dev kit's random_erase)."""


class ProgressiveResizing(Section):
    """Smaller images first (Howard 2018, Tan 2021). Needs a backbone that takes any size."""

    scale: float = Field(gt=0, lt=1, description="height and width to begin with, as a share of the input's")
    until: float = Field(gt=0, lt=1, description="share of the training after which images have the input's size")


class Augmentation(Section):
    """What happens to an image in training; a part that is left out is off."""

    progressive_resizing: ProgressiveResizing | None = Field(
        default=None, description="the last step: the changed image made smaller"
    )
