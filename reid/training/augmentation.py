"""What happens to the images of a training: random changes of a whole batch at once, on its device.

Random numbers are drawn on the CPU, so that every device gets the same; no step waits for the device.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from reid.core.errors import ReidError
from reid.core.imagenet import MEAN
from reid.models.embedder import resize
from reid.params import augmentation as declared
from reid.params import extensions
from reid.params.registries import AUGMENTATIONS
from reid.params.schema import parts
from reid.training.image_changes import color_jitter, crop, fill, grey, moved, perspective, picked, rectangles, warp
from reid.training.rand_augment import OPERATIONS

Step = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
Shape = tuple[int, int]


@AUGMENTATIONS.implement("flip")
def _flip(params: declared.Flip, size: Shape) -> Step:
    def step(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        chosen = moved(picked(torch.rand(len(images), generator=generator), params.probability), images.device)
        return images.index_copy(0, chosen, images.index_select(0, chosen).flip(2))

    return step


@AUGMENTATIONS.implement("crop")
def _crop(params: declared.Crop, size: Shape) -> Step:
    def step(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        uniform = torch.rand(3, len(images), generator=generator)
        rows, columns = (round(params.margin * n) for n in images.shape[1:3])
        margin = torch.tensor([[rows], [columns]])
        place = (uniform[1:] * (2 * margin + 1)).long()
        place = torch.where(uniform[0] < params.probability, place, margin)  # or where the image is
        top, left = moved(place, images.device)
        return crop(images, top, left, (rows, columns))

    return step


@AUGMENTATIONS.implement("perspective")
def _perspective(params: declared.Perspective, size: Shape) -> Step:
    height, width = size
    corners = torch.tensor([[0, 0], [width, 0], [width, height], [0, height]])
    inwards = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * torch.tensor([width, height]) / 2

    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        uniform, move = torch.rand(len(x), generator=generator), torch.rand(len(x), 4, 2, generator=generator)
        chosen = picked(uniform, params.probability)
        matrix = perspective(corners + params.distortion * move[chosen] * inwards, size)
        chosen = moved(chosen, x.device)
        return x.index_copy_(0, chosen, warp(x.index_select(0, chosen), matrix))

    return step


@AUGMENTATIONS.implement("downscale")
def _downscale(params: declared.Downscale, size: Shape) -> Step:
    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        share = params.smallest + (1 - params.smallest) * float(torch.rand((), generator=generator))
        chosen = moved(picked(torch.rand(len(x), generator=generator), params.probability), x.device)
        height, width = (max(1, round(share * n)) for n in size)
        return x.index_copy_(0, chosen, resize(resize(x.index_select(0, chosen), (height, width)), size))

    return step


@AUGMENTATIONS.implement("blur")
def _blur(params: declared.Blur, size: Shape) -> Step:
    from torchvision.transforms.v2.functional import gaussian_blur  # here, because its import takes seconds

    least = min(0.1, params.sigma)

    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        sigma = least + (params.sigma - least) * float(torch.rand((), generator=generator))
        chosen = moved(picked(torch.rand(len(x), generator=generator), params.probability), x.device)
        # three sigma on each side; the image's border is mirrored, so that it must be wider than that
        kernel = [2 * min(math.ceil(3 * sigma), n - 1) + 1 for n in reversed(size)]
        sharp = x.index_select(0, chosen).contiguous(memory_format=torch.channels_last)
        return x.index_copy_(0, chosen, gaussian_blur(sharp, kernel, [sigma, sigma]))

    return step


@AUGMENTATIONS.implement("color_jitter")
def _color_jitter(params: declared.ColorJitter, size: Shape) -> Step:
    limits = torch.tensor([params.brightness, params.contrast, params.saturation, params.hue])

    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        change = limits[:, None] * (2 * torch.rand(4, len(x), generator=generator) - 1)
        brightness, contrast, saturation = 1 + change[:3]
        return color_jitter(x, brightness, contrast, saturation, change[3]).clamp_(0, 1)

    return step


@AUGMENTATIONS.implement("rand_augment")
def _rand_augment(params: declared.RandAugment, size: Shape) -> Step:
    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        for _ in range(params.operations):
            which = torch.randint(len(OPERATIONS), (len(x),), generator=generator)
            strength = params.magnitude * (2.0 * torch.randint(2, (len(x),), generator=generator) - 1)
            for number, operation in enumerate(OPERATIONS.values()):
                own = torch.nonzero(which == number)[:, 0]
                if len(own):
                    place = moved(own, x.device)
                    x.index_copy_(0, place, operation(x.index_select(0, place), strength[own]).clamp_(0, 1))
        return x

    return step


def _rectangle(params: declared.Rectangle, count: int, size: Shape, generator: torch.Generator) -> torch.Tensor:
    """int64, 4 x B; empty for the images that stay as they are."""
    uniform = torch.rand(5, count, generator=generator)
    return rectangles(uniform[1:], params.smallest, params.largest, size) * (uniform[0] < params.probability)


@AUGMENTATIONS.implement("random_grey_patch")
def _random_grey_patch(params: declared.RandomGreyPatch, size: Shape) -> Step:
    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        rectangle = _rectangle(params, len(x), size, generator)
        fill(x, grey(x), moved(rectangle, x.device))
        return x

    return step


@AUGMENTATIONS.implement("random_patch")
def _random_patch(params: declared.RandomPatch, size: Shape) -> Step:
    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        rectangle = _rectangle(params, len(x), size, generator)
        other = moved(_others(len(x), generator), x.device)
        fill(x, x.index_select(0, other), moved(rectangle, x.device))
        return x

    return step


@AUGMENTATIONS.implement("random_erasing")
def _random_erasing(params: declared.RandomErasing, size: Shape) -> Step:
    mean = torch.tensor(MEAN).view(3, 1, 1)

    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        rectangle = _rectangle(params, len(x), size, generator)
        fill(x, moved(mean, x.device), moved(rectangle, x.device))
        return x

    return step


def _others(count: int, generator: torch.Generator) -> torch.Tensor:
    """Another image for each of the batch (int64), each used once; itself where there is but one."""
    order = torch.randperm(count, generator=generator)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other


class Augment:
    """Changes of a model's images, in the order of the registry: flip, crop, perspective, downscale, blur,
    color_jitter, rand_augment, random_grey_patch, random_patch, random_erasing, and at the end progressive_resizing.

    Each image has its own random choices, but all images of a batch share the scale of downscale and the sigma of
    blur. A step that is left out costs nothing and draws nothing.

    Args:
        params: which steps.
        size: (height, width) of the result, pixels.
    """

    def __init__(self, params: declared.Augmentation, size: Shape) -> None:
        self.params, self.size = params, (size[0], size[1])
        self.steps: dict[str, list[tuple[str, Step]]] = {"store": [], "input": []}
        for name, part in parts(params, AUGMENTATIONS).items():
            builder = AUGMENTATIONS.builder(name)
            with extensions.named(builder, f"augmentation.{name}"):
                self.steps[part.stage].append((name, builder(part, self.size)))

    def size_at(self, progress: float) -> Shape:
        """(height, width) of the images when this share of the training is done."""
        small = self.params.progressive_resizing
        if small and progress < small.until:
            height, width = (max(1, round(small.scale * n)) for n in self.size)
            return height, width
        return self.size

    def __call__(self, images: torch.Tensor, generator: torch.Generator, progress: float = 1.0) -> torch.Tensor:
        """Change a batch.

        Args:
            images: uint8, B x H x W x 3; stays as it is.
            generator: on the CPU; what is drawn depends on B alone.
            progress: share of the training that is done.

        Returns:
            float32, B x 3 x height x width in [0, 1] of :meth:`size_at`, channels_last

        Raises:
            ReidError: a step of an extension fails, or changes the shape or type of its batch.
        """
        with torch.autocast(images.device.type, enabled=False):  # else matrix product and blur would be in half
            images = self._apply("store", images, generator)
            # a plane per colour until the end: every step but blur is two to ten times as fast as on channels_last
            x = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
            x = resize(x, self.size).div_(255)
            x = self._apply("input", x, generator).clamp_(0, 1)
            x = resize(x, self.size_at(progress))
        return x.contiguous(memory_format=torch.channels_last)

    def _apply(self, stage: str, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        for name, step in self.steps[stage]:
            builder = AUGMENTATIONS.builder(name)
            with extensions.named(builder, f"augmentation.{name}"):
                changed: Any = step(x, generator)
            if not isinstance(changed, torch.Tensor) or (changed.shape, changed.dtype) != (x.shape, x.dtype):
                where, wanted = extensions.source(builder), f"{x.dtype} {list(x.shape)}"
                raise ReidError(f"augmentation.{name}{where}: must return {wanted}, as it is given")
            x = changed
        return x
