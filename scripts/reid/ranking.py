"""The ranking JSON: written, checked, scored.

``{"<query bbox_idx>": [gallery bbox_idx, best first], ...}``: every query, and for each all gallery boxes of its
action exactly once. Stricter than the official evaluator, which ignores an extra query and a key that stands twice,
and dies with a bare KeyError on an unknown box and on ``true``.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reid.actions import group_actions
from reid.archive import member_name, open_zip
from reid.errors import ReidError, summarise
from reid.filenames import SPLITS, is_clutter, parse_name
from reid.files import replacing
from reid.index import build_index, read_bbox_info, read_index
from reid.metrics import Ranked
from reid.tables import column, is_query

BOX_COLUMNS = ["role", "bbox_idx", "action_idx", "person_uid"]  # what a ranking needs of an index
_HIDDEN = "this split has no labels to score with (the challenge's are hidden)"
_STRANGER = "query {}: its person is not in the gallery, so it cannot be scored"


class Boxes(NamedTuple):
    """Query and gallery boxes of a split: dictionaries from bbox_idx to (action_idx, person_uid or None)."""

    query: dict
    gallery: dict

    @property
    def labelled(self):
        return all(person is not None for _, person in (*self.query.values(), *self.gallery.values()))


def read_boxes(path):
    """Read the boxes of a split from an index (``.parquet``), a raw zip or a ``bbox_info.json``.

    Returns:
        Boxes

    Raises:
        ReidError: the file is none of the three, or of the training split.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        table, _ = read_index(path, BOX_COLUMNS)
        return boxes_of_index(table, path)
    if path.suffix == ".zip":
        return boxes_of_index(build_index(path, _split_of(path))[0], path)
    if path.suffix == ".json":
        try:
            info = read_bbox_info(path.read_bytes(), split="valid")
            boxes = [
                {
                    idx: (int(record["action_idx"]), None if (p := record.get("person_uid")) is None else int(p))
                    for idx, record in info[role].items()
                }
                for role in ("query", "gallery")
            ]
        except OSError as error:
            raise ReidError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReidError(f"{path}: is not a bbox_info.json of valid, test or challenge ({error!r})") from error
        if not boxes[0]:
            raise ReidError(f"{path}: holds no query")
        return Boxes(*boxes)
    raise ReidError(f"{path}: give an index (.parquet), a raw zip (.zip) or a bbox_info.json (.json)")


def _split_of(path):
    """The split of a zip, from its members: the challenge has names without labels."""
    with open_zip(path) as archive:
        for info in archive.infolist():
            name = member_name(info)
            if name.split("/")[0] in SPLITS:
                return name.split("/")[0]
            if name.endswith(".png") and not is_clutter(name):
                try:
                    labelled = parse_name(name.rsplit("/", 1)[-1]).person_uid is not None
                except ValueError:
                    continue
                return "valid" if labelled else "challenge"
    raise ReidError(f"{path}: holds no thumbnails")


def boxes_of_index(table, path):
    """Boxes of an index (columns role, bbox_idx, action_idx, person_uid).

    Args:
        table: pyarrow.Table
        path: its file, for messages.

    Raises:
        ReidError: it is of the training split.
    """
    roles = table["role"].to_pylist()
    if "train" in roles:
        raise ReidError(f"{path}: is of the training split, which has no queries")
    person = [None if p < 0 else p for p in column(table, "person_uid").tolist()]
    rows = list(
        zip(roles, column(table, "bbox_idx").tolist(), column(table, "action_idx").tolist(), person, strict=True)
    )
    return Boxes(*({idx: (a, p) for role, idx, a, p in rows if role == wanted} for wanted in ("query", "gallery")))


def read_ranking(path):
    """Read a ranking JSON; every key is an integer in decimal and stands once.

    Returns:
        dict: query key (str) to whatever stands there (see :func:`problems`)

    Raises:
        ReidError: it is no JSON object, or has a key twice.
    """

    def unique(items):
        result = dict(items)
        if len(result) != len(items):
            seen = set()
            twice = next(key for key, _ in items if key in seen or seen.add(key))
            raise ReidError(f"{path}: query {twice} stands twice")
        return result

    try:
        ranking = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=unique)
    except OSError as error:
        raise ReidError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ReidError(f"{path}: is not valid JSON ({error})") from error
    except RecursionError as error:
        raise ReidError(f"{path}: must hold one JSON object with a list for each query") from error
    if not isinstance(ranking, dict):
        raise ReidError(
            f"{path}: must hold one JSON object with a list for each query, not a {type(ranking).__name__}"
        )
    return ranking


def problems(ranking, boxes):
    """Everything that is wrong with a ranking; labels are not needed.

    Args:
        ranking: dict, query bbox_idx as str to list of gallery bbox_idx, best first.
        boxes: Boxes of the split.

    Returns:
        list of str, empty for a ranking that may be submitted
    """
    found = []
    of_action = {}
    for idx, (action, _) in boxes.gallery.items():
        of_action.setdefault(action, set()).add(idx)
    known = {str(idx): idx for idx in boxes.query}
    found += [f"query {idx}: is missing" for key, idx in known.items() if key not in ranking]
    for key, row in ranking.items():
        if key not in known:
            found.append(f"query {key}: there is no such query in this split")
            continue
        if not isinstance(row, list):
            found.append(f"query {key}: has a {type(row).__name__} where a list of gallery boxes should be")
            continue
        foreign = [value for value in row if type(value) is not int]  # bool is an int to isinstance
        if foreign:
            found.append(f"query {key}: {json.dumps(foreign[0])} is not an integer")
            continue
        action = boxes.query[known[key]][0]
        wanted, given = of_action.get(action, set()), set(row)
        if len(given) != len(row):
            seen = set()
            twice = next(value for value in row if value in seen or seen.add(value))
            found.append(f"query {key}: gallery box {twice} stands more than once")
        for value in sorted(given - wanted):
            if value in boxes.gallery:
                found.append(
                    f"query {key}: gallery box {value} is of action {boxes.gallery[value][0]}, the query of {action}"
                )
            else:
                found.append(f"query {key}: there is no gallery box {value}")
        if missing := sorted(wanted - given):
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            found.append(f"query {key}: gallery box {missing[0]}{more} of its action is missing")
    return found


def check(ranking, boxes, path):
    """Raise a :class:`ReidError` with all problems of a ranking, if it has any."""
    if found := problems(ranking, boxes):
        raise ReidError(summarise(found, f"{path} is not a valid ranking"))


def check_ranked(ranked, table, path):
    """:func:`check` for a ranking that is still arrays: quick when all is well.

    Args:
        ranked: reid.metrics.Ranked
        table: the index (columns role, bbox_idx, action_idx, person_uid).
        path: the ranking's file, for messages.

    Raises:
        ReidError: the ranking has problems, or the index is of the training split.
    """
    bbox = column(table, "bbox_idx")
    actions = group_actions(table)
    query = np.concatenate([np.repeat(bbox[a.query], len(a.gallery)) for a in actions])
    gallery = np.concatenate([np.tile(bbox[a.gallery], len(a.query)) for a in actions])
    wanted, given = (np.sort(q << 32 | g) for q, g in ((query, gallery), (ranked.query, ranked.gallery)))
    if not np.array_equal(wanted, given):
        check(ranking_of(ranked), boxes_of_index(table, path), path)


def rows_of(ranked, table):
    """Where the boxes of a checked ranking stand in the index.

    Args:
        ranked: reid.metrics.Ranked
        table: the index (columns role, bbox_idx); it ascends with bbox_idx inside a role.

    Returns:
        (int64 array, int64 array): row of the query and of the box of each (query, gallery box) in ranked order
    """
    bbox, query = column(table, "bbox_idx"), is_query(table)
    return tuple(
        np.flatnonzero(part)[np.searchsorted(bbox[part], boxes)]
        for part, boxes in ((query, ranked.query), (~query, ranked.gallery))
    )


def scored_rows(ranked, table, path):
    """Which boxes of a ranking that is still arrays are right, and where they stand in the index; it is checked first.

    Args:
        ranked, table, path: as for :func:`check_ranked`.

    Returns:
        (bool array, int64 array, int64 array): match and row in the index of each (query, gallery box) in ranked
        order; row of each query, in ascending order of bbox_idx

    Raises:
        ReidError: the ranking has problems, the split has no labels, or a query has no match.
    """
    check_ranked(ranked, table, path)
    person = column(table, "person_uid")
    if (person < 0).any():
        raise ReidError(_HIDDEN)
    own, other = rows_of(ranked, table)
    match = person[own] == person[other]
    stranger = np.flatnonzero(~np.logical_or.reduceat(match, ranked.start))
    if len(stranger):
        raise ReidError(_STRANGER.format(ranked.query[ranked.start[stranger[0]]]))
    return match, other, own[ranked.start]


def matches(ranking, boxes):
    """Which ranked boxes are right.

    Args:
        ranking: a ranking without :func:`problems`.
        boxes: Boxes with labels.

    Returns:
        (bool array, int64 array): match per (query, gallery box) in ranked order, and where each query begins, as
        ``reid.metrics`` takes them; queries in ascending order.

    Raises:
        ReidError: there are no labels, or a query has no match.
    """
    if not boxes.labelled:
        raise ReidError(_HIDDEN)
    hits = {
        query: [boxes.gallery[box][1] == person for box in ranking[str(query)]]
        for query, (_, person) in sorted(boxes.query.items())
    }
    for query, row in hits.items():
        if not any(row):
            raise ReidError(_STRANGER.format(query))
    start = np.cumsum([0, *map(len, hits.values())])[:-1]
    return np.array([hit for row in hits.values() for hit in row], bool), start


def ranking_of(ranked):
    """The ranking JSON's content of :class:`reid.metrics.Ranked`."""
    parts = np.split(ranked.gallery, ranked.start[1:])
    return {str(q): part.tolist() for q, part in zip(ranked.query[ranked.start].tolist(), parts, strict=True)}


def write_ranking(path, ranked: Ranked, table):
    """Check a ranking against the index and write it; an invalid one is not written."""
    check_ranked(ranked, table, path)
    with replacing(path) as partial:
        partial.write_text(json.dumps(ranking_of(ranked)), encoding="utf-8")
