"""What happens to the images of a training: random changes of a whole batch at once, on its device.

Random numbers are drawn on the CPU, so that every device gets the same; no step waits for the device.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from reid.core.errors import ReidError
from reid.core.imagenet import MEAN, MEAN_COLOUR
from reid.models.embedder import resize
from reid.params import augmentation as declared
from reid.params import extensions
from reid.params.registries import AUGMENTATIONS
from reid.params.schema import parts

# NTSC: luma, and the two axes of colour, in which greys are zero
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
_NARROWEST = 0.3  # smallest height / width of a random rectangle; the largest is 1 / 0.3 (Zhong 2020, the dev kit)


def crop(images: torch.Tensor, top: torch.Tensor, left: torch.Tensor, margin: tuple[int, int]) -> torch.Tensor:
    """Cut a window of its own size out of each image with a margin of ImageNet's mean colour around it.

    Args:
        images: uint8, B x H x W x 3.
        top, left: int64 of B values on the same device, the window's first row and column in the image with its
            margin; from 0 to twice the margin.
        margin: (rows, columns) added on each side, pixels.

    Returns:
        uint8, B x H x W x 3
    """
    count, height, width, _ = images.shape
    rows, columns = margin
    line = _moved(torch.tensor(MEAN_COLOUR, dtype=torch.uint8), images.device).repeat(width + 2 * columns)
    # whole lines, because filling it pixel by pixel takes 20 times as long
    padded = line.expand(count, height + 2 * rows, -1).clone(memory_format=torch.contiguous_format)
    padded = padded.view(count, height + 2 * rows, width + 2 * columns, 3)
    padded[:, rows : rows + height, columns : columns + width] = images
    # a view of all windows, B x top x left x H x W x 3: its gather copies whole lines, not pixels
    windows = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
    return windows[torch.arange(count, device=images.device), top, left]


def color_jitter(
    x: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor, saturation: torch.Tensor, hue: torch.Tensor
) -> torch.Tensor:
    """Change the colours of each image.

    In this order: brightness multiplies; contrast pulls every colour towards (factor below 1) or away from the mean
    grey of the image, as brightness left it; saturation the same with the grey of the pixel; hue turns the colour in
    the IQ plane of YIQ. All four are affine, so that each image gets one 3x3 matrix and one offset. Nothing is
    clamped, neither between them nor at the end.

    Args:
        x: float32, B x 3 x H x W.
        brightness, contrast, saturation: float32 of B values on the CPU, factors; 1 for no change.
        hue: float32 of B values on the CPU, share of the circle; 0 for no change.

    Returns:
        float32, B x 3 x H x W, contiguous
    """
    yiq, angle = torch.tensor(_YIQ), 2 * math.pi * hue
    turn = torch.zeros(len(x), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 2, 1] = saturation * angle.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    # contrast's offset is a grey, which neither saturation nor hue changes
    matrix = (brightness * contrast).view(-1, 1, 1) * (torch.linalg.inv(yiq) @ turn @ yiq)
    grey = (brightness * (1 - contrast)).view(-1, 1, 1) * yiq[0].expand(3, 3)
    matrix, grey = _moved(matrix, x.device), _moved(grey, x.device)
    colours = x.contiguous().flatten(2)
    return torch.baddbmm(grey @ colours.mean(2, keepdim=True), matrix, colours).view(x.shape)


def rectangles(uniform: torch.Tensor, smallest: float, largest: float, size: tuple[int, int]) -> torch.Tensor:
    """Random rectangles in an image, as Zhong 2020 draws them.

    The area is uniform; height / width is log-uniform from 0.3 to 1 / 0.3, but never so that the rectangle would not
    fit; the place is uniform among those where it fits.

    Args:
        uniform: float32, 4 x B, random numbers in [0, 1).
        smallest, largest: limits of the area, as shares of the image's; rounding to pixels comes after.
        size: (height, width) of the image.

    Returns:
        int64, 4 x B: first row, row after the last, first column, column after the last
    """
    height, width = size
    area = (smallest + (largest - smallest) * uniform[0]) * (height * width)
    rows = (area * _NARROWEST ** (1 - 2 * uniform[1])).sqrt()
    rows = torch.maximum(rows, area / width).round().clamp(1, height)
    columns = (area / rows).round().clamp(1, width)
    top = (uniform[2] * (height - rows + 1)).floor()
    left = (uniform[3] * (width - columns + 1)).floor()
    return torch.stack([top, top + rows, left, left + columns]).long()


def fill(x: torch.Tensor, filling: torch.Tensor, rectangle: torch.Tensor) -> None:
    """Replace a rectangle of each image, in place.

    Args:
        x: float32, B x 3 x H x W; a plane per colour (contiguous) is ten times as fast as channels_last.
        filling: float32 that broadcasts to it.
        rectangle: int64, 4 x B as :func:`rectangles` gives it, on the same device; may be empty.
    """
    top, bottom, left, right = rectangle[:, :, None]
    row, column = (torch.arange(n, device=x.device) for n in x.shape[2:])
    rows, columns = (row >= top) & (row < bottom), (column >= left) & (column < right)
    inside = (rows.float()[:, :, None] * columns.float()[:, None, :])[:, None]
    x.lerp_(filling, inside)  # exact for the weights 0 and 1, and much faster than where


def _moved(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    return x.to(device, non_blocking=True)  # else the CPU would wait until the GPU has caught up


def _chosen(uniform: torch.Tensor, probability: float) -> torch.Tensor:
    """Indices of the images that a part changes."""
    return torch.nonzero(uniform < probability)[:, 0]


Step = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
Shape = tuple[int, int]


@AUGMENTATIONS.implement("flip")
def _flip(params: declared.Flip, size: Shape) -> Step:
    def step(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        chosen = _moved(_chosen(torch.rand(len(images), generator=generator), params.probability), images.device)
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
        top, left = _moved(place, images.device)
        return crop(images, top, left, (rows, columns))

    return step


@AUGMENTATIONS.implement("downscale")
def _downscale(params: declared.Downscale, size: Shape) -> Step:
    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        share = params.smallest + (1 - params.smallest) * float(torch.rand((), generator=generator))
        chosen = _moved(_chosen(torch.rand(len(x), generator=generator), params.probability), x.device)
        height, width = (max(1, round(share * n)) for n in size)
        return x.index_copy_(0, chosen, resize(resize(x.index_select(0, chosen), (height, width)), size))

    return step


@AUGMENTATIONS.implement("blur")
def _blur(params: declared.Blur, size: Shape) -> Step:
    from torchvision.transforms.v2.functional import gaussian_blur  # here, because its import takes seconds

    least = min(0.1, params.sigma)

    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        sigma = least + (params.sigma - least) * float(torch.rand((), generator=generator))
        chosen = _moved(_chosen(torch.rand(len(x), generator=generator), params.probability), x.device)
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


def _rectangle(params: declared.Rectangle, count: int, size: Shape, generator: torch.Generator) -> torch.Tensor:
    """int64, 4 x B; empty for the images that stay as they are."""
    uniform = torch.rand(5, count, generator=generator)
    return rectangles(uniform[1:], params.smallest, params.largest, size) * (uniform[0] < params.probability)


@AUGMENTATIONS.implement("random_patch")
def _random_patch(params: declared.RandomPatch, size: Shape) -> Step:
    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        rectangle = _rectangle(params, len(x), size, generator)
        other = _moved(_others(len(x), generator), x.device)
        fill(x, x.index_select(0, other), _moved(rectangle, x.device))
        return x

    return step


@AUGMENTATIONS.implement("random_erasing")
def _random_erasing(params: declared.RandomErasing, size: Shape) -> Step:
    mean = torch.tensor(MEAN).view(3, 1, 1)

    def step(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        rectangle = _rectangle(params, len(x), size, generator)
        fill(x, _moved(mean, x.device), _moved(rectangle, x.device))
        return x

    return step


def _others(count: int, generator: torch.Generator) -> torch.Tensor:
    """Another image for each of the batch (int64), each used once; itself where there is but one."""
    order = torch.randperm(count, generator=generator)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other


class Augment:
    """Changes of a model's images, in the order of the registry: flip, crop, downscale, blur, color_jitter,
    random_patch, random_erasing, and at the end progressive_resizing.

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
