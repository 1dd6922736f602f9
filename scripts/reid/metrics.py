"""Scores of a ranking, as the official evaluator computes them, mINP, and what a random ranking would get.

mAP: mean over all queries of AP = sum of the precision at each hit / number of relevant boxes. rank-k: share of
queries with a right box among the first k; a gallery smaller than k counts as a whole. Fractions, not percent.
Source: ``SoccerNet.Evaluation.ReIdentification.evaluate``. mINP: mean of R / rank of the last of R right boxes.
"""

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


def rank(pairs):
    """Rank the gallery of every query by (distance, bbox_idx).

    Args:
        pairs: Pairs

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


def _rank_of(start, count):
    """1-based position of every element inside its query's list."""
    return np.arange(1, count + 1) - np.repeat(start, np.diff(start, append=count))


def average_precision(match, start):
    """AP of every query.

    Args:
        match: bool array, one element per (query, gallery box) in ranked order: is it the same person?
        start: int array, where each query begins; each query has at least one match.

    Returns:
        float64 array, one AP per query
    """
    hits = np.cumsum(match)
    before = np.repeat(hits[start] - match[start], np.diff(start, append=len(match)))
    precision = (hits - before) / _rank_of(start, len(match))
    return np.add.reduceat(precision * match, start) / np.add.reduceat(match.astype(np.int64), start)


def precision_of_actions(actions, person):
    """A function from the distances of actions to the AP of every query: that of :func:`rank` and
    :func:`average_precision` at a tenth of the cost, for many distances between the same boxes.

    Only the places of the right boxes are counted, and these are few.

    Args:
        actions: list of reid.actions.Action.
        person: int array, the person of each row of the index; each query has a match.

    Returns:
        function: list of float64 arrays, queries x gallery boxes, one per action, to float64 array, one AP per query
        in the order of the actions
    """
    match = np.concatenate([(person[a.query][:, None] == person[a.gallery]).ravel() for a in actions])
    size = np.concatenate([np.full(len(a.query), len(a.gallery)) for a in actions])
    first = np.cumsum(size) - size
    hit = np.flatnonzero(match)
    query = np.repeat(np.arange(len(size)), size)[hit]
    # each right box (its position repeated in ``own``) against all boxes of its query, ``other``
    length = size[query]
    start = np.cumsum(length) - length
    own, other = np.repeat(hit, length), np.arange(length.sum()) + np.repeat(first[query] - start, length)
    tie_won, right = other <= own, match[other]
    relevant = np.bincount(query)

    def precision(distances):
        distance = np.concatenate([matrix.ravel() for matrix in distances])
        a, b = distance[other], distance[own]
        not_behind = (a < b) | ((a == b) & tie_won)
        position, hits = (np.add.reduceat(x, start, dtype=np.int64) for x in (not_behind, not_behind & right))
        return np.bincount(query, hits / position) / relevant

    return precision


def first_hit(match, start):
    """1-based rank of the first right box of every query (int64); see :func:`average_precision`."""
    position = np.where(match, _rank_of(start, len(match)), np.iinfo(np.int64).max)
    return np.minimum.reduceat(position, start)


def inverse_negative_penalty(match, start):
    """INP of every query: its right boxes / rank of the last of them; 1 where no wrong box stands before a right one.

    Source: Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021.

    Returns:
        float64 array, one INP per query; see :func:`average_precision`
    """
    last = np.maximum.reduceat(np.where(match, _rank_of(start, len(match)), 0), start)
    return np.add.reduceat(match.astype(np.int64), start) / last


def chance_precision(size, right):
    """Expected AP of a random order, exactly and not by simulation.

    With R right boxes among G: E[AP] = (H + (R-1)/(G-1) (G-H)) / G with H = 1 + 1/2 + ... + 1/G, because a hit at rank
    k has on average 1 + (k-1)(R-1)/(G-1) hits up to it.

    Args:
        size: int array, boxes in the gallery of each query (G).
        right: int array, how many of them are right (R).

    Returns:
        float64 array, one per query
    """
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, size.max() + 1))])[size]
    others = np.divide(right - 1, size - 1, out=np.zeros(len(size)), where=size > 1)
    return (harmonic + others * (size - harmonic)) / size


def chance(match, start, ranks):
    """Expected scores of a random order: that of :func:`chance_precision`, and with R right boxes among G
    P(no right box in the first k) = C(G-R, k) / C(G, k).

    Args:
        match, start: as for :func:`average_precision`.
        ranks: the k of the rank-k wanted.

    Returns:
        dict: ``{"mAP": float, "rank-1": float, ...}``
    """
    size = np.diff(start, append=len(match))
    right = np.add.reduceat(match.astype(np.int64), start)
    result = {"mAP": float(np.mean(chance_precision(size, right)))}
    for k in ranks:
        miss = np.ones(len(size))
        for i in range(k):
            miss *= np.clip((size - right - i) / np.maximum(size - i, 1), 0, 1)
        result[f"rank-{k}"] = float(np.mean(1 - miss))
    return result


def score(match, start, ranks=(1, 5, 10)):
    """mAP, rank-k, mINP and chance level.

    Args:
        match, start: as for :func:`average_precision`.
        ranks: the k of the rank-k wanted.

    Returns:
        dict: ``{"mAP", "rank-1", ..., "mINP", "chance": {...}, "queries", "pairs"}``
    """
    first = first_hit(match, start)
    return {
        "mAP": float(np.mean(average_precision(match, start))),
        **{f"rank-{k}": float(np.mean(first <= k)) for k in ranks},
        "mINP": float(np.mean(inverse_negative_penalty(match, start))),
        "chance": chance(match, start, ranks),
        "queries": len(start),
        "pairs": len(match),
    }


def cmc(match, start, length):
    """Cumulative match characteristic: share of queries with a right box among the first 1, 2, ..., ``length``.

    Returns:
        float64 array of ``length`` values
    """
    first = first_hit(match, start)
    return np.cumsum(np.bincount(np.minimum(first, length + 1), minlength=length + 2)[1:-1]) / len(first)


def precision_histogram(precision, bins=20):
    """How many queries have which AP.

    Args:
        precision: float64 array, one AP per query.
        bins: how many of equal width from 0 to 1; each holds its lower edge. A last one holds AP 1 alone, the rankings
            without a fault.

    Returns:
        list of (float, int, float): lower edge, queries, share of the queries
    """
    place = np.floor(precision * bins + 1e-9).astype(np.int64)  # a sum of fractions may fall just short of an edge
    counts = np.bincount(place, minlength=bins + 1).tolist()
    return [(i / bins, count, count / len(precision)) for i, count in enumerate(counts)]
