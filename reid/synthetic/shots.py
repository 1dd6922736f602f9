"""The frames of a synthetic action: which cameras see whom, where, in which pose and light."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reid.synthetic.skeleton import Colour, Neighbour, Pose, Stance, View, extent
from reid.synthetic.squads import COLOURS, Person, pick


class Grass(NamedTuple):
    """What all cameras of a game share."""

    colour: Colour
    sunny: bool  # or floodlight
    mowing: tuple[float, float]  # stripe width in metres, contrast
    board: Colour


class Frame(NamedTuple):
    view: View
    close: bool
    azimuth: float  # of the camera around the pitch


class Box(NamedTuple):
    """A person in a frame, before roles and names are known."""

    person: int  # place in the cast
    frame: int
    stance: Stance
    box: tuple[float, float, float, float]
    size: tuple[int, int]  # height, width, pixels
    neighbours: tuple[Neighbour, ...]
    legible: bool  # the number


def make_action(rng: np.random.Generator, cast: Sequence[Person], grass: Grass) -> tuple[list[Frame], list[Box]]:
    """One action: its frames and the persons in them.

    Returns:
        (list of Frame, action frame first; list of Box, frame by frame and in no order inside a frame)
    """
    # How far each person is from the ball, in arbitrary units; a frame shows those nearest to what it looks at.
    far = {"Player": 1.0, "Goalkeeper": 1.2, "Main_referee": 1.1, "Side_referee": 1.9, "Staff_members": 2.5}
    away = np.array([far[p.clazz] * rng.gamma(3.0, 1 / 3) for p in cast])
    heading = rng.uniform(-math.pi, math.pi, len(cast))
    moves = [pick(rng, _MOVES[p.clazz]) for p in cast]
    poses = [_pose(rng, move) for move in moves]
    busy = rng.lognormal(0, 0.27)
    replays = pick(rng, (1, 2, 3), [0.58, 0.23, 0.19])
    frames, boxes = [], []
    for frame in range(1 + replays):
        close = bool(rng.random() < (0.66 if frame else 0.12))
        frames.append(Frame(_view(rng, close, grass), close, _azimuth(rng, close) if frame else 0.0))
        # Replays freeze the same moment from elsewhere, as a rule a little earlier or later.
        count = int(
            np.clip(busy * rng.lognormal(math.log(7.0 if close else 11.6), 0.5 if close else 0.35), 1, len(cast))
        )
        blur = rng.gamma(1.0, 0.62)
        shown = np.argsort(away + blur * rng.normal(size=len(cast)), kind="stable")[:count]
        crowd = []
        for person in rng.permutation(shown).tolist():
            pose = poses[person] if rng.random() < 0.35 else _pose(rng, moves[person])
            yaw = heading[person] + frames[frame].azimuth + rng.normal() * 0.35
            crowd.append((person, Stance(_jitter(rng, pose), float(yaw))))
        boxes += [_box(rng, cast, frame, frames[frame], place, crowd) for place in range(len(crowd))]
    return frames, boxes


def _azimuth(rng: np.random.Generator, close: bool) -> float:
    """Where a replay camera stands: beside the main one, opposite, behind a goal or between."""
    turns = (0.0, math.pi / 2, -math.pi / 2, math.pi) if close else (0.0, 0.6, -0.6)
    return float(pick(rng, turns, [2, 1, 1, 1][: len(turns)]) + rng.normal() * 0.25)


def _box(
    rng: np.random.Generator,
    cast: Sequence[Person],
    frame: int,
    shot: Frame,
    place: int,
    crowd: list[tuple[int, Stance]],
) -> Box:
    """The crop of one person, as a detector frames him: too wide or too narrow, at times cut off or shared.

    With tight boxes and one light for all cameras recipes rank otherwise than on photographs (docs/ablation.md).
    """
    number, stance = crowd[place]
    look, pitch = cast[number].look, shot.view.pitch
    cut = rng.uniform(0.2, 0.5) if rng.random() < (0.16 if shot.close else 0.08) else 0.0  # his legs are not seen
    left, bottom, right, top = extent(look, stance, pitch, cut)
    margin = np.maximum(rng.normal(0.04, 0.06, 4) * (top - bottom), -0.25 * (right - left))
    if cut:
        margin[1] = 0.0
    if rng.random() < 0.07:  # an arm is cut off
        margin[pick(rng, (0, 2))] = -rng.uniform(0.1, 0.25) * (right - left)
    box = (
        float(left - margin[0]),
        float(bottom - margin[1]),
        float(right + margin[2]),
        float(top + margin[3]),
    )
    across, up = box[2] - box[0], box[3] - box[1]
    nearer = rng.lognormal(0, 0.22 if shot.close else 0.10)
    size = int(np.clip(round(shot.view.scale * nearer * up), 30, 700))
    neighbours = []
    for front, chance in ((False, 0.22), (True, 0.15)):
        if len(crowd) > 1 and rng.random() < chance:
            other, other_stance = crowd[(place + int(rng.integers(1, len(crowd)))) % len(crowd)]
            aside = pick(rng, (-1, 1)) * rng.uniform(0.3, 0.75)
            upward = -rng.uniform(0.02, 0.12) if front else rng.uniform(0.05, 0.2 + pitch)
            neighbours.append(
                Neighbour(cast[other].look, cast[other].kit, other_stance, (float(aside), float(upward)), front)
            )
    legible = math.cos(stance.yaw - math.pi) > 0.5 and size >= 45
    width = int(np.clip(round(size * across / up), 12, 900))
    return Box(number, frame, stance, box, (size, width), tuple(neighbours), legible)


def make_grass(rng: np.random.Generator) -> Grass:
    """The pitch of one game: grass, weather and boards."""
    base = np.array([0.25, 0.45, 0.15]) * rng.uniform(0.75, 1.2) * rng.uniform(0.9, 1.1, 3)
    sunny = rng.random() < 0.4
    mowing = (float(rng.uniform(3, 6)), float(rng.uniform(0.02, 0.10)))
    return Grass(tuple(base.tolist()), sunny, mowing, COLOURS[pick(rng, list(COLOURS))])


def _view(rng: np.random.Generator, close: bool, game: Grass) -> View:
    """One camera. Close ones stand low beside the pitch, the others high in the stand."""
    grass, sunny, (stripe, contrast), board = game
    side = rng.uniform(-0.7, 0.7)
    light = np.array([side, rng.uniform(0.2, 0.7), rng.uniform(0.6, 1.0)])
    light /= np.linalg.norm(light)
    if close:
        scale, pitch = min(rng.lognormal(math.log(145), 0.48), 320), rng.uniform(0.0, 0.13)
        boards = rng.uniform(0.2, 1.3) + 20 * math.sin(pitch) * rng.uniform(0.2, 1)
        blur, motion = rng.gamma(2.0, 0.45), 0.02 if rng.random() < 0.5 else 0.0
    else:
        scale, pitch = rng.lognormal(math.log(58), 0.36), rng.uniform(0.2, 0.5)
        boards = 99.0 if rng.random() < 0.85 else rng.uniform(1.0, 4.0)
        blur, motion = min(rng.gamma(2.0, 0.25), 1.0), 0.02 if rng.random() < 0.3 else 0.0
    exposure = np.clip(rng.lognormal(0.14, 0.224), 0.6, 1.7)
    length = rng.uniform(0.3, 1.5) if sunny else rng.uniform(0.1, 0.3)
    return View(
        scale=float(scale),
        pitch=float(pitch),
        light=tuple(light.tolist()),
        ambient=float(rng.uniform(0.35, 0.6) if sunny else rng.uniform(0.55, 0.8)),
        gain=tuple((exposure * rng.lognormal(0, 0.112, 3)).tolist()),
        gamma=float(rng.lognormal(-0.05, 0.16)),
        saturation=float(rng.uniform(0.6, 1.1)),
        contrast=float(rng.uniform(0.75, 1.15)),
        blur=float(blur),
        motion=motion,
        quality=int(rng.integers(35, 90)),
        noise=float(rng.uniform(0, 0.03)),
        interlaced=bool(rng.random() < 0.06),
        grass=grass,
        mowing=(stripe, float(rng.uniform(-1, 1)), contrast),
        boards=float(boards),
        board=board,
        shadow=(float(-np.sign(side) * length), float(length * math.sin(pitch) * 0.6), 0.5 if sunny else 0.25),
    )


_MOVES = {
    "Player": ("run", "run", "run", "walk", "walk", "stand", "kick", "cheer", "jump", "bend", "point"),
    "Goalkeeper": ("stand", "ready", "ready", "jump", "walk", "run", "kick", "point"),
    "Main_referee": ("run", "walk", "walk", "stand", "point"),
    "Side_referee": ("run", "walk", "stand", "point"),
    "Staff_members": ("stand", "stand", "walk", "point", "cheer"),
}


def _pose(rng: np.random.Generator, move: str) -> Pose:
    """A pose of one kind of move, its phase and strength at random."""
    phase = rng.uniform(0, 2 * math.pi)
    force = rng.uniform(0.8, 1.2)
    swing, lag = math.sin(phase) * force, math.cos(phase)
    head = float(rng.normal() * 0.4)
    arms, lift, elbow = (rng.uniform(-0.1, 0.2), rng.uniform(-0.1, 0.2)), (0.14, 0.14), (0.25, 0.25)
    hip, spread, knee = (0.05, 0.0), (0.07, 0.07), (0.05, 0.05)
    lean, side, twist = 0.03, 0.0, 0.0
    if move == "walk":
        hip, knee = (0.42 * swing, -0.42 * swing), (0.2 + 0.3 * max(lag, 0), 0.2 + 0.3 * max(-lag, 0))
        arms, elbow, lean, twist = (-0.4 * swing, 0.4 * swing), (0.3, 0.3), 0.06, 0.12 * swing
    elif move == "run":
        hip = (0.25 + 0.85 * swing, 0.25 - 0.85 * swing)
        knee = (0.75 + 0.75 * lag, 0.75 - 0.75 * lag)
        arms, elbow, lean, twist = (-0.8 * swing, 0.8 * swing), (1.4, 1.4), 0.22 * force, 0.3 * swing
        lift = (0.25, 0.25)
    elif move == "kick":
        foot = 1 if rng.random() < 0.75 else 0
        hip = (1.0 * force, -0.25) if foot == 0 else (-0.25, 1.0 * force)
        knee = (0.35, 0.35) if rng.random() < 0.5 else (0.9, 0.4)
        lean, twist, lift = -0.15, 0.5 * (foot - 0.5), (0.9, 0.9)
        arms, elbow = (0.6, -0.4) if foot else (-0.4, 0.6), (0.5, 0.5)
    elif move == "cheer":
        arms, lift = (rng.uniform(2.2, 3.0), rng.uniform(2.2, 3.0)), (-0.45, -0.45)
        if rng.random() < 0.4:
            arms, lift = (0.1, 0.1), (1.5, 1.5)
        elbow, spread = (0.2, 0.2), (0.15, 0.15)
    elif move == "jump":
        hip, knee = (0.5 * force, 0.1), (1.1 * force, 0.8)
        arms, lift, elbow, lean = (0.5, 0.7), (0.9, 0.7), (0.9, 0.9), -0.1
    elif move == "bend":
        lean, hip, knee = 0.8 * force, (0.35, 0.35), (0.4, 0.4)
        arms, elbow, lift = (0.55, 0.55), (0.1, 0.1), (0.1, 0.1)
    elif move == "point":
        arms, lift = (0.1, rng.uniform(0.9, 1.6)), (0.14, rng.uniform(0.2, 0.9))
        hip, knee = (0.2 * swing, -0.2 * swing), (0.15, 0.15)
    elif move == "ready":
        lean, hip, knee, spread = 0.4, (0.6, 0.6), (0.9, 0.9), (0.25, 0.25)
        arms, lift, elbow = (0.5, 0.5), (0.6, 0.6), (0.8, 0.8)
    elif rng.random() < 0.3:  # stand, hands on the hips
        arms, lift, elbow = (-0.45, -0.45), (0.65, 0.65), (1.3, 1.3)
    return Pose(lean, side, twist, hip, spread, knee, arms, lift, elbow, head)


def _jitter(rng: np.random.Generator, pose: Pose) -> Pose:
    """The same pose a moment later."""
    noise = rng.normal(size=16).tolist()

    def pair(values: tuple[float, float], i: int, size: float) -> tuple[float, float]:
        return values[0] + size * noise[i], values[1] + size * noise[i + 1]

    def bent(values: tuple[float, float], i: int, size: float) -> tuple[float, float]:
        left, right = pair(values, i, size)
        return max(left, 0.0), max(right, 0.0)

    return Pose(
        pose.lean + 0.05 * noise[0],
        pose.side + 0.06 * noise[1],
        pose.twist + 0.1 * noise[2],
        pair(pose.hip, 3, 0.1),
        pair(pose.spread, 5, 0.04),
        bent(pose.knee, 7, 0.1),
        pair(pose.shoulder, 9, 0.15),
        pair(pose.lift, 11, 0.06),
        bent(pose.elbow, 13, 0.15),
        pose.head + 0.2 * noise[15],
    )
