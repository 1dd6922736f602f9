"""Synthetic soccer matches in the layout of a SoccerNet-ReID download: the data set that needs no download.

A game has two teams, referees and staff; each of its actions is one action frame and one to three replay frames, in
which a part of them is seen by other cameras. Counts of boxes, queries and matches follow the real splits. Every
random draw hangs on the seed, the split and the place in it, so one thumbnail can be drawn without the others.
"""

import datetime
import io
import json
from typing import NamedTuple

import numpy as np

from reid.archive import pack
from reid.figures import Neighbour, Stance, View
from reid.filenames import SPLITS, Thumbnail, format_name
from reid.files import write_json
from reid.painting import draw_thumbnail
from reid.parallel import ordered_map
from reid.progress import bar
from reid.shots import make_action, make_grass
from reid.squads import Person, make_cast

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
_GAME, _ACTION, _PICTURE, _CALENDAR = range(4)


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
        cast, grass, path = make_cast(rng), make_grass(rng), _fixture(rng, number, game)
        for place in range(min(int(calendar.integers(3, 6)), actions - action)):
            rng = _rng(seed, number, _ACTION, game, place)
            frames, boxes = make_action(rng, cast, grass)
            while not _matched(boxes):  # an action without a query is no action
                frames, boxes = make_action(rng, cast, grass)
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
