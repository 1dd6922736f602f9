"""What a model trains on: rows of one or more splits, as if they were one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid.core.arrays import CheckedArray
from reid.core.errors import ReidError
from reid.core.tables import column, labels

# Beginnings of the classes of file names (reid.raw.filenames) for those of train.classes.
_CLASSES = {
    "player": ("Player_",),
    "goalkeeper": ("Goalkeeper_",),
    "referee": ("Main_referee", "Side_referee"),
    "staff": ("Staff_",),
}


class Images:
    """The stores of several splits, end to end.

    Args:
        stores: uint8 arrays N x H x W x 3, memory-mapped (reid.data.thumbnails.open_store).
    """

    def __init__(self, stores: Sequence[np.ndarray | CheckedArray]) -> None:
        self.stores, self.first = stores, np.cumsum([0, *map(len, stores)])
        self.shape = (int(self.first[-1]), *stores[0].shape[1:])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """uint8 array, B x H x W x 3, of ``rows`` (int array, B)."""
        if len(self.stores) == 1:
            return self.stores[0][rows]
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for store, start, end in zip(self.stores, self.first, self.first[1:], strict=False):
            own = (rows >= start) & (rows < end)
            images[own] = store[rows[own] - start]
        return images


@dataclass(frozen=True, eq=False)
class Identities:
    """Rows to train on (of :class:`Images`), with the identity, action and game of each: int64 arrays, N.

    An identity (a class of the training) is a person of one action of one split, from 0; actions and games are
    numbered from 0 too. A game that stands in several splits is one game. The arrays cannot be written to: every epoch
    draws from the same ones, in a resumed training too.
    """

    rows: np.ndarray
    identity: np.ndarray
    action: np.ndarray
    game: np.ndarray

    def __post_init__(self) -> None:
        for array in (self.rows, self.identity, self.action, self.game):
            array.flags.writeable = False

    @property
    def count(self) -> int:
        """How many identities there are."""
        return int(self.identity.max()) + 1


def _is_of(table: Any, classes: Sequence[str]) -> np.ndarray:
    """Which rows of an index are of some classes of people: bool array."""
    if not classes:
        return np.ones(len(table), bool)
    code, names = labels(table, "clazz")
    return np.array([any(name.startswith(_CLASSES[one]) for one in classes) for name in names], bool)[code]


def select_identities(tables: Sequence[Any], subset: float, classes: Sequence[str] = ()) -> Identities:
    """Rows of the first ``subset`` of the actions of each split (the dev kit's ``training_subset``).

    Args:
        tables: indexes of the splits to train on (pyarrow.Table).
        subset: share in (0, 1].
        classes: of people to train on, as in reid.params.data.Train; none for all.

    Raises:
        ReidError: there is no action in that share, nobody of these classes, or an index has no labels.
    """
    rows, actions, persons, first = [], [], [], 0
    games: list[str] = []
    for split, table in enumerate(tables):
        action, person = column(table, "action_idx"), column(table, "person_uid")
        if person.min() < 0:
            raise ReidError("the index has no labels to train on (the challenge's are hidden)")
        own = np.flatnonzero(action < (action.max() + 1) * subset)
        if not len(own):
            raise ReidError(f"subset: there is no action in the first {subset} of them; make subset larger")
        own = own[_is_of(table, classes)[own]]
        rows.append(own + first)
        actions.append(split << 32 | action[own])  # numbers hold inside a split
        persons.append(person[own])
        names = (np.array(table[level].to_pylist(), object)[own] for level in ("championship", "season", "game"))
        games += map("/".join, zip(*names, strict=True))
        first += len(table)
    if not games:
        raise ReidError(f"train.classes: there is nobody of {', '.join(classes)} to train on; name other classes")
    action = np.unique(np.concatenate(actions), return_inverse=True)[1]
    identity = np.unique(action << 32 | np.concatenate(persons), return_inverse=True)[1]
    number = {name: i for i, name in enumerate(sorted(set(games)))}
    return Identities(np.concatenate(rows), identity, action, np.array([number[name] for name in games]))
