"""Gallery boxes in order: by distance, and by bbox_idx where distances are equal."""

from typing import NamedTuple

import numpy as np


class Pairs(NamedTuple):
    """Every (query, gallery box) pair of a split, one array element per pair; pairs of a query stand together.

    ``query`` and ``gallery`` are bbox_idx (int64), ``action`` the action_idx, ``distance`` float64.
    """

    query: np.ndarray
    gallery: np.ndarray
    action: np.ndarray
    distance: np.ndarray


class Ranked(NamedTuple):
    """Ranked galleries of all queries, end to end: one element per (query, gallery box), best box first.

    ``query`` and ``gallery`` are bbox_idx (int64); ``start`` is where each query begins (int64, one per query).
    """

    query: np.ndarray
    gallery: np.ndarray
    start: np.ndarray


def rank(pairs: Pairs) -> Ranked:
    """Rank the gallery of every query by (distance, bbox_idx).

    Args:
        pairs: in any order.

    Returns:
        Ranked, queries in ascending order of bbox_idx.
    """
    by_box = np.lexsort((pairs.gallery, pairs.query))  # in order already, as a rule
    query, gallery, distance = (column[by_box] for column in (pairs.query, pairs.gallery, pairs.distance))
    start = np.flatnonzero(np.diff(query, prepend=-1))
    size = np.diff(start, append=len(query))
    order = np.empty_like(by_box)
    for boxes in np.unique(size):  # galleries of one size at once: several times as fast as one sort of all pairs
        place = start[size == boxes][:, None] + np.arange(boxes)
        nearest = np.argsort(distance[place], axis=1, kind="stable")
        order[place] = np.take_along_axis(place, nearest, axis=1)
    return Ranked(query, gallery[order], start)
