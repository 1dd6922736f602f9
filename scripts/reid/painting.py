"""Drawing a figure: shaded, textured limbs on a pitch, seen through a broadcast camera.

Colours are RGB in 0..1, pictures H x W x 3; see ``reid.figures`` for axes and angles.
"""

import io
import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from reid.figures import (
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
    project,
    skeleton,
)


def _cover(shape, start, end, radii, squash=1.0):
    """Where a tapered tube with round ends lies on a canvas.

    Args:
        shape: of the canvas.
        start, end: (x, y) of its axis, pixels.
        radii: half widths at equal steps along the axis, pixels.
        squash: how much flatter than a half circle the ends are.

    Returns:
        None if it is outside, else (window: two slices, coverage 0..1, t: along 0..1, s: across -1..1, distance from
        the axis: 1 at the rim, across: unit vector of growing s), arrays float32.
    """
    widest = max(radii) + 1
    x0, x1 = max(int(min(start[0], end[0]) - widest), 0), min(int(max(start[0], end[0]) + widest) + 2, shape[1])
    y0, y1 = max(int(min(start[1], end[1]) - widest), 0), min(int(max(start[1], end[1]) + widest) + 2, shape[0])
    if x0 >= x1 or y0 >= y1:
        return None
    length = max(math.hypot(end[0] - start[0], end[1] - start[1]), 1e-3)
    ax, ay = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    x = np.arange(x0, x1, dtype=np.float32) - np.float32(start[0] - 0.5)
    y = (np.arange(y0, y1, dtype=np.float32) - np.float32(start[1] - 0.5))[:, None]
    along = x * np.float32(ax) + y * np.float32(ay)
    across = y * np.float32(ax) - x * np.float32(ay)
    t = np.clip(along * np.float32(1 / length), 0, 1)
    over = (along - t * np.float32(length)) * np.float32(squash)
    if len(radii) == 2:
        width = t * np.float32(radii[1] - radii[0]) + np.float32(radii[0])
    else:
        width = np.interp(t, np.linspace(0, 1, len(radii)), radii).astype(np.float32)
    distance = np.sqrt(across * across + over * over)
    coverage = np.clip(width - distance + np.float32(0.5), 0, 1)
    inverse = 1 / np.maximum(width, np.float32(0.3))
    s = np.clip(across * inverse, -1, 1)
    return (slice(y0, y1), slice(x0, x1)), coverage, t, s, distance * inverse, (-ay, ax)


class _Painter:
    """A canvas with a light and a scale.

    Args:
        canvas: float32 H x W x 3, painted in place.
        origin: (x, y) in pixels of the point between the feet.
        scale: pixels per metre.
        view: View
    """

    def __init__(self, canvas, origin, scale, view):
        self.canvas, self.origin, self.scale, self.view = canvas, origin, scale, view

    def pixel(self, point):
        return self.origin[0] + point[0] * self.scale, self.origin[1] - point[1] * self.scale

    def tube(self, start, end, radii, texture, yaw=0.0, squash=1.0, folds=0.0):
        """Paint a limb.

        Args:
            start, end: camera metres.
            radii: metres.
            texture: a colour, or float32 V x U x 3: V along from start to end, U around (middle column: front).
            yaw: how the texture is turned.
            folds: depth of the folds of loose cloth.
        """
        pixels = [radius * self.scale for radius in radii]
        covered = _cover(self.canvas.shape, self.pixel(start), self.pixel(end), pixels, squash)
        if covered is None:
            return
        window, coverage, t, s, _, across = covered
        facing = np.sqrt(1 - s * s)  # not darker towards the ends, or joints would show
        light, ambient = self.view.light, self.view.ambient
        lit = s * np.float32(across[0] * light[0] - across[1] * light[1]) + facing * np.float32(light[2])
        shade = np.maximum(lit, 0) * np.float32(1.15 * (1 - ambient)) + facing * np.float32(0.25 * ambient)
        shade += np.float32(0.75 * ambient)
        if folds:
            shade *= 1 + np.float32(folds) * _folds(t, s)
        colour = np.asarray(texture, np.float32)
        if colour.ndim == 3:
            rows, columns = colour.shape[:2]
            row = (t * np.float32(rows - 0.01)).astype(np.intp)
            if columns > 1:
                turn = np.arcsin(s) * np.float32(0.5 / math.pi) + np.float32(0.5 - yaw / (2 * math.pi) + 2)
                colour = colour[row, ((turn % 1) * np.float32(columns - 0.01)).astype(np.intp)]
            else:
                colour = colour[row, 0]
        region = self.canvas[window]
        region += coverage[..., None] * (colour * shade[..., None] - region)

    def darken(self, start, end, radii, strength, squash=1.0):
        """Lay a soft shadow on the ground."""
        covered = _cover(
            self.canvas.shape, self.pixel(start), self.pixel(end), [max(r * self.scale, 0.5) for r in radii], squash
        )
        if covered is not None:
            window, coverage, _, _, distance, _ = covered
            soft = coverage * np.minimum(2.5 * (1 - distance), 1)
            self.canvas[window] *= (1 - np.float32(strength) * soft)[..., None]

    def head(self, centre, look, yaw):
        """Paint a head: an ellipsoid on which hair, beard, eyes and band are placed by direction."""
        radii = (0.047 * look.height * self.scale, 0.069 * look.height * self.scale)
        cx, cy = self.pixel(centre)
        shape = self.canvas.shape
        x0, x1 = max(int(cx - radii[0] * 1.2) - 1, 0), min(int(cx + radii[0] * 1.2) + 3, shape[1])
        y0, y1 = max(int(cy - radii[1] * 1.1) - 1, 0), min(int(cy + radii[1] * 1.1) + 3, shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        x = (np.arange(x0, x1, dtype=np.float32) + np.float32(0.5 - cx))[None] / np.float32(radii[0])
        y = (np.float32(cy - 0.5) - np.arange(y0, y1, dtype=np.float32))[:, None] / np.float32(radii[1])
        cos, sin = abs(math.cos(yaw)), abs(math.sin(yaw))
        x = x / np.float32(cos + 1.18 * sin) / (1 + 0.12 * np.clip(y, -1, 0.3))  # longer than wide; a chin
        square = x * x + y * y
        facing = np.sqrt(np.maximum(1 - square, 0))
        coverage = np.clip((1 - np.sqrt(square)) * np.float32(radii[0]) + np.float32(0.5), 0, 1)[..., None]
        cos, sin = np.float32(math.cos(self.view.pitch)), np.float32(math.sin(self.view.pitch))
        up, near = y * cos + facing * sin, facing * cos - y * sin
        cos, sin = np.float32(math.cos(yaw)), np.float32(math.sin(yaw))
        left, front = x * cos - near * sin, x * sin + near * cos
        sharp = np.float32(max(radii[0] * 0.7, 2))

        def where(value):
            return np.clip(value * sharp + np.float32(0.5), 0, 1)[..., None]

        skin, hair = np.array(look.skin, np.float32), np.array(look.hair_colour, np.float32)
        colour = np.broadcast_to(skin, (*square.shape, 3)).copy()
        if look.beard:
            jaw = where(np.minimum(-0.30 - up - 0.35 * np.maximum(0.3 - front, 0), front + 0.15))
            mouth = where(0.13 - np.hypot(left, 1.5 * (up + 0.5)))
            colour += np.float32(look.beard) * np.maximum(jaw - mouth, 0) * (hair * np.float32(0.9) - colour)
        spots = [(0.34, 0.08, 0.13, (0.08, 0.06, 0.06)), (0.34, 0.24, 0.12, tuple(0.5 * hair))]
        for side, high, size, tint in [*spots, (0.0, -0.5, 0.14, tuple(skin * np.float32([0.72, 0.5, 0.5])))]:
            gap = np.hypot(np.abs(left) - np.float32(side), 1.7 * (up - np.float32(high)))
            colour += where(np.minimum(size - gap, front)) * (np.array(tint, np.float32) - colour)
        nose = where(np.minimum(0.10 - np.abs(left) - 0.15 * np.abs(up + 0.15), np.minimum(up + 0.3, front - 0.75)))
        colour *= 1 + np.float32(0.12) * nose
        line = {"bald": 9.0, "buzz": 0.02, "fringe": -0.06, "mohawk": 0.1}.get(look.hair, -0.02)
        edge = up - np.float32(line) - np.float32(0.5) * front - 0.1 * np.abs(left) * (front > 0)
        if look.hair == "mohawk":
            edge = np.minimum(edge, 0.38 - np.abs(left))
            shaved = where(up - np.float32(0.02) - np.float32(0.5) * front)
            colour += np.float32(0.4) * shaved * (hair - colour)
        if look.hair != "bald":
            strands = 1 + np.float32(0.18) * np.sin(left * 23 + up * 5)
            depth = np.float32(0.55 if look.hair == "buzz" else 1.0)
            colour += depth * where(edge) * (hair * strands[..., None] - colour)
        if look.headband:
            band = where(0.1 - np.abs(up - 0.42 + 0.12 * (1 - front)))
            colour += band * (np.array(look.headband, np.float32) - colour)
        light, ambient = self.view.light, self.view.ambient
        lit = np.maximum(x * light[0] + y * light[1] + facing * light[2], 0)
        shade = lit * (1.15 * (1 - ambient)) + facing * (0.25 * ambient) + 0.75 * ambient
        region = self.canvas[y0:y1, x0:x1]
        region += coverage * (colour * shade[..., None].astype(np.float32) - region)


@lru_cache(1)
def _noise():
    """Smooth noise for the grass: float32 1024 x 1024, standard deviation 1, always the same."""
    rng = np.random.default_rng(0)
    field = np.zeros((1024, 1024), np.float32)
    for cells, weight in ((48, 0.5), (160, 0.5), (512, 0.6)):
        coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
        field += weight * np.asarray(coarse.resize((1024, 1024), Image.BICUBIC))
    return field / field.std()


def _folds(t, s):
    """Folds of loose cloth in the coordinates of a tube: mostly across it, softly slanted."""
    return np.sin(t * 17 + 3.1 * s) * np.sin(t * 5.3 - 2.2 * s + 1) * (0.4 + 0.6 * np.abs(s))


# --- clothes --------------------------------------------------------------------------------------------------------


@lru_cache(64)
def _font(size):
    return ImageFont.load_default(size)


def _rgb(colour):
    return tuple(round(255 * min(max(c, 0), 1)) for c in colour)


def shirt_texture(look, kit, rows, printed=True):
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
    front, back = np.asarray(front), np.roll(np.asarray(back), columns // 2, axis=1)
    texture = np.concatenate([back[:, :quarter], front[:, quarter:-quarter], back[:, -quarter:]], axis=1)
    return texture[::-1].astype(np.float32) / 255


def _letter(draw, text, centre, size, ink):
    """Print ``text`` as high as ``size`` pixels; too small to be read becomes a smudge."""
    if size < 4:
        wide = 0.3 * size * len(text)
        draw.rectangle((centre[0] - wide, centre[1] - size / 3, centre[0] + wide, centre[1] + size / 3), ink)
    else:
        draw.text(centre, text, ink, _font(round(1.2 * size)), anchor="mm", stroke_width=size / 18, stroke_fill=ink)


def _along(*bands):
    """Texture along a limb from (share of the length, colour) bands: float32 24 x 1 x 3."""
    texture = np.empty((24, 1, 3), np.float32)
    start = 0
    for share, colour in bands:
        stop = round(24 * share)
        texture[start:stop] = colour
        start = max(start, stop)
    return texture


# --- a figure -------------------------------------------------------------------------------------------------------


def draw_figure(painter, look, kit, stance):
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


def _leg(painter, look, kit, joints, i):
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


def _arm(painter, look, kit, joints, i):
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


def _hair(painter, look, head, yaw, behind):
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


# --- a thumbnail ----------------------------------------------------------------------------------------------------


def _ground(rng, shape, origin, scale, view):
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
        picture = Image.fromarray((crowd * 255).clip(0, 255).astype(np.uint8)).resize((width, edge), Image.BILINEAR)
        canvas[:edge] = np.asarray(picture, np.float32) / 255
    return canvas


def draw_thumbnail(rng, size, box, look, kit, stance, view, neighbours=()):
    """Draw one person as a broadcast camera sees him.

    Args:
        rng: numpy Generator
        size: (height, width), pixels.
        box: (left, bottom, right, top) of the crop, camera metres from the point between the feet.
        look, kit, stance, view: the person and the camera.
        neighbours: Neighbours, those behind first.

    Returns:
        PIL image, RGB, of this size.
    """
    height, width = size
    # Small ones are drawn larger, for fine patterns; the blur of large ones hides that they were drawn smaller.
    grow = min(max(160 / height, 1), 2) if height < 400 else 400 / height
    shape = (max(round(height * grow), 1), max(round(width * grow), 1))
    scale = shape[0] / (box[3] - box[1])
    origin = (-box[0] * scale, box[3] * scale)
    canvas = _ground(rng, shape, origin, scale, view)
    main = _Painter(canvas, origin, scale, view)
    for front in (False, True):
        for other in neighbours:
            if other.front == front:
                painter = _Painter(canvas, main.pixel(other.offset), scale, view)
                draw_figure(painter, other.look, other.kit, other.stance)
        if not front:
            draw_figure(main, look, kit, stance)
    canvas = _smear(canvas, int(abs(rng.normal()) * view.motion * shape[0]))
    if view.noise:
        canvas += rng.standard_normal(shape, dtype=np.float32)[..., None] * np.float32(view.noise)
    picture = Image.fromarray((np.clip(canvas, 0, 1) * 255).astype(np.uint8))
    picture = picture.resize((width, height), Image.BOX if grow > 1 else Image.BICUBIC)
    if view.blur > 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(view.blur * rng.uniform(0.7, 1.3)))
    if view.interlaced:
        picture = _comb(picture, int(rng.integers(-1, 2)) * max(height // 100, 1))
    return _broadcast(picture, view)


def _smear(canvas, length):
    """Motion blur along the rows: mean of ``length`` pixels."""
    if length < 2:
        return canvas
    padded = np.pad(canvas, ((0, 0), (length // 2 + 1, length - length // 2 - 1), (0, 0)), mode="edge")
    total = np.cumsum(padded, axis=1, dtype=np.float32)
    return (total[:, length:] - total[:, :-length])[:, : canvas.shape[1]] / np.float32(length)


def _comb(picture, shift):
    """The two half pictures of interlaced video, a little apart."""
    pixels = np.array(picture)
    pixels[1::2] = np.roll(pixels[1::2], shift, axis=1)
    return Image.fromarray(pixels)


def _broadcast(picture, view):
    """White balance, exposure, tone and compression of a camera."""
    level = np.arange(256) / 255
    curve = level[None] ** view.gamma * np.array(view.gain)[:, None]
    curve = 0.5 + (curve - 0.5) * view.contrast
    picture = picture.point((np.clip(curve, 0, 1) * 255).astype(np.uint8).ravel().tolist())
    picture = ImageEnhance.Color(picture).enhance(view.saturation)
    packed = io.BytesIO()
    picture.save(packed, "JPEG", quality=view.quality)
    return Image.open(packed).convert("RGB")
