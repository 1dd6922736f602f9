"""Scores of a ranking, as the official evaluator computes them, mINP, and what a random ranking would get.

mAP: mean over all queries of AP = sum of the precision at each true match / number of true matches. rank-k: share of
queries with a true match among the first k; a gallery smaller than k counts as a whole. Fractions, not percent.
Source: ``SoccerNet.Evaluation.ReIdentification.evaluate``. mINP: mean of R / rank of the last of R true matches.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reid.data.actions import Action


def _rank_of(start: np.ndarray, count: int) -> np.ndarray:
    """1-based position of every element inside its query's list."""
    return np.arange(1, count + 1) - np.repeat(start, np.diff(start, append=count))


def average_precision(match: np.ndarray, start: np.ndarray) -> np.ndarray:
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


def ap_of_actions(actions: list[Action], person: np.ndarray) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """A function from the distances of actions to the AP of every query: that of :func:`reid.retrieval.order.rank` and
    :func:`average_precision` at a tenth of the cost, for many distances between the same boxes.

    Only the places of the true matches are counted, and these are few.

    Args:
        actions: those whose distances will be given.
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
    # each true match (its position repeated in ``own``) against all boxes of its query, ``other``
    length = size[query]
    start = np.cumsum(length) - length
    own, other = np.repeat(hit, length), np.arange(length.sum()) + np.repeat(first[query] - start, length)
    tie_won, true = other <= own, match[other]
    relevant = np.bincount(query)

    def ap(distances: Sequence[np.ndarray]) -> np.ndarray:
        distance = np.concatenate([matrix.ravel() for matrix in distances])
        a, b = distance[other], distance[own]
        not_behind = (a < b) | ((a == b) & tie_won)
        position, hits = (np.add.reduceat(x, start, dtype=np.int64) for x in (not_behind, not_behind & true))
        return np.bincount(query, hits / position) / relevant

    return ap


def first_match_rank(match: np.ndarray, start: np.ndarray) -> np.ndarray:
    """1-based rank of the first true match of every query (int64); see :func:`average_precision`."""
    position = np.where(match, _rank_of(start, len(match)), np.iinfo(np.int64).max)
    return np.minimum.reduceat(position, start)


def inverse_negative_penalty(match: np.ndarray, start: np.ndarray) -> np.ndarray:
    """INP of every query: its true matches / rank of the last of them; 1 where no false match stands before one.

    Source: Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021.

    Returns:
        float64 array, one INP per query; see :func:`average_precision`
    """
    last = np.maximum.reduceat(np.where(match, _rank_of(start, len(match)), 0), start)
    return np.add.reduceat(match.astype(np.int64), start) / last


def chance_ap(size: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Expected AP of a random order, exactly and not by simulation.

    With R true matches among G: E[AP] = (H + (R-1)/(G-1) (G-H)) / G with H = 1 + 1/2 + ... + 1/G, because a true match
    at rank k has on average 1 + (k-1)(R-1)/(G-1) of them up to it.

    Args:
        size: int array, boxes in the gallery of each query (G).
        positives: int array, how many of them are true matches (R).

    Returns:
        float64 array, one per query
    """
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, size.max() + 1))])[size]
    others = np.divide(positives - 1, size - 1, out=np.zeros(len(size)), where=size > 1)
    return (harmonic + others * (size - harmonic)) / size


def chance(match: np.ndarray, start: np.ndarray, ranks: Sequence[int]) -> dict[str, float]:
    """Expected scores of a random order: that of :func:`chance_ap`, and with R true matches among G
    P(none in the first k) = C(G-R, k) / C(G, k).

    Args:
        match, start: as for :func:`average_precision`.
        ranks: the k of the rank-k wanted.

    Returns:
        dict: ``{"mAP": float, "rank-1": float, ...}``
    """
    size = np.diff(start, append=len(match))
    positives = np.add.reduceat(match.astype(np.int64), start)
    result = {"mAP": float(np.mean(chance_ap(size, positives)))}
    for k in ranks:
        miss = np.ones(len(size))
        for i in range(min(k, int(size.max()))):  # more boxes than a gallery has miss no query
            miss *= np.clip((size - positives - i) / np.maximum(size - i, 1), 0, 1)
        result[f"rank-{k}"] = float(np.mean(1 - miss))
    return result


def score(match: np.ndarray, start: np.ndarray, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, Any]:
    """mAP, rank-k, mINP and chance level.

    Args:
        match, start: as for :func:`average_precision`.
        ranks: the k of the rank-k wanted.

    Returns:
        dict: ``{"mAP", "rank-1", ..., "mINP", "chance": {...}, "queries", "pairs"}``
    """
    first = first_match_rank(match, start)
    return {
        "mAP": float(np.mean(average_precision(match, start))),
        **{f"rank-{k}": float(np.mean(first <= k)) for k in ranks},
        "mINP": float(np.mean(inverse_negative_penalty(match, start))),
        "chance": chance(match, start, ranks),
        "queries": len(start),
        "pairs": len(match),
    }


def cmc(match: np.ndarray, start: np.ndarray, length: int) -> np.ndarray:
    """Cumulative match characteristic: share of queries with a true match among the first 1, 2, ..., ``length``.

    Returns:
        float64 array of ``length`` values
    """
    first = first_match_rank(match, start)
    return np.cumsum(np.bincount(np.minimum(first, length + 1), minlength=length + 2)[1:-1]) / len(first)


def ap_histogram(ap: np.ndarray) -> list[tuple[float, int, float]]:
    """How many queries have which AP: 20 bins of equal width from 0 to 1, each of which holds its lower edge, and one
    that holds AP 1 alone, the rankings without a fault.

    Args:
        ap: float64 array, one AP per query.

    Returns:
        list of (float, int, float): lower edge, queries, share of the queries
    """
    bins = 20
    place = np.floor(ap * bins + 1e-9).astype(np.int64)  # a sum of fractions may fall just short of an edge
    counts = np.bincount(place, minlength=bins + 1).tolist()
    return [(i / bins, count, count / len(ap)) for i, count in enumerate(counts)]
