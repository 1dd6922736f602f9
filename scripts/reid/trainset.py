"""What a model trains on: rows of one or more splits, as if they were one, and the batches of an epoch."""

from typing import NamedTuple

import numpy as np

from reid.errors import ReidError
from reid.samplers import action_batches, identity_batches
from reid.tables import column


class Pictures:
    """The stores of several splits, end to end.

    Args:
        stores: list of uint8 arrays N x H x W x 3, memory-mapped.
    """

    def __init__(self, stores):
        self.stores, self.first = stores, np.cumsum([0, *map(len, stores)])
        self.shape = (int(self.first[-1]), *stores[0].shape[1:])

    def __getitem__(self, rows):
        """uint8 array, B x H x W x 3, of ``rows`` (int array, B)."""
        if len(self.stores) == 1:
            return self.stores[0][rows]
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for store, start, end in zip(self.stores, self.first, self.first[1:], strict=False):
            own = (rows >= start) & (rows < end)
            found[own] = store[rows[own] - start]
        return found


class People(NamedTuple):
    """Rows to train on (of :class:`Pictures`), with the class, action and game of each: int64 arrays.

    A class is a person of one action of one split, from 0; actions and games are numbered from 0 too. A game that
    stands in several splits is one game.
    """

    rows: np.ndarray
    person: np.ndarray
    action: np.ndarray
    game: np.ndarray


def select_people(tables, subset):
    """Rows of the first ``subset`` of the actions of each split (the dev kit's ``training_subset``).

    Args:
        tables: indices of the splits to train on.
        subset: share in (0, 1].

    Returns:
        People

    Raises:
        ReidError: there is no action in that share, or an index has no labels.
    """
    rows, keys, games, first = [], [], [], 0
    for split, table in enumerate(tables):
        action, person = column(table, "action_idx"), column(table, "person_uid")
        if person.min() < 0:
            raise ReidError("the index has no labels to train on (the challenge's are hidden)")
        own = np.flatnonzero(action < (action.max() + 1) * subset)
        if not len(own):
            raise ReidError(f"subset: there is no action in the first {subset} of them; make subset larger")
        rows.append(own + first)
        keys.append(np.stack([np.full(len(own), split), action[own], person[own]], axis=1))
        names = [np.array(table[level].to_pylist(), object)[own] for level in ("championship", "season", "game")]
        games.append(np.array(["/".join(parts) for parts in zip(*names, strict=True)]))
        first += len(table)
    keys = np.concatenate(keys)
    return People(
        np.concatenate(rows),
        np.unique(keys, axis=0, return_inverse=True)[1].ravel(),
        np.unique(keys[:, :2], axis=0, return_inverse=True)[1].ravel(),
        np.unique(np.concatenate(games), return_inverse=True)[1].ravel(),
    )


def epoch_batches(people, sampler, rng):
    """Rows of each batch of one epoch, as the model's sampler draws them.

    Args:
        people: People
        sampler: reid.params.IdentitySampler or ActionSampler
        rng: numpy.random.Generator

    Returns:
        list of int arrays

    Raises:
        ReidError: there are too few people for one batch.
    """
    if sampler.kind == "identity":
        batches = identity_batches(people.rows, people.person, sampler.people, sampler.images, rng)
    else:
        sizes = sampler.actions, sampler.people, sampler.images
        game = people.game if sampler.neighbours == "game" else None
        batches = action_batches(people.rows, people.person, people.action, *sizes, rng, game)
    if not batches:
        raise ReidError(
            f"sampler: {len(np.unique(people.person))} people in {len(np.unique(people.action))} actions are too few "
            f"for one batch of {sampler}; make the batch smaller or subset larger"
        )
    return batches
