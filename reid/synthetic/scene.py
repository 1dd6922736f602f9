"""One thumbnail: the ground, the people on it, and what a broadcast camera makes of them.

Colours are RGB in 0..1, canvases float32 H x W x 3; see ``reid.synthetic.skeleton`` for axes and angles.
"""

import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from reid.synthetic.painter import Painter
from reid.synthetic.person import draw_figure
from reid.synthetic.skeleton import Kit, Look, Neighbour, Stance, View


@lru_cache(1)
def _noise() -> np.ndarray:
    """Smooth noise for the grass: float32 1024 x 1024, standard deviation 1, always the same."""
    rng = np.random.default_rng(0)
    field = np.zeros((1024, 1024), np.float32)
    for cells, weight in ((48, 0.5), (160, 0.5), (512, 0.6)):
        coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
        field += weight * np.asarray(coarse.resize((1024, 1024), Image.Resampling.BICUBIC))
    return field / field.std()


def _ground(
    rng: np.random.Generator, shape: tuple[int, int], origin: tuple[float, float], scale: float, view: View
) -> np.ndarray:
    """What lies behind: grass, lines, and for low cameras boards and crowd. float32 H x W x 3."""
    height, width = shape
    noise = _noise()
    top, left = rng.integers(0, 1024 - height), rng.integers(0, 1024 - width)
    grain = noise[top : top + height, left : left + width]
    x = (np.arange(width, dtype=np.float32) - np.float32(origin[0])) / np.float32(scale)
    y = (np.float32(origin[1]) - np.arange(height, dtype=np.float32))[:, None] / np.float32(scale)
    stripe, slant, contrast = view.mowing
    phase = (x + np.float32(slant) * y + np.float32(rng.uniform(0, 2 * stripe))) / np.float32(stripe)
    tone = 1 + np.float32(contrast) * (np.floor(phase) % 2 * 2 - 1) + np.float32(0.055) * grain
    canvas = np.array(view.grass, np.float32) * tone[..., None]
    if rng.random() < 0.2:
        slope = rng.uniform(-0.5, 0.5)
        away = np.abs(y - np.float32(rng.uniform(-0.1, 1.8)) - np.float32(slope) * x)
        line = np.clip((0.06 - away) * np.float32(scale) + 0.5, 0, 1)[..., None] * np.float32(0.8)
        canvas += line * (np.float32(0.9) - canvas)
    edge = origin[1] - scale * (view.boards + rng.normal() * 0.15)
    if edge > 2:
        edge = min(int(edge), height)
        cells = (max(edge // 6, 1), max(width // 6, 1))
        crowd = rng.uniform(0.02, 0.5, (*cells, 3)) * rng.uniform(0.4, 1.1, (*cells, 1))
        depth = min(max(int(0.9 * scale * cells[0] / edge), 1), cells[0])
        text = rng.random((depth, cells[1], 1)) < 0.5
        text[: depth // 3] = text[depth - depth // 4 :] = False  # one line of lettering
        crowd[-depth:] = np.where(text, 1 - np.array(view.board), view.board) * 0.6 + 0.12
        behind = Image.fromarray((crowd * 255).clip(0, 255).astype(np.uint8))
        behind = behind.resize((width, edge), Image.Resampling.BILINEAR)
        canvas[:edge] = np.asarray(behind, np.float32) / 255
    return canvas


def draw_thumbnail(
    rng: np.random.Generator,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    look: Look,
    kit: Kit,
    stance: Stance,
    view: View,
    neighbours: Sequence[Neighbour] = (),
) -> Image.Image:
    """Draw one person as a broadcast camera sees him.

    Args:
        rng: decides what is behind, the smear, the noise and the blur.
        size: (height, width), pixels.
        box: (left, bottom, right, top) of the crop, camera metres from the point between the feet.
        look, kit, stance, view: the person and the camera.
        neighbours: Neighbours, those behind first.

    Returns:
        RGB, of this size.
    """
    height, width = size
    # Small ones are drawn larger, for fine patterns; the blur of large ones hides that they were drawn smaller.
    grow = min(max(160 / height, 1), 2) if height < 400 else 400 / height
    shape = (max(round(height * grow), 1), max(round(width * grow), 1))
    scale = shape[0] / (box[3] - box[1])
    origin = (-box[0] * scale, box[3] * scale)
    canvas = _ground(rng, shape, origin, scale, view)
    main = Painter(canvas, origin, scale, view)
    for front in (False, True):
        for other in neighbours:
            if other.front == front:
                painter = Painter(canvas, main.pixel(other.offset), scale, view)
                draw_figure(painter, other.look, other.kit, other.stance)
        if not front:
            draw_figure(main, look, kit, stance)
    canvas = _smear(canvas, int(abs(rng.normal()) * view.motion * shape[0]))
    if view.noise:
        canvas += rng.standard_normal(shape, dtype=np.float32)[..., None] * np.float32(view.noise)
    image = Image.fromarray((np.clip(canvas, 0, 1) * 255).astype(np.uint8))
    image = image.resize((width, height), Image.Resampling.BOX if grow > 1 else Image.Resampling.BICUBIC)
    if view.blur > 0.3:
        image = image.filter(ImageFilter.GaussianBlur(view.blur * rng.uniform(0.7, 1.3)))
    if view.interlaced:
        image = _comb(image, int(rng.integers(-1, 2)) * max(height // 100, 1))
    return _broadcast(image, view)


def _smear(canvas: np.ndarray, length: int) -> np.ndarray:
    """Motion blur along the rows: mean of ``length`` pixels."""
    if length < 2:
        return canvas
    padded = np.pad(canvas, ((0, 0), (length // 2 + 1, length - length // 2 - 1), (0, 0)), mode="edge")
    total = np.cumsum(padded, axis=1, dtype=np.float32)
    return (total[:, length:] - total[:, :-length])[:, : canvas.shape[1]] / np.float32(length)


def _comb(image: Image.Image, shift: int) -> Image.Image:
    """The two fields of interlaced video, a little apart."""
    pixels = np.array(image)
    pixels[1::2] = np.roll(pixels[1::2], shift, axis=1)
    return Image.fromarray(pixels)


def _broadcast(image: Image.Image, view: View) -> Image.Image:
    """White balance, exposure, tone and compression of a camera."""
    level = np.arange(256) / 255
    curve = level[None] ** view.gamma * np.array(view.gain)[:, None]
    curve = 0.5 + (curve - 0.5) * view.contrast
    image = image.point((np.clip(curve, 0, 1) * 255).astype(np.uint8).ravel().tolist())
    image = ImageEnhance.Color(image).enhance(view.saturation)
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=view.quality)
    return Image.open(packed).convert("RGB")
