"""Which rows of the training index make up each batch of an epoch."""

import numpy as np


def _group(rows, keys):
    """Split ``rows`` into one array per distinct key, in ascending order of key; rows keep their order."""
    order = np.argsort(keys, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(keys[order])) + 1)


def identity_batches(rows, person, people, images, rng):
    """Batches of the dev kit's RandomIdentitySampler: ``people`` people with ``images`` pictures each.

    Every person's pictures are shuffled and cut into groups of ``images`` (what is left over is not used); a person
    with fewer is drawn with replacement. Batches take people at random from those who have a group left, until fewer
    than ``people`` have.

    Args:
        rows: int array, rows of the index to draw from.
        person: int array, the person of each of them.
        people, images: size of a batch.
        rng: numpy.random.Generator

    Returns:
        list of int arrays of ``people * images`` rows
    """
    queues = []
    for own in _group(rows, person):
        own = rng.choice(own, images) if len(own) < images else rng.permutation(own)
        queues.append([own[i : i + images] for i in range(0, len(own) - images + 1, images)])
    batches = []
    while len(queues) >= people:
        chosen = rng.choice(len(queues), people, replace=False)
        batches.append(np.concatenate([queues[i].pop() for i in chosen]))
        for i in sorted(chosen.tolist(), reverse=True):
            if not queues[i]:
                queues[i] = queues[-1]
                queues.pop()
    return batches


def action_batches(rows, person, action, actions, people, images, rng):
    """Batches of whole actions: the people that a query has to be told from stand in its batch.

    Each action comes once in an epoch. From it come up to ``people`` people, those with two or more pictures first,
    with up to ``images`` different pictures each; people with one picture are negatives for the others.

    Args:
        rows: int array, rows of the index to draw from.
        person, action: int arrays, the person and action of each of them.
        actions, people, images: size of a batch.
        rng: numpy.random.Generator

    Returns:
        list of int arrays of at most ``actions * people * images`` rows
    """
    picked = []
    for own in _group(np.arange(len(rows)), action):
        shuffled = rng.permutation(own)
        groups = _group(shuffled, person[shuffled])
        order = rng.permutation(len(groups))
        groups = sorted((groups[i] for i in order), key=lambda group: len(group) < 2)[:people]
        if len(groups[0]) > 1:  # else nobody of this action could be an anchor
            picked.append(rows[np.concatenate([group[:images] for group in groups])])
    order = rng.permutation(len(picked))
    return [np.concatenate([picked[i] for i in order[k : k + actions]]) for k in range(0, len(order), actions)]
