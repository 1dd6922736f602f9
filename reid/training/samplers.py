"""Which rows of the training index make up each batch of an epoch."""

from typing import Any

import numpy as np

from reid.core.errors import ReidError
from reid.params import extensions
from reid.params.base import Section
from reid.params.registries import SAMPLERS
from reid.params.sampler import ActionSampler, IdentitySampler, RandomSampler
from reid.training.dataset import Identities


def epoch_batches(identities: Identities, sampler: Section, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of each batch of one epoch, as the model's sampler draws them.

    Args:
        identities: what there is to draw from.
        sampler: parameters of one of the registry ``SAMPLERS``.
        rng: of what is left to chance.

    Returns:
        list of int arrays

    Raises:
        ReidError: there are too few identities for one batch, or an extension's sampler fails or draws what there is
            not.
    """
    kind: str = sampler.kind  # type: ignore[attr-defined]
    builder = SAMPLERS.builder(kind)
    with extensions.named(builder, f"sampler: {kind}"):
        batches = list(builder(identities, sampler, rng))
    if not batches:
        raise ReidError(
            f"sampler: {identities.count} identities in {len(np.unique(identities.action))} actions are too few "
            f"for one batch of {sampler}; make the batch smaller or subset larger"
        )
    if extension := extensions.source(builder):
        wrong = [batch for batch in batches if not _is_batch(batch, identities.rows)]
        if wrong:
            raise ReidError(
                f"sampler: {kind}{extension}: a batch must be an int array of rows to train on, at least one, "
                f"not {wrong[0]!r}"
            )
        return [np.ascontiguousarray(batch, np.int64) for batch in batches]
    return batches


def _is_batch(batch: Any, rows: np.ndarray) -> bool:
    is_array = isinstance(batch, np.ndarray) and batch.ndim == 1 and batch.dtype.kind in "iu"
    return is_array and len(batch) > 0 and bool(np.isin(batch, rows).all())


@SAMPLERS.implement("identity")
def _identity(identities: Identities, params: IdentitySampler, rng: np.random.Generator) -> list[np.ndarray]:
    return identity_batches(identities.rows, identities.identity, params.identities, params.instances, rng)


@SAMPLERS.implement("actions")
def _actions(identities: Identities, params: ActionSampler, rng: np.random.Generator) -> list[np.ndarray]:
    sizes = params.actions, params.identities, params.instances
    game = identities.game if params.neighbours == "game" else None
    return action_batches(identities.rows, identities.identity, identities.action, *sizes, rng, game)


@SAMPLERS.implement("random")
def _random(identities: Identities, params: RandomSampler, rng: np.random.Generator) -> list[np.ndarray]:
    return random_batches(identities.rows, params.images, rng)


def _starts(*keys: np.ndarray) -> np.ndarray:
    """Where each run of equal keys begins, in arrays that are sorted by them."""
    new = np.ones(len(keys[0]), dtype=bool)
    new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.flatnonzero(new)


def _count_up(lengths: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... inside each of the runs of such lengths, end to end."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def identity_batches(
    rows: np.ndarray, identity: np.ndarray, identities: int, instances: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Batches of the dev kit's RandomIdentitySampler: ``identities`` (P) with ``instances`` (K) images each.

    Every identity's images are shuffled and cut into groups of ``instances`` (what is left over is not used); one with
    fewer is drawn with replacement. Batches take identities at random from those that have a group left, until fewer
    than ``identities`` have.

    Args:
        rows: int array (N), rows of the index to draw from.
        identity: int array (N), the identity of each of them.
        identities, instances: size of a batch.
        rng: of what is left to chance.

    Returns:
        list of int arrays of ``identities * instances`` rows
    """
    order = np.lexsort((rng.random(len(rows)), identity))
    start = _starts(identity[order])
    size = np.diff(start, append=len(rows))
    groups = np.maximum(size // instances, 1)
    owner, number = np.repeat(np.arange(len(size)), groups), _count_up(groups)
    place = number[:, None] * instances + np.arange(instances)  # of a group's images among its identity's
    few = size[owner] < instances
    place[few] = rng.integers(size[owner[few], None], size=(few.sum(), instances))
    images = rows[order[start[owner][:, None] + place]]

    # Identities wait in random order, the last ones are next; one with another group joins again at a random place.
    queue = rng.permutation(np.cumsum(groups) - 1).tolist()  # the last group left of each identity
    more = (number > 0).tolist()
    chance = iter(rng.random(len(number)).tolist())
    drawn: list[int] = []
    while len(queue) >= identities:
        batch = queue[-identities:]
        del queue[-identities:]
        drawn += batch
        for group in batch:
            if more[group]:
                queue.append(group - 1)
                k = int(next(chance) * len(queue))
                queue[k], queue[-1] = queue[-1], queue[k]
    return list(images[np.array(drawn, dtype=np.int64)].reshape(-1, identities * instances))


def random_batches(rows: np.ndarray, images: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches of any images: each of them once an epoch.

    Args:
        rows: int array (N), rows of the index to draw from.
        images: per batch at most; batches are as equal as they can be, so that with 3 and more none has less than two.
        rng: of what is left to chance.

    Returns:
        list of int arrays
    """
    return np.array_split(rng.permutation(rows), -(-len(rows) // images)) if len(rows) > 1 else []


def _batch_by_game(game: np.ndarray, actions: int, rng: np.random.Generator) -> np.ndarray:
    """Number of the batch that each action goes into, ``actions`` of them in each: of one game as long as it has them.

    Args:
        game: int array (A), the game of each action.

    Returns:
        int64 array (A)
    """
    games, game = np.unique(game, return_inverse=True)
    game = rng.permutation(len(games))[game]
    order = np.lexsort((rng.random(len(game)), game))
    size = np.bincount(game)
    whole = _count_up(size) < np.repeat(size - size % actions, size)
    order = np.concatenate([order[whole], order[~whole]])  # the rests of the games, end to end, come last
    batch = rng.permutation(-(-len(order) // actions))
    return batch[np.argsort(order) // actions]


def action_batches(
    rows: np.ndarray,
    identity: np.ndarray,
    action: np.ndarray,
    actions: int,
    identities: int | None,
    instances: int | None,
    rng: np.random.Generator,
    game: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Batches of whole actions: those whom a query will be compared with are in its batch, as its negatives.

    Each action in which an identity has two or more images comes once in an epoch. From it come up to ``identities``,
    those with two or more images first, with up to ``instances`` different images each; identities with one image are
    negatives for the others. Which of equal identities and which images is left to chance. A number of ``identity`` in
    two actions means two identities.

    Batches take any ``actions`` actions, or with ``game`` those of the same game first: a game's actions are dealt at
    random into batches of ``actions``, the few that are left over are laid end to end, games in random order, and cut
    likewise, and the batches are shuffled. One batch may be smaller: the last one without ``game``, any one with it.

    Args:
        rows: int array (N), rows of the index to draw from.
        identity, action: int arrays (N), the identity and action of each of them.
        actions: actions per batch.
        identities, instances: identities per action and images per identity at most; None for all.
        rng: of what is left to chance.
        game: int array (N), the game of each row, the same for all rows of an action; or None.

    Returns:
        list of int arrays, in each an identity's rows and an action's identities side by side
    """
    order = np.lexsort((rng.random(len(rows)), identity, action))
    identity, action = identity[order], action[order]
    first = _starts(action, identity)  # from here on one element per identity
    size = np.diff(first, append=len(rows))
    start = _starts(action[first])  # one element per action
    number = np.repeat(np.arange(len(start)), np.diff(start, append=len(first)))  # the action of each identity
    with_pair = np.zeros(len(start), dtype=bool)
    with_pair[number[size > 1]] = True
    if not with_pair.any():
        return []

    batch = np.full(len(start), -1)
    if game is None:
        batch[with_pair] = rng.permutation(with_pair.sum()) // actions
    else:
        batch[with_pair] = _batch_by_game(game[order[first[start[with_pair]]]], actions, rng)

    kept = np.flatnonzero(with_pair[number])
    kept = kept[np.lexsort((rng.random(len(kept)), size[kept] < 2, number[kept], batch[number[kept]]))]
    if identities is not None:
        rank = _count_up(np.diff(_starts(number[kept]), append=len(kept)))
        kept = kept[rank < identities]
    length = size[kept] if instances is None else np.minimum(size[kept], instances)
    picked = rows[order[np.repeat(first[kept], length) + _count_up(length)]]
    return np.split(picked, _starts(np.repeat(batch[number[kept]], length))[1:])
