"""Synthetic soccer matches in the layout of a SoccerNet-ReID download: the data set that needs no download.

A game has two teams, referees and staff; each of its actions is one action frame and one to three replay frames, in
which a part of them is seen by other cameras. Counts of boxes, queries and matches follow the real splits. Every
random draw hangs on the seed, the split and the place in it, so one thumbnail can be drawn without the others.
"""

import datetime
import io
import json
import math
from typing import NamedTuple

import numpy as np

from reid.archive import pack
from reid.figures import Kit, Look, Neighbour, Pose, Stance, View, draw_thumbnail, extent
from reid.filenames import SPLITS, Thumbnail, format_name
from reid.files import write_json
from reid.parallel import ordered_map
from reid.progress import bar

# Invented clubs; the first of each league plays at home first.
_CLUBS = {
    "england_epl": "Brontë Rovers|Ashmoor|Wexcombe Town|Harrowgate United|Port Selby|Kingsmere|Dunley Albion|Stoure",
    "spain_laliga": "Atlético Marenza|Real Corvalán|Peñalta|Vistamar|Deportivo Lorca Alta|Montañés|Sagrera|Almodena",
    "germany_bundesliga": "Grünwalde|Altenfurt|Königsried|SV Marbeck|Oberlahn|Westerhöhe|Haldensee|Nordkirch",
    "italy_serie-a": "Forlì Marina|Castelvento|Valdoria|Monterosso|San Teodoro|Acquaviva|Bellacosta|Torreforte",
    "france_ligue-1": "Étoile Vaudray|Saint-Aubry|Montclair|Orvanne|Belleroche|Côte-Noire|Lavigny|Port-Marais",
    "europe_uefa-champions-league": "Łubnica|Göktepe|Sparta Horní|Marenza FC|Altenfurt 04|Lindhavn|Vaudray OC|Dravno",
}
_KICK_OFF = ("18-00", "20-45", "15-00", "12-30", "17-30", "21-45")

# Colours, RGB.
_KIT_COLOURS = {
    "red": (0.80, 0.08, 0.10),
    "claret": (0.45, 0.07, 0.15),
    "royal": (0.10, 0.20, 0.68),
    "navy": (0.07, 0.09, 0.28),
    "sky": (0.50, 0.75, 0.93),
    "white": (0.93, 0.93, 0.93),
    "black": (0.08, 0.08, 0.09),
    "yellow": (0.96, 0.84, 0.10),
    "orange": (0.95, 0.45, 0.06),
    "green": (0.05, 0.42, 0.20),
    "lime": (0.65, 0.88, 0.15),
    "purple": (0.38, 0.16, 0.55),
    "pink": (0.95, 0.42, 0.62),
    "turquoise": (0.06, 0.62, 0.62),
    "grey": (0.52, 0.53, 0.55),
}
_BRIGHT = ("yellow", "orange", "lime", "pink", "turquoise", "red", "royal", "purple")
_PATTERNS = ("plain", "stripes", "pinstripes", "hoops", "band", "halves", "sash")
_SKINS = (
    (0.96, 0.80, 0.70),
    (0.91, 0.71, 0.58),
    (0.82, 0.60, 0.44),
    (0.66, 0.44, 0.30),
    (0.48, 0.30, 0.20),
    (0.32, 0.19, 0.13),
)
_FAIR_HAIR = (
    (0.07, 0.05, 0.05),
    (0.20, 0.12, 0.07),
    (0.36, 0.22, 0.11),
    (0.58, 0.42, 0.22),
    (0.85, 0.70, 0.40),
    (0.62, 0.26, 0.10),
    (0.55, 0.54, 0.53),
)
_DARK_HAIR = ((0.06, 0.05, 0.05), (0.10, 0.07, 0.06), (0.16, 0.10, 0.07), (0.88, 0.78, 0.50))
_KEEPER_NUMBERS = (1, 12, 13, 22)
_HAIRS = ("bald", "buzz", "short", "fringe", "mohawk", "afro", "long", "bun", "ponytail")

# Streams of random numbers: what a draw is for.
_GAME, _ACTION, _PICTURE, _CALENDAR = range(4)


class Person(NamedTuple):
    look: Look
    kit: Kit
    clazz: str  # without the side of the team
    team: int | None  # 0 or 1


class Record(NamedTuple):
    """One thumbnail to be drawn. ``thumbnail`` has its labels even if the split hides them."""

    split: str
    role: str
    thumbnail: Thumbnail
    relative_path: str  # championship/season/game/action
    person: Person
    stance: Stance
    view: View
    box: tuple[float, float, float, float]  # left, bottom, right, top; metres from the person's feet in the picture
    neighbours: tuple[Neighbour, ...]
    seed: tuple[int, ...]

    @property
    def member(self):
        """Name inside the zip of the split."""
        if self.split == "challenge":
            hidden = dict.fromkeys(("person_uid", "frame_idx", "clazz", "id", "UAI"))
            return f"{self.split}/{self.role}/{format_name(self.thumbnail._replace(**hidden))}"
        folder = self.split if self.role == self.split else f"{self.split}/{self.role}"
        return f"{folder}/{self.relative_path}/{format_name(self.thumbnail)}"


class _Frame(NamedTuple):
    view: View
    close: bool
    azimuth: float  # of the camera around the pitch


class _Box(NamedTuple):
    """A person in a frame, before roles and names are known."""

    person: int  # place in the cast
    frame: int
    stance: Stance
    box: tuple[float, float, float, float]
    size: tuple[int, int]  # height, width, pixels
    neighbours: tuple[Neighbour, ...]
    legible: bool  # the number


def make_split(path, split, actions, seed, labels_path=None, threads=1, progress=True):
    """Write the zip of one split. The same split, actions and seed give the same bytes, whatever ``threads``.

    Args:
        path: the zip to write; it appears whole or not at all.
        split: one of ``SPLITS``.
        actions: how many.
        seed: int, 0 .. 2**32 - 1.
        labels_path: where the hidden labels of challenge go, in the form of ``bbox_info.json``; None to drop them.
        threads: processes that draw.
        progress: show a bar.
    """
    records = plan_split(split, actions, seed)
    labels = bbox_info(records)
    with bar(len(records), split, "thumbnail", progress) as shown:
        pack(path, _members(records, split, labels, threads, shown))
    if split == "challenge" and labels_path is not None:
        write_json(labels_path, labels)


def _members(records, split, labels, threads, shown):
    for record, content in zip(records, ordered_map(render, records, threads), strict=True):
        shown.update()
        yield record.member, content
    if split != "challenge":
        name = "train_bbox_info.json" if split == "train" else "bbox_info.json"
        yield f"{split}/{name}", json.dumps(labels, ensure_ascii=False).encode()


def render(record):
    """Draw one thumbnail, independent of all others.

    Returns:
        bytes: a PNG of the size in the record's name.
    """
    t, person = record.thumbnail, record.person
    rng = np.random.default_rng(record.seed)
    picture = draw_thumbnail(
        rng, (t.height, t.width), record.box, person.look, person.kit, record.stance, record.view, record.neighbours
    )
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=3)
    return content.getvalue()


def bbox_info(records):
    """Labels in the form of ``bbox_info.json``: flat for train, else {"query": {...}, "gallery": {...}}."""
    entries = {}
    for record in records:
        field = record.thumbnail._asdict()
        height, width = field.pop("height"), field.pop("width")
        entry = field | {"relative_path": record.relative_path, "height": height, "width": width}
        entries.setdefault(record.role, {})[str(record.thumbnail.bbox_idx)] = entry
    return entries["train"] if "train" in entries else {role: entries.get(role, {}) for role in ("query", "gallery")}


# --- the plan -------------------------------------------------------------------------------------------------------


def plan_split(split, actions, seed):
    """Decide everything about a split except the pixels.

    Args:
        split: one of ``SPLITS``.
        actions: how many.
        seed: int, 0 .. 2**32 - 1.

    Returns:
        list of Record in the order of roles (query, gallery) and bbox_idx.
    """
    number = SPLITS.index(split)
    calendar = _rng(seed, number, _CALENDAR)
    records = []
    counts = {"bbox": {}, "frame": 0, "person": number * 1_000_000}  # persons differ between splits
    action, game = 0, 0
    while action < actions:
        rng = _rng(seed, number, _GAME, game)
        cast, grass, path = _cast(rng), _grass(rng), _fixture(rng, number, game)
        for place in range(min(int(calendar.integers(3, 6)), actions - action)):
            rng = _rng(seed, number, _ACTION, game, place)
            frames, boxes = _action(rng, cast, grass)
            while not _matched(boxes):  # an action without a query is no action
                frames, boxes = _action(rng, cast, grass)
            swapped = place >= 2  # the teams change ends at half-time
            draw = (seed, number, _PICTURE, action)
            records += _records(rng, split, action, f"{path}/{place}", cast, frames, boxes, swapped, counts, draw)
            action += 1
        game += 1
    return sorted(records, key=lambda record: record.role == "gallery")


def _rng(*key):
    # Padded: SeedSequence takes (1,) and (1, 0) for the same.
    return np.random.default_rng((*key, *(0,) * (6 - len(key))))


def _matched(boxes):
    """Persons of the action frame (frame 0) that a replay shows again."""
    return {box.person for box in boxes if box.frame == 0} & {box.person for box in boxes if box.frame > 0}


def _records(rng, split, action, path, cast, frames, boxes, swapped, counts, draw):
    """Give the boxes of one action their roles, ids and names."""
    matched = _matched(boxes)
    seen, legible = {}, set()
    for box in boxes:
        seen[box.person] = seen.get(box.person, 0) + 1
        if box.legible:
            legible.add(box.person)
    first = counts["person"]
    uid = {person: first + i for i, person in enumerate(rng.permutation(sorted(seen)).tolist())}
    counts["person"] += len(uid)
    ids, letters = {}, 0
    for person in sorted(seen, key=uid.get):
        number = cast[person].look.number
        if seen[person] == 1:
            ids[person] = "None"
        elif person in legible and number is not None:
            ids[person] = str(number)
        else:
            ids[person] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[letters]
            letters += 1
    hashes = rng.integers(0, 2**32, len(frames))
    records, places = [], [0] * len(frames)
    for i, box in enumerate(boxes):
        person = cast[box.person]
        role = "train"
        if split != "train":
            role = "query" if box.frame == 0 and box.person in matched else "gallery"
        bbox_idx = counts["bbox"].get(role, 0)
        counts["bbox"][role] = bbox_idx + 1
        clazz = person.clazz
        if person.team is not None:
            clazz += "_team_left" if (person.team == 0) != swapped else "_team_right"
        code = (
            f"{int(path[path.rindex('/') + 1 :]):03d}r{box.frame:03d}_{hashes[box.frame]:08x}{places[box.frame]:04x}"
        )
        places[box.frame] += 1
        thumbnail = Thumbnail(
            bbox_idx, action, uid[box.person], counts["frame"] + box.frame, clazz, ids[box.person], code, *box.size
        )
        view = frames[box.frame].view
        records.append(
            Record(split, role, thumbnail, path, person, box.stance, view, box.box, box.neighbours, (*draw, i, 0))
        )
    counts["frame"] += len(frames)
    return records


def _fixture(rng, split, game):
    """championship/season/game, never twice: the days of the season are dealt out to the splits."""
    league = list(_CLUBS)[(game + split) % 6]
    clubs = _CLUBS[league].split("|")
    home = game // 6 % len(clubs)
    away = (home + int(rng.integers(1, len(clubs)))) % len(clubs)
    year = 2014 + game // 6 % 3
    round_ = game // 18 * len(SPLITS) + split
    day = datetime.date(year, 8, 10) + datetime.timedelta(days=round_ * 59 % 272)  # 59 and 272 share no factor
    goals = rng.poisson(1.4, 2)
    kick_off = _KICK_OFF[round_ // 272 % len(_KICK_OFF)]
    return f"{league}/{year}-{year + 1}/{day} - {kick_off} {clubs[home]} {goals[0]} - {goals[1]} {clubs[away]}"


# --- who plays ------------------------------------------------------------------------------------------------------


def _pick(rng, items, weights=None):
    if weights is None:
        return items[int(rng.integers(len(items)))]
    edges = np.cumsum(weights)
    return items[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]


def _apart(rng, names, taken, least=0.5):
    """A colour of ``names`` at least this far (RGB distance) from those taken, or the farthest."""
    gaps = {n: min((math.dist(_KIT_COLOURS[n], c) for c in taken), default=9.0) for n in names}
    far = [n for n in names if gaps[n] >= least] or [max(names, key=gaps.get)]
    return _KIT_COLOURS[_pick(rng, far)]


def _legible_on(colour):
    return _KIT_COLOURS["white"] if sum(colour) < 1.4 else _KIT_COLOURS["black"]


def _kit(rng, shirt, patterns=_PATTERNS):
    """A kit around one colour."""
    names = list(_KIT_COLOURS)
    pattern = _pick(rng, patterns, [4, 2, 1, 1.5, 1, 1, 1][: len(patterns)])
    second = _apart(rng, ["white", "black", *names], [shirt], 0.6)
    accent = _pick(rng, [shirt, second])
    shorts = _pick(rng, [shirt, second, _KIT_COLOURS["white"], _KIT_COLOURS["black"]])
    socks = _pick(rng, [shirt, shorts, second])
    ink = _legible_on(
        shirt if pattern in ("plain", "sash") else tuple((a + b) / 2 for a, b in zip(shirt, second, strict=True))
    )
    sleeve = second if rng.random() < 0.2 else shirt
    return Kit(shirt, second, pattern, sleeve, accent, shorts, socks, accent, ink, False, bool(rng.random() < 0.4))


def _look(rng, number=None, keeper=False, official=False):
    """A person, told from his team mates by build, skin, hair, boots and the small things he wears."""
    colours = list(_KIT_COLOURS.values())
    bright = [_KIT_COLOURS[name] for name in _BRIGHT]
    tone = _pick(rng, range(6), [0.2, 0.25, 0.2, 0.12, 0.11, 0.12])
    shade = rng.uniform(0.93, 1.07)
    hair = _pick(rng, _HAIRS, [1, 1.6, 3, 1.6, 0.5, 0.9 if tone > 2 else 0.2, 0.7, 0.5, 0.5])

    def maybe(chance, choices):
        return _pick(rng, choices) if rng.random() < chance else None

    base = [_KIT_COLOURS["black"], _KIT_COLOURS["white"]]
    return Look(
        height=float(np.clip(rng.normal(1.81 + 0.07 * keeper, 0.065), 1.64, 2.0)),
        girth=float(np.clip(rng.normal(1.03 + 0.04 * official, 0.075), 0.86, 1.25)),
        legs=float(rng.uniform(0.465, 0.505)),
        skin=tuple(min(c * shade, 1.0) for c in _SKINS[tone]),
        hair=hair,
        hair_colour=_pick(
            rng, _FAIR_HAIR if tone < 3 else _DARK_HAIR, [3, 3, 2, 1.2, 1, 0.6, 0.4][: 7 if tone < 3 else 4]
        ),
        beard=_pick(rng, (0.0, 0.45, 0.9), [3, 1, 1]),
        headband=None if official else maybe(0.08, colours),
        boots=_KIT_COLOURS["black"] if official else _pick(rng, [*bright, *base], [1] * len(bright) + [2, 2]),
        long_sleeves=bool(rng.random() < (0.85 if keeper else 0.28)),
        underlayer=None if official else maybe(0.15, [*base, *base, *bright]),
        leggings=None if official else maybe(0.12, [*base, *bright]),
        sock_height=_pick(rng, (0.95, 0.85, 0.6), [3, 2, 1]),
        tape=None if official else maybe(0.2, [*base, *bright]),
        wristbands=(maybe(0.15, colours), maybe(0.15, colours)),
        gloves=_pick(rng, [*base, *bright]) if keeper else None if official else maybe(0.06, base),
        armband=None,
        number=number,
        name="".join(_pick(rng, "AEIOULNRSTMKBDGV") for _ in range(int(rng.integers(4, 10)))),
    )


def _cast(rng):
    """All persons of a game: per team a goalkeeper and ten players, then referees and staff."""
    everything = list(_KIT_COLOURS)
    shirts, cast = [], []
    for team in (0, 1):
        shirts.append(_apart(rng, [n for n in everything if n not in ("lime", "grey")], shirts, 0.65))
        kit = _kit(rng, shirts[team])
        if team == 1 and kit.pattern != "plain" and math.dist(kit.second, shirts[0]) < 0.4:
            kit = kit._replace(pattern="plain", sleeve=kit.shirt)
        numbers = rng.permutation(np.setdiff1d(np.arange(2, 35), _KEEPER_NUMBERS))[:10].tolist()
        players = [_look(rng, number) for number in numbers]
        captain = int(rng.integers(10))
        players[captain] = players[captain]._replace(armband=_apart(rng, everything, [kit.sleeve], 0.8))
        cast += [Person(look, kit, "Player", team) for look in players]
    for team in (0, 1):
        shirt = _apart(rng, (*_BRIGHT, "grey", "black", "green"), shirts)
        shirts.append(shirt)
        kit = _kit(rng, shirt, _PATTERNS[:1])
        kit = kit._replace(shorts=_pick(rng, [shirt, _KIT_COLOURS["black"]]), socks=shirt)
        look = _look(rng, _pick(rng, _KEEPER_NUMBERS, [3, 1, 1, 1]), keeper=True)
        cast.append(Person(look, kit, "Goalkeeper", team))
    black, white = _KIT_COLOURS["black"], _KIT_COLOURS["white"]
    shirt = _apart(rng, ("black", "yellow", "lime", "turquoise", "red"), shirts, 0.45)
    kit = Kit(shirt, white, "plain", shirt, black, black, black, _pick(rng, [black, white]), black)
    for clazz, count in (("Main_referee", 1), ("Side_referee", 2)):
        cast += [Person(_look(rng, official=True), kit, clazz, None) for _ in range(count)]
    for _ in range(4):
        look = _look(rng, official=True)._replace(long_sleeves=True, beard=_pick(rng, (0.0, 0.9)))
        cast.append(Person(look, _clothes(rng, shirts), "Staff_members", None))
    return cast


def _clothes(rng, shirts):
    """What staff wear: a suit, a tracksuit or a bib over one."""
    black, white = _KIT_COLOURS["black"], _KIT_COLOURS["white"]
    dark = _pick(rng, [black, _KIT_COLOURS["navy"], _KIT_COLOURS["grey"]])
    kind = _pick(rng, ("suit", "plain", "bib"))
    if kind == "suit":
        return Kit(dark, _pick(rng, shirts), "suit", dark, white, dark, dark, dark, white, trousers=True)
    coat = _pick(rng, [dark, shirts[0], shirts[1]])
    shirt = _KIT_COLOURS[_pick(rng, _BRIGHT)] if kind == "bib" else coat
    return Kit(shirt, white, kind, coat, coat, dark, dark, dark, _legible_on(shirt), trousers=True)


# --- what happens ---------------------------------------------------------------------------------------------------


def _action(rng, cast, grass):
    """One action: its frames and the persons in them.

    Returns:
        (list of _Frame, action frame first; list of _Box, frame by frame and in no order inside a frame)
    """
    # How far each person is from the ball, in arbitrary units; a frame shows those nearest to what it looks at.
    far = {"Player": 1.0, "Goalkeeper": 1.2, "Main_referee": 1.1, "Side_referee": 1.9, "Staff_members": 2.5}
    away = np.array([far[p.clazz] * rng.gamma(3.0, 1 / 3) for p in cast])
    heading = rng.uniform(-math.pi, math.pi, len(cast))
    moves = [_pick(rng, _MOVES[p.clazz]) for p in cast]
    poses = [_pose(rng, move) for move in moves]
    busy = rng.lognormal(0, 0.27)
    replays = _pick(rng, (1, 2, 3), [0.58, 0.23, 0.19])
    frames, boxes = [], []
    for frame in range(1 + replays):
        close = bool(rng.random() < (0.66 if frame else 0.12))
        frames.append(_Frame(_view(rng, close, grass), close, _azimuth(rng, close) if frame else 0.0))
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


def _azimuth(rng, close):
    """Where a replay camera stands: beside the main one, opposite, behind a goal or between."""
    turns = (0.0, math.pi / 2, -math.pi / 2, math.pi) if close else (0.0, 0.6, -0.6)
    return float(_pick(rng, turns, [2, 1, 1, 1][: len(turns)]) + rng.normal() * 0.25)


def _box(rng, cast, frame, shot, place, crowd):
    """The crop of one person: never quite tight, at times cut off or shared with another person."""
    number, stance = crowd[place]
    look, pitch = cast[number].look, shot.view.pitch
    cut = rng.uniform(0.2, 0.5) if shot.close and rng.random() < 0.16 else 0.0  # by the edge of the picture
    left, bottom, right, top = extent(look, stance, pitch, cut)
    margin = rng.normal(0.03, 0.03, 4) * (top - bottom)
    if cut:
        margin[1] = 0.0
    if rng.random() < 0.07:  # an arm is cut off
        margin[_pick(rng, (0, 2))] = -rng.uniform(0.1, 0.25) * (right - left)
    box = (left - margin[0], bottom - margin[1], right + margin[2], top + margin[3])
    box = tuple(float(edge) for edge in box)
    across, up = box[2] - box[0], box[3] - box[1]
    nearer = rng.lognormal(0, 0.22 if shot.close else 0.10)
    size = int(np.clip(round(shot.view.scale * nearer * up), 30, 700))
    neighbours = []
    for front, chance in ((False, 0.22), (True, 0.15)):
        if len(crowd) > 1 and rng.random() < chance:
            other, other_stance = crowd[(place + int(rng.integers(1, len(crowd)))) % len(crowd)]
            aside = _pick(rng, (-1, 1)) * rng.uniform(0.3, 0.75)
            upward = -rng.uniform(0.02, 0.12) if front else rng.uniform(0.05, 0.2 + pitch)
            neighbours.append(
                Neighbour(cast[other].look, cast[other].kit, other_stance, (float(aside), float(upward)), front)
            )
    legible = math.cos(stance.yaw - math.pi) > 0.5 and size >= 45
    width = int(np.clip(round(size * across / up), 12, 900))
    return _Box(number, frame, stance, box, (size, width), tuple(neighbours), legible)


def _grass(rng):
    """What all cameras of a game share: colour of the grass, mowing, sun or floodlight, boards."""
    base = np.array([0.25, 0.45, 0.15]) * rng.uniform(0.75, 1.2) * rng.uniform(0.9, 1.1, 3)
    sunny = rng.random() < 0.4
    mowing = (float(rng.uniform(3, 6)), float(rng.uniform(0.02, 0.10)))
    return tuple(base.tolist()), sunny, mowing, _KIT_COLOURS[_pick(rng, list(_KIT_COLOURS))]


def _view(rng, close, game):
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
    exposure = np.clip(rng.lognormal(0.14, 0.14), 0.9, 1.5)
    length = rng.uniform(0.3, 1.5) if sunny else rng.uniform(0.1, 0.3)
    return View(
        scale=float(scale),
        pitch=float(pitch),
        light=tuple(light.tolist()),
        ambient=float(rng.uniform(0.35, 0.6) if sunny else rng.uniform(0.55, 0.8)),
        gain=tuple((exposure * rng.lognormal(0, 0.07, 3)).tolist()),
        gamma=float(rng.lognormal(-0.05, 0.1)),
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


def _pose(rng, move):
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


def _jitter(rng, pose):
    """The same pose a moment later."""
    noise = rng.normal(size=16).tolist()

    def pair(values, i, size):
        return values[0] + size * noise[i], values[1] + size * noise[i + 1]

    return Pose(
        pose.lean + 0.05 * noise[0],
        pose.side + 0.06 * noise[1],
        pose.twist + 0.1 * noise[2],
        pair(pose.hip, 3, 0.1),
        pair(pose.spread, 5, 0.04),
        tuple(max(angle, 0.0) for angle in pair(pose.knee, 7, 0.1)),
        pair(pose.shoulder, 9, 0.15),
        pair(pose.lift, 11, 0.06),
        tuple(max(angle, 0.0) for angle in pair(pose.elbow, 13, 0.15)),
        pose.head + 0.2 * noise[15],
    )
