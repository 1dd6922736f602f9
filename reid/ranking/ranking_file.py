"""The ranking JSON: read, checked, written.

``{"<query bbox_idx>": [gallery bbox_idx, best first], ...}``: every query, and for each all gallery boxes of its
action exactly once. Stricter than the official evaluator, which ignores an extra query and a key that stands twice,
and dies with a bare KeyError on an unknown box and on ``true``.

Whether a ranking is valid is decided on arrays (:func:`_complete`), in milliseconds; only what is wrong with one that
is not is looked for query by query (:func:`problems`).
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reid.core.errors import ReidError, summarise
from reid.core.files import read_json, replacing
from reid.core.forms import short
from reid.core.tables import column, is_query
from reid.data.actions import group_actions
from reid.retrieval.order import Ranked

_LARGEST = 1 << 25  # bytes: ten times what the largest split takes, each box on a line of its own


def read_ranking(path: Path | str) -> dict[str, Any]:
    """Read a ranking JSON.

    Returns:
        dict: query key to whatever stands there (see :func:`check_ranking`)

    Raises:
        ReidError: it is no JSON object, is larger than a ranking can be, has a key twice, or holds a number that is
            none.
    """
    ranking = read_json(path, _LARGEST)
    if not isinstance(ranking, dict):
        raise ReidError(f"{path}: must hold one JSON object with a list for each query, not {_kind(ranking)}")
    return ranking


def _kind(value: Any) -> str:
    """What a value of JSON is, in words."""
    named = {list: "a list", dict: "an object", str: "a text", bool: "true or false", type(None): "null"}
    return named.get(type(value), "a number")


def _query(key: str) -> str:
    """A key for a message: as it is where it is a number, else as JSON has it."""
    return f"query {key if key.isascii() and key.isdigit() and len(key) < 20 else short(key)}"


def _first_double(values: Iterable[Any]) -> Any:
    return next(value for value, times in Counter(values).items() if times > 1)


def problems(ranking: dict[str, Any], table: pa.Table) -> Iterator[str]:
    """Everything that is wrong with a ranking; labels are not needed.

    Args:
        ranking: query bbox_idx as str to list of gallery bbox_idx, best first, or to anything else that JSON can hold.
        table: boxes of the split (columns role, bbox_idx, action_idx).

    Yields:
        str, a line each; none for a ranking that may be submitted
    """
    bbox, action, query = column(table, "bbox_idx"), column(table, "action_idx"), is_query(table)
    action_of_box = dict(zip(bbox[~query].tolist(), action[~query].tolist(), strict=True))
    action_of_query = {str(idx): own for idx, own in zip(bbox[query].tolist(), action[query].tolist(), strict=True)}
    boxes_of_action: dict[int, set[int]] = {}
    for idx, own in action_of_box.items():
        boxes_of_action.setdefault(own, set()).add(idx)
    yield from (f"query {key}: is missing" for key in action_of_query if key not in ranking)
    for key, row in ranking.items():
        if key not in action_of_query:
            yield f"{_query(key)}: there is no such query in this split"
        elif not isinstance(row, list):
            yield f"query {key}: has {_kind(row)} where a list of gallery boxes should be"
        elif foreign := [value for value in row if type(value) is not int]:  # bool is an int to isinstance
            yield f"query {key}: {short(foreign[0])} is not an integer"
        else:
            own = action_of_query[key]
            of_row = _problems_of(row, own, boxes_of_action.get(own, set()), action_of_box)
            yield from (f"query {key}: {problem}" for problem in of_row)


def _problems_of(row: list[int], own: int, wanted: set[int], action_of_box: dict[int, int]) -> Iterator[str]:
    """What is wrong with the list of one query, of action ``own``, whose gallery boxes are ``wanted``."""
    given = set(row)
    if not wanted:
        yield f"the split has no gallery box of its action {own}"
    if len(given) != len(row):
        yield f"gallery box {short(_first_double(row))} stands more than once"
    for value in sorted(box for box in given - wanted if box in action_of_box):
        yield f"gallery box {value} is of action {action_of_box[value]}, the query of {own}"
    if unknown := sorted(given.difference(action_of_box)):
        yield f"there is no gallery box {short(unknown[0])}{_more(unknown)}"
    if missing := sorted(wanted - given):
        yield f"gallery box {missing[0]}{_more(missing)} of its action is missing"


def _more(values: list[int]) -> str:
    return f" and {len(values) - 1} more" if len(values) > 1 else ""


def _complete(ranked: Ranked, table: pa.Table) -> bool:
    """Whether a ranking has no :func:`problems`."""
    actions = group_actions(table)
    if any((ids >> 31).any() for ids in (ranked.query, ranked.gallery)) or not all(len(a.gallery) for a in actions):
        return False  # numbers that no box has would not fit beside each other
    bbox = column(table, "bbox_idx")
    query = np.concatenate([np.repeat(bbox[a.query], len(a.gallery)) for a in actions])
    gallery = np.concatenate([np.tile(bbox[a.gallery], len(a.query)) for a in actions])
    wanted, given = (np.sort(q << 32 | g) for q, g in ((query, gallery), (ranked.query, ranked.gallery)))
    return np.array_equal(wanted, given)


def _refusal(ranking: dict[str, Any], table: pa.Table, path: Path | str, boxes: Path | str) -> ReidError:
    of = f" of the boxes in {boxes}" if boxes else ""
    return ReidError(summarise(problems(ranking, table), f"{path} is not a valid ranking{of}"))


def check_ranked(ranked: Ranked, table: pa.Table, path: Path | str, boxes: Path | str = "") -> None:
    """Check a ranking.

    Args:
        ranked: the ranking.
        table: boxes of the split (columns role, bbox_idx, action_idx).
        path, boxes: the files of the ranking and of the boxes, for messages.

    Raises:
        ReidError: the ranking has :func:`problems`, all in one message; or the boxes are of the training split.
    """
    if not _complete(ranked, table):
        raise _refusal(ranking_of(ranked), table, path, boxes)


def check_ranking(ranking: dict[str, Any], table: pa.Table, path: Path | str, boxes: Path | str = "") -> Ranked:
    """Check the content of a ranking JSON.

    Args:
        ranking: of :func:`read_ranking`.
        table, path, boxes: as for :func:`check_ranked`.

    Returns:
        Ranked: the same as arrays, queries in ascending order of bbox_idx.

    Raises:
        ReidError: as :func:`check_ranked`.
    """
    ranked = _arrays(ranking, table)
    if ranked is None or not _complete(ranked, table):
        raise _refusal(ranking, table, path, boxes)
    return ranked


def _arrays(ranking: dict[str, Any], table: pa.Table) -> Ranked | None:
    """A ranking as arrays; None if a key is not a query or a list holds anything but integers."""
    known = {str(idx): idx for idx in column(table, "bbox_idx")[is_query(table)].tolist()}
    for key, row in ranking.items():
        if key not in known or not isinstance(row, list) or any(type(value) is not int for value in row):
            return None
    rows = sorted((known[key], row) for key, row in ranking.items())
    sizes = [len(row) for _, row in rows]
    query = np.repeat(np.array([idx for idx, _ in rows], np.int64), sizes)
    try:
        gallery = np.array([box for _, row in rows for box in row], np.int64)
    except OverflowError:  # no box has such a number
        return None
    return Ranked(query, gallery, np.cumsum([0, *sizes])[:-1])


def ranking_of(ranked: Ranked) -> dict[str, list[int]]:
    """The ranking JSON's content."""
    parts = np.split(ranked.gallery, ranked.start[1:])
    return {str(q): part.tolist() for q, part in zip(ranked.query[ranked.start].tolist(), parts, strict=True)}


def write_ranking(
    path: Path | str, ranked: Ranked, table: pa.Table, source: Path | str = "", boxes: Path | str = ""
) -> None:
    """Check a ranking against the boxes of its split and write it; an invalid one is not written.

    Args:
        path: the file to make.
        ranked, table: as for :func:`check_ranked`.
        source, boxes: what was ranked, and the file of the boxes, for messages.
    """
    check_ranked(ranked, table, source or path, boxes)
    with replacing(path) as partial:
        partial.write_text(json.dumps(ranking_of(ranked)), encoding="utf-8")
