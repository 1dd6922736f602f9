"""The gallery page of a split: every query with its ranked gallery, for the eye and not for a program.

A page that opens from disk may not fetch() anything, so all content is script. The page itself holds a few columns
per query, which is all that sorting, filtering and searching need. The rankings and pictures lie beside it in
``PAGE_PARTS`` files, each loaded when one of its actions comes into view. An action lies wholly inside one part.

The pictures of an action are one sprite sheet (JPEG: WebP is a third smaller and takes ten times as long), inside its
part and not beside it: to show one row a browser then decodes the thumbnails of one action, not those of a whole part.
"""

import base64
import io
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from reid.actions import group_actions
from reid.filenames import PAGE_PARTS as PARTS
from reid.files import replacing
from reid.metrics import average_precision, first_hit, rank
from reid.parallel import ordered_map
from reid.ranking import check_ranked, scored_rows
from reid.tables import column
from reid.thumbnails import open_store

COLUMNS = ["role", "bbox_idx", "action_idx", "person_uid", "clazz", "id", "height", "width", "championship", "game"]
_LARGEST = 128  # pixels, height and width of a thumbnail on the page
_QUALITY = 85
_TEMPLATES = Path(__file__).with_name("templates")


class Rankings(NamedTuple):
    """The ranked galleries of a split and how good they are; queries in ascending order of bbox_idx.

    ``actions`` is the list of reid.actions.Action. Of each action, in that order: ``distance``, float64 arrays queries
    x gallery boxes, and ``order``, int64 arrays of the same shape: positions in the action's gallery, best first.
    ``precision`` (float64) and ``first`` (int64, rank of the first right box) hold one element per query; None where
    the labels are hidden.
    """

    actions: list
    distance: list
    order: list
    precision: np.ndarray | None
    first: np.ndarray | None


def part_paths(page):
    """The files beside a page that hold its rankings: a list of Path, one per part."""
    folder = Path(page).with_suffix("")
    return [folder / f"{number:02}.js" for number in range(PARTS)]


def rank_actions(table, pairs, distances_path):
    """Rank the gallery of every query by (distance, bbox_idx), and score it where there are labels.

    Args:
        table: the index of a split (:data:`COLUMNS`).
        pairs: reid.metrics.Pairs of the same split.
        distances_path: their file, for messages.

    Returns:
        Rankings

    Raises:
        ReidError: the index has no queries, or the pairs are not those of its actions.
    """
    ranked = rank(pairs)
    precision = first = None
    if table["person_uid"].null_count:
        check_ranked(ranked, table, distances_path)
    else:
        match, *_ = scored_rows(ranked, table, distances_path)
        precision, first = average_precision(match, ranked.start), first_hit(match, ranked.start)
    # as they stand in the file, or not: by query, then by gallery box
    distance = pairs.distance[np.lexsort((pairs.gallery, pairs.query))]
    bbox, queries = column(table, "bbox_idx"), ranked.query[ranked.start]
    actions, matrices, orders = group_actions(table), [], []
    for action in actions:
        gallery = bbox[action.gallery]
        start = ranked.start[np.searchsorted(queries, bbox[action.query])]
        where = start[:, None] + np.arange(len(gallery))
        matrices.append(distance[where])
        orders.append(np.searchsorted(gallery, ranked.gallery[where]))
    return Rankings(actions, matrices, orders, precision, first)


def divide(sizes, parts):
    """Cut a sequence of actions into parts of about the same number of boxes.

    Args:
        sizes: number of boxes of each action.
        parts: how many; some stay empty where there are fewer actions.

    Returns:
        int64 array, the part of each action, ascending
    """
    ends = np.cumsum(sizes)
    return ((ends - np.asarray(sizes) / 2) * parts / ends[-1]).astype(np.int64)


def tile_size(height, width):
    """Size of a thumbnail on the page: the store's, or as much smaller as it must be.

    Returns:
        (int, int): height, width in pixels
    """
    scale = min(1, _LARGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def sprite(thumbnails, height, width):
    """All thumbnails of an action on one sheet, line by line, about as high as wide.

    Args:
        thumbnails: uint8 array N x H x W x 3.
        height, width: of each on the sheet, pixels.

    Returns:
        (bytes, int): the JPEG; thumbnails per line
    """
    columns = min(len(thumbnails), math.ceil(math.sqrt(len(thumbnails) * height / width)))
    sheet = Image.new("RGB", (columns * width, math.ceil(len(thumbnails) / columns) * height))
    for i, thumbnail in enumerate(thumbnails):
        picture = Image.fromarray(thumbnail)
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=1)
        sheet.paste(picture, (i % columns * width, i // columns * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue(), columns


def _json(content):
    """JSON in ASCII that may stand inside a script element: a name cannot end it."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _codes(values):
    """Number the different values, in ascending order, None last: (list of them, int64 array of numbers)."""
    names = sorted(set(values), key=lambda value: (value is None, value))
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[value] for value in values], np.int64)


def _steps(values):
    """An ascending array as first value and differences, a third of the digits."""
    return np.diff(values, prepend=0).tolist()


def _write_part(task):
    """Write one part; see :func:`write_page`."""
    path, number, store_path, rows, actions = task
    store = open_store(store_path, rows)  # for each part anew: what is mapped of the store goes with it
    height, width = tile_size(*store.shape[1:3])
    content = {}
    for key, action in actions.items():
        picture, columns = sprite(store[action.pop("rows")], height, width)
        content[key] = {**action, "columns": columns, "picture": base64.b64encode(picture).decode()}
    with replacing(path) as partial:
        partial.write_text(f"part({number},{_json(content)});\n", encoding="ascii")


def write_page(path, split, table, rankings, store_path, trained_on=False, workers=1):
    """Write the page of a split and its parts. The same input gives the same bytes.

    Args:
        path: the HTML file to make; the parts are :func:`part_paths` of it.
        split: its name.
        table: its index (:data:`COLUMNS`).
        rankings: Rankings
        store_path: its thumbnails; read part by part, so that memory does not grow with their number.
        trained_on: whether the models were trained on this split; the page then says so.
        workers: number of processes.

    Raises:
        ReidError: the thumbnails are not those of the index, or a file cannot be written.
    """
    tile = tile_size(*open_store(store_path, len(table)).shape[1:3])
    labelled, actions = rankings.precision is not None, rankings.actions
    bbox, person, heights, widths = (column(table, name) for name in ("bbox_idx", "person_uid", "height", "width"))
    classes, class_of = _codes(table["clazz"].to_pylist())
    jerseys, jersey_of = _codes(table["id"].to_pylist())
    games, game_of = _codes(list(zip(table["championship"].to_pylist(), table["game"].to_pylist(), strict=True)))
    part = divide([len(action.query) + len(action.gallery) for action in actions], PARTS)

    def content(action, distance, order):
        rows = np.concatenate([action.query, action.gallery])
        fields = {"bbox": bbox, "class": class_of, "jersey": jersey_of, "height": heights, "width": widths}
        return {
            **{name: values[rows].tolist() for name, values in fields.items()},
            "person": np.unique(person[rows], return_inverse=True)[1].tolist() if labelled else None,
            "distance": [float(f"{value:.6g}") for value in distance.ravel().tolist()],
            "order": order.ravel().tolist(),
            "rows": rows,
        }

    def tasks():
        for number, file in enumerate(part_paths(path)):
            chosen = np.flatnonzero(part == number).tolist()
            found = {i: content(actions[i], rankings.distance[i], rankings.order[i]) for i in chosen}
            yield file, number, store_path, len(table), found

    for _ in ordered_map(_write_part, tasks(), workers):
        pass

    rows = np.concatenate([action.query for action in actions])
    owner = np.repeat(np.arange(len(actions)), [len(action.query) for action in actions])
    place = np.concatenate([np.arange(len(action.query)) for action in actions])
    ascending = np.argsort(bbox[rows])
    rows = rows[ascending]
    data = {
        "split": split,
        "labels": labelled,
        "trainedOn": trained_on,
        "folder": Path(path).stem,
        "tile": tile,
        "classes": classes,
        "jerseys": jerseys,
        "games": games,
        "actions": {
            "idx": [action.action_idx for action in actions],
            "part": part.tolist(),
            "game": [int(game_of[action.query[0]]) for action in actions],
            "gallery": [_steps(bbox[action.gallery]) for action in actions],
        },
        "queries": {
            "bbox": bbox[rows].tolist(),
            "action": owner[ascending].tolist(),
            "place": place[ascending].tolist(),
            "class": class_of[rows].tolist(),
            "jersey": jersey_of[rows].tolist(),
            "height": heights[rows].tolist(),
            "ap": rankings.precision.tolist() if labelled else None,
            "first": rankings.first.tolist() if labelled else None,
        },
    }
    pages = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    style, script = (Markup((_TEMPLATES / name).read_text(encoding="utf-8")) for name in ("browse.css", "browse.js"))
    html = pages.get_template("browse.html").render(
        split=split, labels=labelled, trained_on=trained_on, data=Markup(_json(data)), style=style, script=script
    )
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8")
