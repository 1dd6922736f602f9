"""Which rows of the training index make up each batch of an epoch."""

import numpy as np


def _starts(*keys):
    """Where each run of equal keys begins, in arrays that are sorted by them."""
    new = np.ones(len(keys[0]), dtype=bool)
    new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.flatnonzero(new)


def _count_up(lengths):
    """0, 1, 2, ... inside each of the runs of such lengths, end to end."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def identity_batches(rows, person, people, images, rng):
    """Batches of the dev kit's RandomIdentitySampler: ``people`` people with ``images`` pictures each.

    Every person's pictures are shuffled and cut into groups of ``images`` (what is left over is not used); a person
    with fewer is drawn with replacement. Batches take people at random from those who have a group left, until fewer
    than ``people`` have.

    Args:
        rows: int array (N), rows of the index to draw from.
        person: int array (N), the person of each of them.
        people, images: size of a batch.
        rng: numpy.random.Generator

    Returns:
        list of int arrays of ``people * images`` rows
    """
    order = np.lexsort((rng.random(len(rows)), person))
    start = _starts(person[order])
    size = np.diff(start, append=len(rows))
    groups = np.maximum(size // images, 1)
    owner, number = np.repeat(np.arange(len(size)), groups), _count_up(groups)
    place = number[:, None] * images + np.arange(images)  # of a group's pictures among its person's
    few = size[owner] < images
    place[few] = rng.integers(size[owner[few], None], size=(few.sum(), images))
    pictures = rows[order[start[owner][:, None] + place]]

    # The people wait in random order, the last ones are next; who has another group joins again at a random place.
    queue = rng.permutation(np.cumsum(groups) - 1).tolist()  # the last group left of each person
    more = (number > 0).tolist()
    chance = iter(rng.random(len(number)).tolist())
    drawn = []
    while len(queue) >= people:
        batch = queue[-people:]
        del queue[-people:]
        drawn += batch
        for group in batch:
            if more[group]:
                queue.append(group - 1)
                k = int(next(chance) * len(queue))
                queue[k], queue[-1] = queue[-1], queue[k]
    return list(pictures[np.array(drawn, dtype=np.int64)].reshape(-1, people * images))


def _batch_by_game(game, actions, rng):
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


def action_batches(rows, person, action, actions, people, images, rng, game=None):
    """Batches of whole actions: the people that a query has to be told from stand in its batch.

    Each action in which somebody has two or more pictures comes once in an epoch. From it come up to ``people``
    people, those with two or more pictures first, with up to ``images`` different pictures each; people with one
    picture are negatives for the others. Which of equal people and which pictures is left to chance. A number of
    ``person`` in two actions means two people.

    Batches take any ``actions`` actions, or with ``game`` those of the same game first: a game's actions are dealt at
    random into batches of ``actions``, the few that are left over are laid end to end, games in random order, and cut
    likewise, and the batches are shuffled. One batch may be smaller: the last one without ``game``, any one with it.

    Args:
        rows: int array (N), rows of the index to draw from.
        person, action: int arrays (N), the person and action of each of them.
        actions: actions per batch.
        people, images: people per action and pictures per person at most; None for all.
        rng: numpy.random.Generator
        game: int array (N), the game of each row, the same for all rows of an action; or None.

    Returns:
        list of int arrays, in each a person's rows and an action's people side by side
    """
    order = np.lexsort((rng.random(len(rows)), person, action))
    person, action = person[order], action[order]
    first = _starts(action, person)  # from here on one element per person
    size = np.diff(first, append=len(rows))
    start = _starts(action[first])  # one element per action
    number = np.repeat(np.arange(len(start)), np.diff(start, append=len(first)))  # the action of each person
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
    if people is not None:
        rank = _count_up(np.diff(_starts(number[kept]), append=len(kept)))
        kept = kept[rank < people]
    length = size[kept] if images is None else np.minimum(size[kept], images)
    picked = rows[order[np.repeat(first[kept], length) + _count_up(length)]]
    return np.split(picked, _starts(np.repeat(batch[number[kept]], length))[1:])
