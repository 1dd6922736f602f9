"""What the scripts of a gallery page read: the columns of all queries, and rankings and boxes of each action."""

from typing import Any

import numpy as np
import pyarrow as pa

from reid.core.tables import column
from reid.page import parts
from reid.page.rankings import Rankings

_LABELS = {"uid": "person_uid", "frame": "frame_idx", "uai": "UAI", "file": "member"}  # name here: column
COLUMNS = ["role", "bbox_idx", "action_idx", "clazz", "id", "height", "width", "championship", "game"]
COLUMNS += _LABELS.values()


class Content:
    """The content of a page, as JSON holds it.

    Args:
        table: the index of a split (:data:`COLUMNS`).
        rankings: of the same split.
        before: of an earlier run over the same split, to compare with.

    Attributes:
        part: int64 array, the number of the part that holds each action.
    """

    def __init__(self, table: pa.Table, rankings: Rankings, before: Rankings | None = None) -> None:
        self._rankings, self._before = rankings, before
        names = ("bbox_idx", "person_uid", "height", "width")
        self._bbox, self._person, self._height, self._width = (column(table, name) for name in names)
        self._classes, self._class = _codes(table["clazz"].to_pylist())
        self._jerseys, self._jersey = _codes(table["id"].to_pylist())
        self._labels = {name: table[of] for name, of in _LABELS.items()}
        games = zip(table["championship"].to_pylist(), table["game"].to_pylist(), strict=True)
        self._games, self._game = _codes(list(games))
        self.part = parts.divide(np.array([len(action.query) + len(action.gallery) for action in rankings.actions]))

    def of_part(self, number: int) -> dict[int, dict[str, Any]]:
        """The actions of a part: position of the action to :meth:`of_action`."""
        return {i: self.of_action(i) for i in np.flatnonzero(self.part == number).tolist()}

    def of_action(self, i: int) -> dict[str, Any]:
        """Boxes and rankings of an action: its queries, then its gallery; and ``rows``, where they stand in the index.

        ``distance`` and ``order`` go query by query, and so does ``before``, the order of the earlier run (None where
        there is none). ``person`` numbers the people of the action; None where the labels are hidden.
        """
        action = self._rankings.actions[i]
        rows = np.concatenate([action.query, action.gallery])
        labelled = self._rankings.ap is not None
        return {
            "bbox": self._bbox[rows].tolist(),
            "class": self._class[rows].tolist(),
            "jersey": self._jersey[rows].tolist(),
            "height": self._height[rows].tolist(),
            "width": self._width[rows].tolist(),
            "person": np.unique(self._person[rows], return_inverse=True)[1].tolist() if labelled else None,
            "distance": [float(f"{value:.6g}") for value in self._rankings.distance[i].ravel().tolist()],
            "order": self._rankings.order[i].ravel().tolist(),
            "before": None if self._before is None else self._before.order[i].ravel().tolist(),
            **{name: values.take(rows).to_pylist() for name, values in self._labels.items()},
            "rows": rows,
        }

    def of_page(self) -> dict[str, Any]:
        """What sorting, filtering and searching need: names, actions, and a few columns of all queries."""
        actions = self._rankings.actions
        rows = np.concatenate([action.query for action in actions])
        owner = np.repeat(np.arange(len(actions)), [len(action.query) for action in actions])
        place = np.concatenate([np.arange(len(action.query)) for action in actions])
        ascending = np.argsort(self._bbox[rows])
        rows = rows[ascending]
        return {
            "classes": self._classes,
            "jerseys": self._jerseys,
            "games": self._games,
            "actions": {
                "idx": [action.action_idx for action in actions],
                "part": self.part.tolist(),
                "game": [int(self._game[action.query[0]]) for action in actions],
                "gallery": [_steps(self._bbox[action.gallery]) for action in actions],
            },
            "queries": {
                "bbox": self._bbox[rows].tolist(),
                "action": owner[ascending].tolist(),
                "place": place[ascending].tolist(),
                "class": self._class[rows].tolist(),
                "jersey": self._jersey[rows].tolist(),
                "height": self._height[rows].tolist(),
                **_scores(self._rankings),
                "before": None if self._before is None else _scores(self._before),
            },
        }


def _codes(values: list[Any]) -> tuple[list[Any], np.ndarray]:
    """Number the different values, in ascending order, None last: all of them, and an int64 array of numbers."""
    names = sorted(set(values), key=lambda value: (value is None, value))
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[value] for value in values], np.int64)


def _scores(rankings: Rankings) -> dict[str, list[float] | list[int] | None]:
    """AP and rank of the first match, query by query."""
    ap, first = rankings.ap, rankings.first_match_rank
    return {
        "ap": None if ap is None else ap.tolist(),
        "firstMatchRank": None if first is None else first.tolist(),
    }


def _steps(values: np.ndarray) -> list[int]:
    """An ascending array as first value and differences, a third of the digits."""
    return np.diff(values, prepend=0).tolist()
