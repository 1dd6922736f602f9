"""A person in his clothes: the texture of each part, and the order in which the parts are painted.

Colours are RGB in 0..1; see ``reid.synthetic.skeleton`` for axes and angles.
"""

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reid.synthetic.painter import Painter
from reid.synthetic.skeleton import (
    ANKLE,
    CHEST,
    ELBOW,
    HAND,
    HEAD,
    HEEL,
    HIP,
    KNEE,
    PELVIS,
    SHOULDER,
    TOE,
    WRIST,
    Colour,
    Kit,
    Look,
    Stance,
    project,
    skeleton,
)


@lru_cache(64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _rgb(colour: Colour) -> tuple[int, ...]:
    return tuple(round(255 * min(max(c, 0), 1)) for c in colour)


def shirt_texture(look: Look, kit: Kit, rows: int, printed: bool = True) -> np.ndarray:
    """The shirt unrolled.

    Args:
        printed: False leaves out number and name (which take time) where the back is not seen.

    Returns:
        float32 rows x about 1.75 rows x 3 in 0..1, hem in row 0, front in the middle column.
    """
    columns = 2 * round(rows * 0.875)
    base = Image.new("RGB", (columns, rows), _rgb(kit.shirt))
    draw = ImageDraw.Draw(base)
    second = _rgb(kit.second)
    unit = columns / 2  # the front is as wide
    if kit.pattern in ("stripes", "pinstripes"):
        count, share = (14, 0.5) if kit.pattern == "stripes" else (28, 0.22)
        for i in range(count):
            left = (i + 0.5 - share / 2) * columns / count
            draw.rectangle((left, 0, left + share * columns / count, rows), second)
    elif kit.pattern == "hoops":
        for i in range(4):
            draw.rectangle((0, (i + 0.25) * rows / 4, columns, (i + 0.75) * rows / 4), second)
    elif kit.pattern == "band":
        draw.rectangle((0, 0.3 * rows, columns, 0.52 * rows), second)
    elif kit.pattern == "halves":
        draw.rectangle((columns / 2, 0, columns, rows), second)
    elif kit.pattern == "sash":
        for start in (-unit / 2, unit / 2, 1.5 * unit):
            points = ((start + 0.15 * unit, 0), (start + 0.45 * unit, 0), (start + 0.95 * unit, rows))
            draw.polygon((*points, (start + 0.65 * unit, rows)), second)
    draw.rectangle((0, 0, columns, 0.05 * rows), _rgb(kit.cuff))  # collar
    front, back = base, base.copy()
    draw = ImageDraw.Draw(front)
    middle, ink = columns / 2, _rgb(kit.print)
    if kit.pattern == "suit":
        draw.polygon(((middle - 0.14 * unit, 0), (middle + 0.14 * unit, 0), (middle, 0.62 * rows)), _rgb((0.93,) * 3))
        draw.rectangle((middle - 0.03 * unit, 0, middle + 0.03 * unit, 0.55 * rows), second)
    elif kit.pattern != "bib":
        draw.rectangle((middle - 0.26 * unit, 0.36 * rows, middle + 0.26 * unit, 0.44 * rows), ink)  # sponsor
        draw.ellipse((middle + 0.16 * unit, 0.17 * rows, middle + 0.25 * unit, 0.26 * rows), ink)  # badge, on the left
    if look.number is not None:
        if printed:
            _letter(ImageDraw.Draw(back), str(look.number), (middle, 0.50 * rows), 0.48 * rows, ink)
            _letter(ImageDraw.Draw(back), look.name, (middle, 0.17 * rows), 0.13 * rows, ink)
        if kit.front_number:
            _letter(draw, str(look.number), (middle - 0.18 * unit, 0.22 * rows), 0.16 * rows, ink)
    quarter = columns // 4
    chest, spine = np.asarray(front), np.roll(np.asarray(back), columns // 2, axis=1)
    texture = np.concatenate([spine[:, :quarter], chest[:, quarter:-quarter], spine[:, -quarter:]], axis=1)
    return texture[::-1].astype(np.float32) / 255


def _letter(
    draw: ImageDraw.ImageDraw, text: str, centre: tuple[float, float], size: float, ink: tuple[int, ...]
) -> None:
    """Print ``text`` as high as ``size`` pixels; too small to be read becomes a smudge."""
    if size < 4:
        wide = 0.3 * size * len(text)
        draw.rectangle((centre[0] - wide, centre[1] - size / 3, centre[0] + wide, centre[1] + size / 3), ink)
    else:
        draw.text(centre, text, ink, _font(round(1.2 * size)), anchor="mm", stroke_width=size / 18, stroke_fill=ink)


def _along(*bands: tuple[float, Colour]) -> np.ndarray:
    """Texture along a limb from (share of the length, colour) bands: float32 24 x 1 x 3."""
    texture = np.empty((24, 1, 3), np.float32)
    start = 0
    for share, colour in bands:
        stop = round(24 * share)
        texture[start:stop] = colour
        start = max(start, stop)
    return texture


def draw_figure(painter: Painter, look: Look, kit: Kit, stance: Stance) -> None:
    """Paint a figure: far arms, legs, trunk, head, near arms."""
    yaw, pose, view = stance.yaw, stance.pose, painter.view
    joints = project(skeleton(look, pose), yaw, view.pitch)
    h, g = look.height, look.height * look.girth
    painter.darken(
        tuple(joints[TOE, :2] * 0.5 + joints[TOE + 1, :2] * 0.5),
        (view.shadow[0], view.shadow[1]),
        [0.1 * h, 0.12 * h],
        view.shadow[2],
    )
    for i in (0, 1):
        painter.darken(joints[HEEL + i], joints[TOE + i], [0.045 * h, 0.05 * h], 0.35, 1.5)
    depth = joints[:, 2]
    for i in sorted((0, 1), key=lambda i: depth[KNEE + i] + depth[ANKLE + i]):
        _leg(painter, look, kit, joints, i)
    far = [i for i in (0, 1) if depth[ELBOW + i] + depth[HAND + i] < 2 * depth[SHOULDER : SHOULDER + 2].mean() - 0.12]
    for i in far:
        _arm(painter, look, kit, joints, i)
    turned = yaw + 0.5 * pose.twist
    flat = math.hypot(math.cos(turned), 0.66 * math.sin(turned))  # a trunk is wider than deep
    hips = [0.088 * g * flat, 0.09 * g * flat]
    painter.tube(joints[HIP : HIP + 2].mean(axis=0), joints[PELVIS] * 0.8 + joints[CHEST] * 0.2, hips, kit.shorts)
    rows = int(min(max(1.3 * h * 0.3 * painter.scale, 20), 150))
    trunk = [w * flat * (0.4 * h + 0.6 * g) for w in (0.098, 0.093, 0.095, 0.103, 0.106, 0.096, 0.066)]
    hem = joints[PELVIS] + 0.06 * (joints[PELVIS] - joints[CHEST])
    painter.tube(joints[CHEST], joints[HEAD], [0.036 * g, 0.034 * g], look.skin)
    shirt = shirt_texture(look, kit, rows, printed=math.cos(turned) < 0.8)
    painter.tube(hem, joints[CHEST], trunk, shirt, turned, 4.0, 0.13)
    head = yaw + pose.head
    _hair(painter, look, joints[HEAD], head, behind=True)
    painter.head(joints[HEAD], look, head)
    _hair(painter, look, joints[HEAD], head, behind=False)
    for i in (0, 1):
        if i not in far:
            _arm(painter, look, kit, joints, i)


def _leg(painter: Painter, look: Look, kit: Kit, joints: np.ndarray, i: int) -> None:
    h, g = look.height, look.height * look.girth
    hip, knee, ankle = joints[HIP + i], joints[KNEE + i], joints[ANKLE + i]
    painter.tube(joints[HEEL + i], joints[TOE + i], [0.024 * h, 0.017 * h], look.boots)
    if kit.trousers:
        painter.tube(knee, ankle, [0.042 * g, 0.036 * g], kit.shorts, folds=0.15)
        painter.tube(hip, knee, [0.056 * g, 0.044 * g], kit.shorts, folds=0.12)
        return
    thigh = look.leggings or look.skin
    top = 1 - look.sock_height
    bands = [(top, look.skin), (top + 0.13, kit.sock_top), (1.0, kit.socks)]
    if look.tape:
        bands[2:] = [(0.62, kit.socks), (0.74, look.tape), (1.0, kit.socks)]
    painter.tube(knee, ankle, [0.033 * g, 0.04 * g, 0.038 * g, 0.028 * g, 0.022 * g], _along(*bands))
    painter.tube(hip, knee, [0.055 * g, 0.034 * g], thigh)
    leg = _along((0.88, kit.shorts), (1.0, kit.cuff))
    painter.tube(hip, hip + 0.66 * (knee - hip), [0.058 * g, 0.058 * g], leg, squash=5.0, folds=0.15)


def _arm(painter: Painter, look: Look, kit: Kit, joints: np.ndarray, i: int) -> None:
    g = look.height * look.girth
    shoulder, elbow, wrist, hand = (joints[j + i] for j in (SHOULDER, ELBOW, WRIST, HAND))
    covered = look.long_sleeves or kit.trousers
    lower = kit.sleeve if covered else look.underlayer or look.skin
    band = look.wristbands[i] or (kit.cuff if covered else lower)
    painter.tube(wrist, hand, [0.017 * g, 0.022 * g], look.gloves or look.skin)
    painter.tube(elbow, wrist, [0.025 * g, 0.017 * g], _along((0.78, lower), (1.0, band)))
    painter.tube(shoulder, elbow, [0.032 * g, 0.026 * g], lower)
    bands = [(0.82, kit.sleeve), (1.0, kit.sleeve if covered else kit.cuff)]
    if look.armband and i == 0:
        bands = [(0.45, kit.sleeve), (0.8, look.armband), (1.0, kit.sleeve)]
    end = shoulder + (1.0 if covered else 0.72) * (elbow - shoulder)
    painter.tube(shoulder, end, [0.04 * g, 0.037 * g], _along(*bands), squash=1.3, folds=0.15)


def _hair(painter: Painter, look: Look, head: np.ndarray, yaw: float, behind: bool) -> None:
    """Paint hair that stands off the head: the part behind the head or the part before it."""
    h = look.height
    back = np.array([-math.sin(yaw), 0.0, -math.cos(yaw)])
    up = np.array([0.0, 1.0, 0.0])
    if look.hair == "afro":
        if behind:
            painter.tube(
                head + 0.02 * h * up + 0.02 * h * back, head + 0.03 * h * up, [0.072 * h] * 2, look.hair_colour
            )
        return
    starts = {"long": (0.02, 0.0), "bun": (0.05, 0.045), "ponytail": (0.045, 0.02)}
    ends = {"long": (0.025, -0.115), "bun": (0.055, 0.05), "ponytail": (0.085, -0.085)}
    if look.hair not in starts or behind == (back[2] > 0):
        return
    wide = {"long": [0.045 * h, 0.04 * h], "bun": [0.028 * h] * 2, "ponytail": [0.018 * h, 0.016 * h]}[look.hair]
    (a, b), (c, d) = starts[look.hair], ends[look.hair]
    painter.tube(head + h * (a * back + b * up), head + h * (c * back + d * up), wide, look.hair_colour, folds=0.1)
