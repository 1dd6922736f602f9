"""Synthetic soccer matches in the layout of a SoccerNet-ReID download: the data set that needs no download.

A game has two teams, referees and staff; each of its actions is one action frame and one to three replay frames, in
which a part of them is seen by other cameras. Counts of boxes, queries and matches follow the real splits. Every
random draw hangs on the seed, the split and the place in it, so one thumbnail can be drawn without the others.
"""

import dataclasses
import datetime
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from reid.core.files import write_json
from reid.core.parallel import ordered_map
from reid.core.progress import bar
from reid.core.splits import SPLITS
from reid.raw.archive import pack
from reid.raw.filenames import Thumbnail, format_name
from reid.synthetic.scene import draw_thumbnail
from reid.synthetic.shots import Box, Frame, make_action, make_grass
from reid.synthetic.skeleton import Neighbour, Stance, View
from reid.synthetic.squads import Person, make_cast

_CLUBS = {
    "england_epl": "Brontë Rovers|Ashmoor|Wexcombe Town|Harrowgate United|Port Selby|Kingsmere|Dunley Albion|Stoure",
    "spain_laliga": "Atlético Marenza|Real Corvalán|Peñalta|Vistamar|Deportivo Lorca Alta|Montañés|Sagrera|Almodena",
    "germany_bundesliga": "Grünwalde|Altenfurt|Königsried|SV Marbeck|Oberlahn|Westerhöhe|Haldensee|Nordkirch",
    "italy_serie-a": "Forlì Marina|Castelvento|Valdoria|Monterosso|San Teodoro|Acquaviva|Bellacosta|Torreforte",
    "france_ligue-1": "Étoile Vaudray|Saint-Aubry|Montclair|Orvanne|Belleroche|Côte-Noire|Lavigny|Port-Marais",
    "europe_uefa-champions-league": "Łubnica|Göktepe|Sparta Horní|Marenza FC|Altenfurt 04|Lindhavn|Vaudray OC|Dravno",
}
_KICK_OFF = ("18-00", "20-45", "15-00", "12-30", "17-30", "21-45")

# Streams of random numbers: what a draw is for.
_GAME, _ACTION, _IMAGE, _CALENDAR = range(4)


@dataclasses.dataclass
class _Counts:
    """How far the numbers of a split have been given out."""

    person: int
    frame: int = 0
    boxes: Counter[str] = dataclasses.field(default_factory=Counter)  # by role


class _Action(NamedTuple):
    """One action, before its boxes have roles and names."""

    idx: int
    path: str  # championship/season/game/action
    cast: Sequence[Person]
    frames: Sequence[Frame]
    boxes: Sequence[Box]
    swapped: bool  # the teams have changed ends


class Record(NamedTuple):
    """One thumbnail to be drawn. ``thumbnail`` has its labels even if the split hides them."""

    split: str
    role: str
    thumbnail: Thumbnail
    relative_path: str  # championship/season/game/action
    person: Person
    stance: Stance
    view: View
    box: tuple[float, float, float, float]  # left, bottom, right, top; metres from the person's feet in the image
    neighbours: tuple[Neighbour, ...]
    seed: tuple[int, ...]

    @property
    def member(self) -> str:
        """Name inside the zip of the split."""
        if self.split == "challenge":
            hidden = self.thumbnail._replace(person_uid=None, frame_idx=None, clazz=None, id=None, UAI=None)
            return f"{self.split}/{self.role}/{format_name(hidden)}"
        folder = self.split if self.role == self.split else f"{self.split}/{self.role}"
        return f"{folder}/{self.relative_path}/{format_name(self.thumbnail)}"


def make_split(
    path: Path | str,
    split: str,
    actions: int,
    seed: int,
    labels_path: Path | str | None = None,
    threads: int = 1,
    progress: bool = True,
) -> None:
    """Write the zip of one split. The same split, actions and seed give the same bytes, whatever ``threads``.

    Args:
        path: the zip to write; it appears whole or not at all.
        split: one of ``reid.core.splits.SPLITS``.
        actions: how many.
        seed: 0 .. 2**32 - 1.
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


def write_labels(path: Path | str, actions: int, seed: int) -> None:
    """Write the hidden labels of a challenge as :func:`make_split` does, without drawing its thumbnails."""
    write_json(path, bbox_info(plan_split("challenge", actions, seed)))


def _members(
    records: list[Record], split: str, labels: dict[str, Any], threads: int, shown: tqdm
) -> Iterator[tuple[str, bytes]]:
    for record, content in zip(records, ordered_map(render, records, threads), strict=True):
        shown.update()
        yield record.member, content
    if split != "challenge":
        name = "train_bbox_info.json" if split == "train" else "bbox_info.json"
        yield f"{split}/{name}", json.dumps(labels, ensure_ascii=False).encode()


def render(record: Record) -> bytes:
    """Draw one thumbnail, independent of all others.

    Returns:
        a PNG of the size in the record's name.
    """
    t, person = record.thumbnail, record.person
    rng = np.random.default_rng(record.seed)
    image = draw_thumbnail(
        rng, (t.height, t.width), record.box, person.look, person.kit, record.stance, record.view, record.neighbours
    )
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=3)
    return content.getvalue()


def bbox_info(records: Sequence[Record]) -> dict[str, Any]:
    """Labels in the form of ``bbox_info.json``: flat for train, else {"query": {...}, "gallery": {...}}."""
    entries: dict[str, dict[str, Any]] = {}
    for record in records:
        field = record.thumbnail._asdict()
        height, width = field.pop("height"), field.pop("width")
        entry = field | {"relative_path": record.relative_path, "height": height, "width": width}
        entries.setdefault(record.role, {})[str(record.thumbnail.bbox_idx)] = entry
    return entries["train"] if "train" in entries else {role: entries.get(role, {}) for role in ("query", "gallery")}


# --- the plan -------------------------------------------------------------------------------------------------------


def plan_split(split: str, actions: int, seed: int) -> list[Record]:
    """Decide everything about a split except the pixels.

    Args:
        split: one of ``reid.core.splits.SPLITS``.
        actions: how many.
        seed: 0 .. 2**32 - 1.

    Returns:
        in the order of roles (query, gallery) and bbox_idx.
    """
    number = SPLITS.index(split)
    calendar = _rng(seed, number, _CALENDAR)
    records: list[Record] = []
    counts = _Counts(person=number * 1_000_000)  # persons differ between splits
    made, game = 0, 0
    while made < actions:
        rng = _rng(seed, number, _GAME, game)
        cast, grass, path = make_cast(rng), make_grass(rng), _fixture(rng, number, game)
        for place in range(min(int(calendar.integers(3, 6)), actions - made)):
            rng = _rng(seed, number, _ACTION, game, place)
            frames, boxes = make_action(rng, cast, grass)
            while not _matched(boxes):  # an action without a query is no action
                frames, boxes = make_action(rng, cast, grass)
            action = _Action(made, f"{path}/{place}", cast, frames, boxes, swapped=place >= 2)  # at half-time
            records += _records(rng, split, action, counts, (seed, number, _IMAGE, made))
            made += 1
        game += 1
    return sorted(records, key=lambda record: record.role == "gallery")


def _rng(*key: int) -> np.random.Generator:
    # Padded: SeedSequence takes (1,) and (1, 0) for the same.
    return np.random.default_rng((*key, *(0,) * (6 - len(key))))


def _matched(boxes: Sequence[Box]) -> set[int]:
    """Persons of the action frame (frame 0) that a replay shows again."""
    return {box.person for box in boxes if box.frame == 0} & {box.person for box in boxes if box.frame > 0}


def _records(
    rng: np.random.Generator, split: str, action: _Action, counts: _Counts, draw: tuple[int, ...]
) -> list[Record]:
    """Give the boxes of one action their roles, ids and names."""
    idx, path, cast, frames, boxes, swapped = action
    matched = _matched(boxes)
    shuffled = rng.permutation(sorted({box.person for box in boxes})).tolist()
    uid = {person: counts.person + i for i, person in enumerate(shuffled)}
    counts.person += len(uid)
    ids = _ids(cast, boxes, shuffled)
    hashes = rng.integers(0, 2**32, len(frames))
    records, places = [], [0] * len(frames)
    for i, box in enumerate(boxes):
        shown = cast[box.person]
        role = "train"
        if split != "train":
            role = "query" if box.frame == 0 and box.person in matched else "gallery"
        bbox_idx = counts.boxes[role]
        counts.boxes[role] += 1
        clazz = shown.clazz
        if shown.team is not None:
            clazz += "_team_left" if (shown.team == 0) != swapped else "_team_right"
        code = (
            f"{int(path[path.rindex('/') + 1 :]):03d}r{box.frame:03d}_{hashes[box.frame]:08x}{places[box.frame]:04x}"
        )
        places[box.frame] += 1
        thumbnail = Thumbnail(
            bbox_idx, idx, uid[box.person], counts.frame + box.frame, clazz, ids[box.person], code, *box.size
        )
        view = frames[box.frame].view
        records.append(
            Record(split, role, thumbnail, path, shown, box.stance, view, box.box, box.neighbours, (*draw, i, 0))
        )
    counts.frame += len(frames)
    return records


def _ids(cast: Sequence[Person], boxes: Sequence[Box], order: Sequence[int]) -> dict[int, str]:
    """The id of each person: his number where it can be read, a letter by ``order``, None if he is seen once."""
    seen = Counter(box.person for box in boxes)
    legible = {box.person for box in boxes if box.legible}
    letters = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    ids = {}
    for person in order:
        number = cast[person].look.number
        if seen[person] == 1:
            ids[person] = "None"
        elif person in legible and number is not None:
            ids[person] = str(number)
        else:
            ids[person] = next(letters)
    return ids


def _fixture(rng: np.random.Generator, split: int, game: int) -> str:
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
