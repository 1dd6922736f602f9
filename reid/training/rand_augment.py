"""The operations of RandAugment (Cubuk et al. 2020) on a batch, each image by an amount of its own.

Each takes float32 images, B x 3 x H x W in [0, 1], and float32 of B values from -1 to 1 on the CPU, shares of the
paper's largest change, in one direction or the other; it gives new images that may leave [0, 1]. The largest changes
are those of torchvision.
"""

import math

import torch
from torch.nn import functional

from reid.training.image_changes import color_jitter, moved, warp

_FACTOR, _SHEAR, _SHIFT, _TURN = 0.9, 0.3, 150 / 331, math.radians(30)
_BITS = 4  # that posterize takes away


def _around_middle(x: torch.Tensor, columns: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A map of places relative to the middle: each row of its matrix as (column, row, 1), B values each."""
    height, width = x.shape[2:]
    middle = torch.tensor([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]])
    zero, one = torch.zeros_like(columns[0]), torch.ones_like(columns[0])
    matrix = torch.stack([*columns, *rows, zero, zero, one], -1).view(-1, 3, 3)
    return warp(x, middle @ matrix @ torch.linalg.inv(middle))


def _identity(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    return x


def _shear_x(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    zero, one = torch.zeros_like(strength), torch.ones_like(strength)
    return _around_middle(x, (one, _SHEAR * strength, zero), (zero, one, zero))


def _shear_y(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    zero, one = torch.zeros_like(strength), torch.ones_like(strength)
    return _around_middle(x, (one, zero, zero), (_SHEAR * strength, one, zero))


def _translate_x(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    zero, one = torch.zeros_like(strength), torch.ones_like(strength)
    return _around_middle(x, (one, zero, _SHIFT * x.shape[3] * strength), (zero, one, zero))


def _translate_y(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    zero, one = torch.zeros_like(strength), torch.ones_like(strength)
    return _around_middle(x, (one, zero, zero), (zero, one, _SHIFT * x.shape[2] * strength))


def _rotate(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    sine, cosine, zero = (_TURN * strength).sin(), (_TURN * strength).cos(), torch.zeros_like(strength)
    return _around_middle(x, (cosine, -sine, zero), (sine, cosine, zero))


def _brightness(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    one = torch.ones_like(strength)
    return color_jitter(x, 1 + _FACTOR * strength, one, one, one - 1)


def _contrast(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    one = torch.ones_like(strength)
    return color_jitter(x, one, 1 + _FACTOR * strength, one, one - 1)


def _saturation(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    one = torch.ones_like(strength)
    return color_jitter(x, one, one, 1 + _FACTOR * strength, one - 1)


def _sharpness(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Away from, or towards, the image smoothed by [1 1 1; 1 5 1; 1 1 1] / 13; its border stays."""
    inner = x[:, :, 1:-1, 1:-1]
    smooth = x.clone()
    smooth[:, :, 1:-1, 1:-1] = (9 * functional.avg_pool2d(x, 3, 1) + 4 * inner) / 13
    return smooth + moved(1 + _FACTOR * strength, x.device)[:, None, None, None] * (x - smooth)


def _posterize(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    step = moved(2 ** (_BITS * strength.abs()).round(), x.device)[:, None, None, None]
    return (255 * x).round().div(step).floor() * step / 255


def _solarize(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """What is brighter than a threshold becomes its negative."""
    return torch.where(x >= moved(1 - strength.abs(), x.device)[:, None, None, None], 1 - x, x)


def _autocontrast(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Each colour of an image from 0 to 1; one that is the same everywhere stays."""
    least, most = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(most > least, (x - least) / (most - least).clamp(min=1e-6), x)


OPERATIONS = {
    "identity": _identity,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
}
