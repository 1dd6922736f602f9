"""Zips of the true size and structure, made up: for benchmarks, where the data are not at hand.

Counts are the published ones; queries and gallery boxes per action are those of the real valid and challenge
(``actions.json``: how many actions have so many queries and so many gallery boxes; their order is made up), test is
drawn from valid's. Of the people of train 3 % have four images or more and 33.5 % two, as published; the shares of
one and of three are those that the published totals leave.
"""

import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from reid.raw.archive import pack
from reid.raw.filenames import CLASSES, Thumbnail, format_name

# actions, people, queries, gallery boxes (train: images)
COUNTS = {
    "train": (9_189, 161_443, 0, 248_234),
    "valid": (1_751, 29_534, 11_638, 34_355),
    "test": (1_715, 30_059, 11_777, 34_989),
    "challenge": (1_310, None, 9_021, 26_082),
}
TOTAL = sum(queries + gallery for _, _, queries, gallery in COUNTS.values())
MEAN_BYTES = 18.6e9 / TOTAL  # of an image
LEAGUES = ("england_epl", "spain_laliga", "italy_serie-a", "germany_bundesliga", "france_ligue-1", "europe_uefa")
ACTIONS_PER_GAME = 30
CLASS_SHARE = (0.43, 0.43, 0.025, 0.025, 0.05, 0.02, 0.02)


class Boxes(NamedTuple):
    """The boxes of a split, query boxes first, both in the order of their actions: int64 arrays (N)."""

    is_query: np.ndarray
    action: np.ndarray
    person: np.ndarray


def shapes(split, rng):
    """Queries and gallery boxes of every action of valid, test or challenge: int64 array, actions x 2."""
    known = json.loads(Path(__file__).with_name("actions.json").read_text(encoding="utf-8"))
    table = np.array(known["valid" if split == "test" else split])
    pairs = np.repeat(table[:, :2], table[:, 2], axis=0)
    actions, _, queries, gallery = COUNTS[split]
    if split != "test":
        return rng.permutation(pairs)
    pairs = pairs[rng.integers(len(pairs), size=actions)]
    while (more := queries - pairs[:, 0].sum()) or gallery != pairs[:, 1].sum():
        if more > 0:  # a query comes with a match
            pairs[rng.choice(actions, more, replace=False)] += 1
        elif more < 0:
            several = np.flatnonzero((pairs[:, 0] > 1) & (pairs[:, 1] > 1))
            pairs[rng.choice(several, min(-more, len(several)), replace=False)] -= 1
        else:
            rest = gallery - pairs[:, 1].sum()
            free = np.arange(actions) if rest > 0 else np.flatnonzero(pairs[:, 1] > pairs[:, 0])
            pairs[rng.choice(free, min(abs(rest), len(free)), replace=False), 1] += np.sign(rest)
    return pairs


def draw_boxes(split, share=1.0, seed=1):
    """Draw the boxes of a split.

    Args:
        split: train, valid, test or challenge.
        share: of the actions that are made.
        seed: of all that is drawn.

    Returns:
        Boxes; the number of boxes and actions is the published one where ``share`` is 1.
    """
    rng = np.random.default_rng([seed, *split.encode()])
    actions, people, _, count = COUNTS[split]
    kept = max(1, round(share * actions))
    if split == "train":
        action, person = _draw_train(actions, people, count, rng)
        part = action < kept
        return Boxes(np.zeros(part.sum(), bool), action[part], person[part])
    queries, gallery = shapes(split, rng)[:kept].T
    query_action, gallery_action = (np.repeat(np.arange(kept), count) for count in (queries, gallery))
    query_person = np.arange(len(query_action))
    # each query's match first, then anybody of the action or somebody who is in no query
    place = np.arange(len(gallery_action)) - np.repeat(np.cumsum(gallery) - gallery, gallery)
    first = np.repeat(np.cumsum(queries) - queries, gallery)
    several = np.repeat(queries, gallery)
    known = place < several
    _, people, queries_, gallery_ = COUNTS["valid" if people is None else split]
    others = np.flatnonzero(~known)
    alone = round(len(others) * (people - queries_) / (gallery_ - queries_))  # the published number of people
    lonely = np.zeros(len(place), bool)
    lonely[rng.choice(others, alone, replace=False)] = True
    gallery_person = first + np.where(known, place, rng.integers(several))
    gallery_person[lonely] = len(query_person) + np.arange(lonely.sum())
    return Boxes(
        np.repeat([True, False], [len(query_person), len(gallery_person)]),
        np.concatenate([query_action, gallery_action]),
        np.concatenate([query_person, gallery_person]),
    )


def _draw_train(actions, people, count, rng):
    """The action and person of each image: int64 arrays."""
    four, two = round(0.03 * people), round(0.335 * people)
    size = np.ones(people, np.int64)
    size[:four] = np.minimum(4 + rng.geometric(0.6, four) - 1, 10)
    size[four : four + two] = 2
    three = (count - size.sum()) // 2
    size[four + two : four + two + three] = 3
    size[-1] += count - size.sum()
    rng.shuffle(size)
    action_of = np.sort(np.concatenate([np.arange(actions), rng.integers(actions, size=people - actions)]))
    return np.repeat(action_of, size), np.repeat(np.arange(people), size)


def images(count, rng, height=None, width=None):
    """PNG files like the real ones: mean about 49 KB, heights of 30 to 775 pixels; grain makes them hard to pack.

    Args:
        count: how many.
        rng: numpy.random.Generator
        height, width: of all of them, instead of sizes that are drawn.

    Returns:
        list of (bytes, height, width)
    """
    files = []
    for _ in range(count):
        h = height or int(np.clip(rng.lognormal(np.log(205), 0.45), 30, 775))
        w = width or max(15, round(h / rng.uniform(1.9, 3.1)))
        rough = Image.fromarray(rng.integers(30, 225, (max(2, h // 12), max(2, w // 12), 3), dtype=np.uint8))
        smooth = np.asarray(rough.resize((w, h), Image.Resampling.BICUBIC), np.float32)
        grain = rng.normal(0, 4, (h, w, 1)) + rng.normal(0, 2, (h, w, 3))
        file = io.BytesIO()
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(file, "PNG")
        files.append((file.getvalue(), h, w))
    return files


def members(split, boxes, contents, seed=1):
    """Names and contents of a split's zip: the images, then ``bbox_info.json`` where there are labels.

    Args:
        split: train, valid, test or challenge.
        boxes: Boxes
        contents: list of (bytes, height, width), taken in turns.
        seed: of frames, classes and jerseys.

    Yields:
        (str, bytes)
    """
    rng = np.random.default_rng([seed, 1, *split.encode()])
    count = len(boxes.action)
    clazz = rng.choice(CLASSES[: len(CLASS_SHARE)], count, p=CLASS_SHARE).tolist()
    jersey = rng.integers(-40, 100, count).tolist()
    frame = (boxes.action * 3 + rng.integers(3, size=count)).tolist()
    number = {True: 0, False: 0}
    info = {role: {} for role in ([split] if split == "train" else ["query", "gallery"])}
    for i, (query, action, person) in enumerate(zip(*(column.tolist() for column in boxes), strict=True)):
        content, height, width = contents[i % len(contents)]
        box, number[query] = number[query], number[query] + 1
        game = action // ACTIONS_PER_GAME
        folder = split if split == "train" else f"{split}/{'query' if query else 'gallery'}"
        if split == "challenge":
            thumbnail = Thumbnail(box, action, None, None, None, None, None, height, width)
        else:
            folder += f"/{LEAGUES[game % len(LEAGUES)]}/{2014 + game % 3}-{2015 + game % 3}"
            folder += f"/2015-02-21 - 18-00 Home {game} 2 - 1 Away {game}/{action % ACTIONS_PER_GAME}"
            name = str(jersey[i]) if jersey[i] >= 0 else "None"
            uai = f"{i % 1000:03d}r{i % 7:03d}_{i:012x}"
            thumbnail = Thumbnail(box, action, person, frame[i], clazz[i], name, uai, height, width)
            path = "/".join(folder.split("/")[-4:])
            info[folder.split("/")[split != "train"]][str(box)] = {**thumbnail._asdict(), "relative_path": path}
        yield f"{folder}/{format_name(thumbnail)}", content
    if split == "train":
        yield "train/train_bbox_info.json", json.dumps(info["train"]).encode()
    elif split != "challenge":
        yield f"{split}/bbox_info.json", json.dumps(info).encode()


def make_zip(path, split, share=1.0, contents=None, seed=1):
    """Write the zip of a split.

    Args:
        path: the zip to make.
        split, share, seed: as for :func:`draw_boxes`.
        contents: as for :func:`members`; by default one image of 2 x 1 pixels whose name says 2x1.

    Returns:
        Boxes
    """
    boxes = draw_boxes(split, share, seed)
    if contents is None:
        contents = images(1, np.random.default_rng(seed), 2, 1)
    pack(path, members(split, boxes, contents, seed))
    return boxes
