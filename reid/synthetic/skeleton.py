"""People to be drawn: a jointed figure in a soccer kit, seen by a camera.

A figure is a skeleton in metres, turned and projected in parallel, whose limbs are painted as tapered, shaded tubes
with a texture around and along them; so a pattern or a number turns with its wearer. No outside images are used.

Axes: body x to the person's left, y up, z forward; camera X to the right, Y up, Z towards the camera. Yaw 0 faces the
camera, pi/2 the right edge, pi away from it. Pitch is how far the camera looks down. Angles are radians, colours are
RGB in 0..1.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Colour = tuple[float, float, float]


class Kit(NamedTuple):
    """What a team wears."""

    shirt: Colour
    second: Colour  # of the pattern
    pattern: str  # plain, stripes, pinstripes, hoops, band, halves, sash, suit or bib
    sleeve: Colour
    cuff: Colour
    shorts: Colour
    socks: Colour
    sock_top: Colour
    print: Colour  # number and lettering
    trousers: bool = False  # long ones, in the colour of the shorts
    front_number: bool = False


class Look(NamedTuple):
    """What makes one person of a team, the same in all images of a game."""

    height: float  # metres, 1.64..2.0
    girth: float  # about 1
    legs: float  # share of the height
    skin: Colour
    hair: str  # bald, buzz, short, fringe, mohawk, afro, long, bun or ponytail
    hair_colour: Colour
    beard: float  # 0 none .. 1 full
    headband: Colour | None
    boots: Colour
    long_sleeves: bool
    underlayer: Colour | None  # arms of an undershirt below short sleeves
    leggings: Colour | None
    sock_height: float  # share of the shin
    tape: Colour | None  # around the sock
    wristbands: tuple[Colour | None, Colour | None]
    gloves: Colour | None
    armband: Colour | None
    number: int | None
    name: str


class Pose(NamedTuple):
    """Joint angles; pairs are (left, right), zero is standing to attention."""

    lean: float  # forward
    side: float  # of the trunk, to the left
    twist: float  # of the shoulders against the hips
    hip: tuple[float, float]  # thigh forward
    spread: tuple[float, float]  # thigh sideways
    knee: tuple[float, float]
    shoulder: tuple[float, float]  # upper arm forward
    lift: tuple[float, float]  # upper arm sideways
    elbow: tuple[float, float]
    head: float  # turned to the left


class Stance(NamedTuple):
    pose: Pose
    yaw: float


class View(NamedTuple):
    """One camera at one moment: everything that its thumbnails share."""

    scale: float  # pixels per metre, typical
    pitch: float
    light: tuple[float, float, float]  # direction to the light, camera axes
    ambient: float  # share of the light that comes from everywhere
    gain: Colour  # white balance and exposure
    gamma: float
    saturation: float
    contrast: float
    blur: float  # defocus, pixels of the thumbnail
    motion: float  # smear, share of the height, typical
    quality: int  # of the JPEG round trip
    noise: float  # standard deviation, 0..1
    interlaced: bool
    grass: Colour
    mowing: tuple[float, float, float]  # stripe width in metres, slant, contrast
    boards: float  # where the boards behind begin, metres above the feet
    board: Colour
    shadow: tuple[float, float, float]  # its end from the feet, metres in the image, and strength


class Neighbour(NamedTuple):
    """Another person in the image."""

    look: Look
    kit: Kit
    stance: Stance
    offset: tuple[float, float]  # of the feet, metres right and up in the image
    front: bool


# Rows of the joint array. Left and right of a pair lie side by side.
PELVIS, CHEST, HEAD = 0, 1, 2
SHOULDER, ELBOW, WRIST, HAND, HIP, KNEE, ANKLE, HEEL, TOE = range(3, 21, 2)


def skeleton(look: Look, pose: Pose) -> np.ndarray:
    """Joints of a figure whose lowest foot is on the ground.

    Returns:
        float64 21 x 3: body axes, metres; the hips are at x = z = 0.
    """
    h, leg = look.height, look.height * look.legs
    points: list[tuple[float, ...]] = [(0.0, 0.0, 0.0)] * 21
    up = (math.sin(pose.side), math.cos(pose.lean) * math.cos(pose.side), math.sin(pose.lean) * math.cos(pose.side))
    trunk = h * (0.795 - look.legs)
    points[CHEST] = tuple(trunk * c for c in up)
    nod = 0.6 * pose.lean  # people look up when they lean
    reach = 0.105 * h
    points[HEAD] = (
        points[CHEST][0] + 0.5 * up[0] * reach,
        points[CHEST][1] + math.cos(nod) * reach,
        points[CHEST][2] + math.sin(nod) * reach,
    )
    for i, side in enumerate((1, -1)):
        shoulder = [(trunk - 0.035 * h) * c for c in up]
        half = side * 0.102 * h * (0.6 + 0.4 * look.girth)
        shoulder[0] += half * math.cos(pose.twist)
        shoulder[2] -= half * math.sin(pose.twist)
        elbow = _hang(shoulder, 0.158 * h, pose.shoulder[i], side * pose.lift[i])
        bent = pose.shoulder[i] + pose.elbow[i]
        wrist = _hang(elbow, 0.135 * h, bent, side * pose.lift[i] * math.cos(pose.elbow[i]))
        hip = (side * 0.048 * h, 0.0, 0.0)
        knee = _hang(hip, 0.5 * leg, pose.hip[i], side * pose.spread[i])
        shin = pose.hip[i] - pose.knee[i]
        ankle = _hang(knee, 0.44 * leg, shin, side * pose.spread[i] * 0.7)
        fall = 0.75 * shin - 0.12
        foot = (side * 0.25, math.sin(fall), math.cos(fall))
        points[SHOULDER + i], points[ELBOW + i], points[WRIST + i] = tuple(shoulder), elbow, wrist
        points[HAND + i] = _hang(wrist, 0.045 * h, bent, side * pose.lift[i] * math.cos(pose.elbow[i]))
        points[HIP + i], points[KNEE + i], points[ANKLE + i] = hip, knee, ankle
        points[HEEL + i] = tuple(a - 0.025 * h * f - s for a, f, s in zip(ankle, foot, (0, 0.018 * h, 0), strict=True))
        points[TOE + i] = tuple(a + 0.1 * h * f - s for a, f, s in zip(ankle, foot, (0, 0.018 * h, 0), strict=True))
    joints = np.array(points)
    joints[:, 1] -= joints[HEEL:, 1].min() - 0.02 * h
    return joints


def _hang(start: Sequence[float], length: float, forward: float, sideways: float) -> tuple[float, float, float]:
    """End of a bone that hangs down from ``start``, swung forward and sideways."""
    down = math.cos(sideways)
    return (
        start[0] + length * math.sin(sideways),
        start[1] - length * down * math.cos(forward),
        start[2] + length * down * math.sin(forward),
    )


def project(joints: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """Body axes to camera axes: float64 J x 3, metres."""
    x, y, z = joints.T
    cos, sin = math.cos(yaw), math.sin(yaw)
    right, near = x * cos + z * sin, z * cos - x * sin
    cos, sin = math.cos(pitch), math.sin(pitch)
    return np.stack([right, y * cos - near * sin, y * sin + near * cos], axis=1)


_REACH = np.repeat([0.07, 0.075, 0.08, 0.03, 0.025, 0.02, 0.02, 0.055, 0.035, 0.025, 0.022, 0.022], [1] * 3 + [2] * 9)


def extent(look: Look, stance: Stance, pitch: float, cut: float = 0.0) -> tuple[float, float, float, float]:
    """Tight box of a figure: (left, bottom, right, top), camera metres from the point between its feet.

    Args:
        cut: share of the height that is cut off below.
    """
    seen = project(skeleton(look, stance.pose), stance.yaw, pitch)[:, :2]
    reach = _REACH[:, None] * look.height
    low, high = seen - reach, seen + reach
    bottom, top = low[:, 1].min(), high[:, 1].max()
    bottom += cut * (top - bottom)
    left = high[:, 1] >= bottom
    return float(low[left, 0].min()), float(bottom), float(high[left, 0].max()), float(top)
