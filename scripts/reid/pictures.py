"""What happens to the pictures of a training: random changes of a whole batch at once, on its device.

Random numbers are drawn on the CPU, so that every device gets the same; no step waits for the device.
"""

import math

import torch

from reid.networks import MEAN, resize
from reid.thumbnails import MEAN_COLOUR

# NTSC: luma, and the two axes of colour, in which greys are zero
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
_NARROWEST = 0.3  # smallest height / width of a random rectangle; the largest is 1 / 0.3 (Zhong 2020, the dev kit)


def crop(pictures, top, left, margin):
    """Cut a window of its own size out of each picture with a margin of ImageNet's mean colour around it.

    Args:
        pictures: uint8, B x H x W x 3.
        top, left: int64 of B values on the same device, the window's first row and column in the picture with its
            margin; from 0 to twice the margin.
        margin: (rows, columns) added on each side, pixels.

    Returns:
        uint8, B x H x W x 3
    """
    count, height, width, _ = pictures.shape
    rows, columns = margin
    line = _moved(torch.tensor(MEAN_COLOUR, dtype=torch.uint8), pictures.device).repeat(width + 2 * columns)
    # whole lines, because filling it pixel by pixel takes 20 times as long
    padded = line.expand(count, height + 2 * rows, -1).clone(memory_format=torch.contiguous_format)
    padded = padded.view(count, height + 2 * rows, width + 2 * columns, 3)
    padded[:, rows : rows + height, columns : columns + width] = pictures
    # a view of all windows, B x top x left x H x W x 3: its gather copies whole lines, not pixels
    windows = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
    return windows[torch.arange(count, device=pictures.device), top, left]


def light(x, brightness, contrast, saturation, hue):
    """Change the colours of each picture.

    In this order: brightness multiplies; contrast pulls every colour towards (factor below 1) or away from the mean
    grey of the picture, as brightness left it; saturation the same with the grey of the pixel; hue turns the colour in
    the IQ plane of YIQ. All four are affine, so that each picture gets one 3x3 matrix and one offset. Nothing is
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


def rectangles(uniform, smallest, largest, size):
    """Random rectangles in a picture, as Zhong 2020 draws them.

    The area is uniform; height / width is log-uniform from 0.3 to 1 / 0.3, but never so that the rectangle would not
    fit; the place is uniform among those where it fits.

    Args:
        uniform: float32, 4 x B, random numbers in [0, 1).
        smallest, largest: limits of the area, as shares of the picture's; rounding to pixels comes after.
        size: (height, width) of the picture.

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


def fill(x, filling, rectangle):
    """Replace a rectangle of each picture, in place.

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


def _moved(x, device):
    return x.to(device, non_blocking=True)  # else the CPU would wait until the GPU has caught up


def _chosen(uniform, probability):
    """Indices of the pictures that a part changes."""
    return torch.nonzero(uniform < probability)[:, 0]


class Augment:
    """Changes of a model's pictures, in this order: flip, crop, resample, blur, light, patch, erasing, progressive.

    Each picture has its own random choices, but all pictures of a batch share the scale of resample and the sigma of
    blur. A part that is null costs nothing and draws nothing.

    Args:
        params: reid.params.Pictures
        size: (height, width) of the result, pixels.
    """

    def __init__(self, params, size):
        self.params, self.size = params, tuple(size)

    def size_at(self, progress):
        """(height, width) of the pictures when this share of the training is done."""
        small = self.params.progressive
        if small and progress < small.until:
            return tuple(max(1, round(small.scale * n)) for n in self.size)
        return self.size

    def __call__(self, pictures, generator, progress=1.0):
        """Change a batch.

        Args:
            pictures: uint8, B x H x W x 3; stays as it is.
            generator: torch.Generator on the CPU; what is drawn depends on B alone.
            progress: share of the training that is done.

        Returns:
            float32, B x 3 x height x width in [0, 1] of :meth:`size_at`, channels_last; colours beyond are clamped
            once, after light
        """
        params, device = self.params, pictures.device
        with torch.autocast(device.type, enabled=False):  # else matrix product and blur would be in half precision
            if params.flip:
                pictures = self._flip(pictures, generator)
            if params.crop:
                pictures = self._crop(pictures, generator)
            # a plane per colour until the end: every part but blur is two to ten times as fast as on channels_last
            x = pictures.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
            x = resize(x, self.size).div_(255)
            if params.resample:
                x = self._resample(x, generator)
            if params.blur:
                x = self._blur(x, generator)
            if params.light:
                x = self._light(x, generator)
            x.clamp_(0, 1)
            if params.patch:
                rectangle = self._rectangle(params.patch, len(x), generator)
                other = _moved(_others(len(x), generator), device)
                fill(x, x.index_select(0, other), _moved(rectangle, device))
            if params.erasing:
                rectangle = self._rectangle(params.erasing, len(x), generator)
                fill(x, _moved(torch.tensor(MEAN).view(3, 1, 1), device), _moved(rectangle, device))
            x = resize(x, self.size_at(progress))
        return x.contiguous(memory_format=torch.channels_last)

    def _flip(self, pictures, generator):
        chosen = _chosen(torch.rand(len(pictures), generator=generator), self.params.flip)
        chosen = _moved(chosen, pictures.device)
        return pictures.index_copy(0, chosen, pictures.index_select(0, chosen).flip(2))

    def _crop(self, pictures, generator):
        uniform = torch.rand(3, len(pictures), generator=generator)
        margin = torch.tensor([[round(self.params.crop.margin * n)] for n in pictures.shape[1:3]])
        place = (uniform[1:] * (2 * margin + 1)).long()
        place = torch.where(uniform[0] < self.params.crop.probability, place, margin)  # or where the picture is
        return crop(pictures, *_moved(place, pictures.device), margin[:, 0].tolist())

    def _resample(self, x, generator):
        params = self.params.resample
        share = params.smallest + (1 - params.smallest) * float(torch.rand((), generator=generator))
        chosen = _chosen(torch.rand(len(x), generator=generator), params.probability)
        chosen = _moved(chosen, x.device)
        small = [max(1, round(share * n)) for n in self.size]
        return x.index_copy_(0, chosen, resize(resize(x.index_select(0, chosen), small), self.size))

    def _blur(self, x, generator):
        from torchvision.transforms.v2.functional import gaussian_blur  # here, because its import takes seconds

        params = self.params.blur
        least = min(0.1, params.sigma)
        sigma = least + (params.sigma - least) * float(torch.rand((), generator=generator))
        chosen = _chosen(torch.rand(len(x), generator=generator), params.probability)
        chosen = _moved(chosen, x.device)
        # three sigma on each side; the picture's border is mirrored, so that it must be wider than that
        kernel = [2 * min(math.ceil(3 * sigma), n - 1) + 1 for n in reversed(self.size)]
        sharp = x.index_select(0, chosen).contiguous(memory_format=torch.channels_last)
        return x.index_copy_(0, chosen, gaussian_blur(sharp, kernel, [sigma, sigma]))

    def _light(self, x, generator):
        params = self.params.light
        limits = torch.tensor([params.brightness, params.contrast, params.saturation, params.hue])
        change = limits[:, None] * (2 * torch.rand(4, len(x), generator=generator) - 1)
        return light(x, *(1 + change[:3]), change[3])

    def _rectangle(self, params, count, generator):
        """int64, 4 x B; empty for the pictures that stay as they are."""
        uniform = torch.rand(5, count, generator=generator)
        return rectangles(uniform[1:], params.smallest, params.largest, self.size) * (uniform[0] < params.probability)


def _others(count, generator):
    """Another picture for each of the batch (int64), each used once; itself where there is but one."""
    order = torch.randperm(count, generator=generator)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other
