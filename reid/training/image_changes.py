"""Changes of a batch of images at once, on its device, by given amounts."""

import math

import torch
from torch.nn import functional

from reid.core.imagenet import MEAN, MEAN_COLOUR

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
    line = moved(torch.tensor(MEAN_COLOUR, dtype=torch.uint8), images.device).repeat(width + 2 * columns)
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
    matrix, grey = moved(matrix, x.device), moved(grey, x.device)
    colours = x.contiguous().flatten(2)
    return torch.baddbmm(grey @ colours.mean(2, keepdim=True), matrix, colours).view(x.shape)


def rectangles(uniform: torch.Tensor, smallest: float, largest: float, size: tuple[int, int]) -> torch.Tensor:
    """Random rectangles in an image, in place of those of Zhong 2020.

    The area is uniform; height / width is log-uniform from 0.3 to 1 / 0.3, but never so that the rectangle would not
    fit; the place is uniform among those where it fits. (Zhong draws height / width uniformly, and all again until it
    fits.)

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


def grey(x: torch.Tensor) -> torch.Tensor:
    """Luma of each pixel in the place of its three colours: float32, B x 3 x H x W."""
    red, green, blue = _YIQ[0]
    return (red * x[:, :1] + green * x[:, 1:2] + blue * x[:, 2:]).expand_as(x)


def warp(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Move the pixels of each image by a projective map; bilinear, ImageNet's mean colour around the image.

    Args:
        x: float32, B x 3 x H x W.
        matrix: float32, B x 3 x 3 on the CPU, from (column, row, 1) in the result to a multiple of those in the image;
            a pixel's middle is at half numbers, the image goes from 0 to its width and height.

    Returns:
        float32, B x 3 x H x W
    """
    count, _, height, width = x.shape
    row, column = (torch.arange(n, device=x.device) + 0.5 for n in (height, width))
    place = torch.stack([column.repeat(height), row.repeat_interleave(width), torch.ones_like(row).repeat(width)])
    to_unit = torch.tensor([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])  # as grid_sample counts
    u, v, w = (moved(to_unit @ matrix, x.device) @ place).unbind(1)
    grid = torch.stack([u / w, v / w], -1).view(count, height, width, 2)
    mean = moved(torch.tensor(MEAN).view(3, 1, 1), x.device)
    return functional.grid_sample(x - mean, grid, align_corners=False) + mean


def perspective(corners: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The maps for :func:`warp` that put the corners of an image somewhere else.

    Args:
        corners: float32, B x 4 x 2 on the CPU, (column, row) in the result of the image's corners: top left, top
            right, bottom right, bottom left.
        size: (height, width) of the image, pixels.

    Returns:
        float32, B x 3 x 3
    """
    height, width = size
    to = torch.tensor([[0.0, 0], [width, 0], [width, height], [0, height]], dtype=torch.float64).expand(corners.shape)
    corners = corners.double()
    # column = (a x + b y + c) / (g x + h y + 1), row = (d x + e y + f) / (g x + h y + 1): eight equations an image
    point = torch.cat([corners, torch.ones_like(corners[..., :1])], -1)
    none = torch.zeros_like(point)
    equations = torch.cat(
        [
            torch.cat([point, none, -to[..., :1] * corners], -1),
            torch.cat([none, point, -to[..., 1:] * corners], -1),
        ],
        1,
    )
    solved = torch.linalg.solve(equations, torch.cat([to[..., 0], to[..., 1]], 1))
    return functional.pad(solved, (0, 1), value=1.0).view(-1, 3, 3).float()


def moved(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on a device, which is not waited for."""
    if device.type == "cuda":
        # what is not pinned is copied when the GPU has done all before it; torch uses pinned memory again
        x = x.pin_memory()
    return x.to(device, non_blocking=True)


def picked(uniform: torch.Tensor, probability: float) -> torch.Tensor:
    """Indices (int64, on the CPU) of the images that a step changes, from a random number in [0, 1) for each."""
    return torch.nonzero(uniform < probability)[:, 0]
