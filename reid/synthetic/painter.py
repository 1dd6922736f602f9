"""Tubes, shadows and heads, shaded by the light of a camera's view: what figures are painted with.

Colours are RGB in 0..1, canvases float32 H x W x 3; see ``reid.synthetic.skeleton`` for axes and angles.
"""

import math
from collections.abc import Sequence

import numpy as np

from reid.synthetic.skeleton import Colour, Look, View

Window = tuple[slice, slice]


def _cover(
    shape: tuple[int, ...],
    start: tuple[float, float],
    end: tuple[float, float],
    radii: Sequence[float],
    squash: float = 1.0,
) -> tuple[Window, np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[float, float]] | None:
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


class Painter:
    """A canvas with a light and a scale.

    Args:
        canvas: float32 H x W x 3, painted in place.
        origin: (x, y) in pixels of the point between the feet.
        scale: pixels per metre.
        view: View
    """

    def __init__(self, canvas: np.ndarray, origin: tuple[float, float], scale: float, view: View) -> None:
        self.canvas, self.origin, self.scale, self.view = canvas, origin, scale, view

    def pixel(self, point: Sequence[float] | np.ndarray) -> tuple[float, float]:
        """Place on the canvas of a point in camera metres."""
        return self.origin[0] + point[0] * self.scale, self.origin[1] - point[1] * self.scale

    def tube(
        self,
        start: np.ndarray,
        end: np.ndarray,
        radii: Sequence[float],
        texture: Colour | np.ndarray,
        yaw: float = 0.0,
        squash: float = 1.0,
        folds: float = 0.0,
    ) -> None:
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

    def darken(
        self,
        start: Sequence[float] | np.ndarray,
        end: Sequence[float] | np.ndarray,
        radii: Sequence[float],
        strength: float,
        squash: float = 1.0,
    ) -> None:
        """Lay a soft shadow on the ground."""
        covered = _cover(
            self.canvas.shape, self.pixel(start), self.pixel(end), [max(r * self.scale, 0.5) for r in radii], squash
        )
        if covered is not None:
            window, coverage, _, _, distance, _ = covered
            soft = coverage * np.minimum(2.5 * (1 - distance), 1)
            self.canvas[window] *= (1 - np.float32(strength) * soft)[..., None]

    def head(self, centre: np.ndarray, look: Look, yaw: float) -> None:
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
        longer = abs(math.cos(yaw)) + 1.18 * abs(math.sin(yaw))  # a head is longer than wide
        x = x / np.float32(longer) / (1 + 0.12 * np.clip(y, -1, 0.3))  # a chin
        square = x * x + y * y
        facing = np.sqrt(np.maximum(1 - square, 0))
        coverage = np.clip((1 - np.sqrt(square)) * np.float32(radii[0]) + np.float32(0.5), 0, 1)[..., None]
        cos, sin = np.float32(math.cos(self.view.pitch)), np.float32(math.sin(self.view.pitch))
        up, near = y * cos + facing * sin, facing * cos - y * sin
        cos, sin = np.float32(math.cos(yaw)), np.float32(math.sin(yaw))
        left, front = x * cos - near * sin, x * sin + near * cos
        sharp = np.float32(max(radii[0] * 0.7, 2))

        def where(value: np.ndarray) -> np.ndarray:
            return np.clip(value * sharp + np.float32(0.5), 0, 1)[..., None]

        skin, hair = np.array(look.skin, np.float32), np.array(look.hair_colour, np.float32)
        colour = np.broadcast_to(skin, (*square.shape, 3)).copy()
        if look.beard:
            jaw = where(np.minimum(-0.30 - up - 0.35 * np.maximum(0.3 - front, 0), front + 0.15))
            mouth = where(0.13 - np.hypot(left, 1.5 * (up + 0.5)))
            colour += np.float32(look.beard) * np.maximum(jaw - mouth, 0) * (hair * np.float32(0.9) - colour)
        lips = skin * np.array([0.72, 0.5, 0.5], np.float32)
        eyes, brows = (0.34, 0.08, 0.13, (0.08, 0.06, 0.06)), (0.34, 0.24, 0.12, 0.5 * hair)
        for side, high, size, tint in (eyes, brows, (0.0, -0.5, 0.14, lips)):
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


def _folds(t: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Folds of loose cloth in the coordinates of a tube: mostly across it, softly slanted."""
    return np.sin(t * 17 + 3.1 * s) * np.sin(t * 5.3 - 2.2 * s + 1) * (0.4 + 0.6 * np.abs(s))
