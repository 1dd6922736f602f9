"""95 % intervals of scores, from a bootstrap over actions.

Queries of one action share a gallery and a scene, so they succeed or fail together; actions are independent.
A resample draws as many actions as there are, with replacement; a score of it is the ratio of two sums over what was
drawn: total of the score / number of queries.
"""

import math
from collections.abc import Mapping

import numpy as np

_BLOCK = 256  # resamples drawn at a time: bounds the memory, changes no number


def action_codes(action: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the actions of queries from 0.

    Args:
        action: int array, action_idx of each query.

    Returns:
        (int64 array, int): number of each query's action, and how many actions there are
    """
    actions, code = np.unique(action, return_inverse=True)
    return code, len(actions)


def resample(actions: int, resamples: int, seed: int) -> np.ndarray:
    """How often each action is drawn.

    Args:
        actions: how many there are.
        resamples: how many resamples.
        seed: of the random numbers; the same seed draws the same.

    Returns:
        float64 array, resamples x actions, whole numbers; each row sums to ``actions``
    """
    rng = np.random.default_rng(seed)
    weights = np.empty((resamples, actions))
    for first in range(0, resamples, _BLOCK):
        rows = min(_BLOCK, resamples - first)
        drawn = rng.integers(0, actions, (rows, actions)) + actions * np.arange(rows)[:, None]
        weights[first : first + rows] = np.bincount(drawn.ravel(), minlength=rows * actions).reshape(rows, actions)
    return weights


def tail(actions: int) -> float:
    """Share of the resamples to leave out at each end for a 95 % interval.

    The percentile interval, which leaves out 2.5 %, is too narrow for few actions; this one is as wide as that of
    Student's t. Source: Hesterberg, "What Teachers Should Know About the Bootstrap", American Statistician 2015,
    "expanded percentile interval". The quantile of t is a series (Abramowitz and Stegun 26.7.5), right to 0.1 % from
    four actions on; with fewer nothing is left out either way. SciPy's takes longer to import than all this.

    Args:
        actions: how many there are, two or more.

    Returns:
        float, below 0.025
    """
    z, f = 1.959963984540054, actions - 1
    quantile = z + (z**3 + z) / (4 * f) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
    quantile += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3)
    return math.erfc(math.sqrt(actions / f / 2) * quantile) / 2


def ratio_intervals(total: np.ndarray, count: np.ndarray, weights: np.ndarray) -> list[list[float] | None]:
    """95 % intervals of ratios of sums over actions.

    Args:
        total: float64 array, actions x scores: the sum of a score over the queries of an action.
        count: the same shape: how many queries that sum has. Actions without one do not count for that score.
        weights: float64 array, resamples x actions, of :func:`resample`.

    Returns:
        list of [float, float] or None, one per score: rounded to six places, which is far below what the resampling
        leaves uncertain. None where fewer than two actions have queries, which says nothing about other actions.
    """
    with np.errstate(invalid="ignore"):
        ratios = (weights @ total) / (weights @ count)  # NaN where a resample holds no query of a slice
    result: list[list[float] | None] = []
    for ratio, actions in zip(ratios.T, np.count_nonzero(count, axis=0).tolist(), strict=True):
        if actions < 2:
            result.append(None)
            continue
        out = tail(actions)
        low, high = np.quantile(ratio[np.isfinite(ratio)], [out, 1 - out]).tolist()
        result.append([round(low, 6), round(high, 6)])
    return result


def mean_intervals(
    action: np.ndarray, scores: Mapping[str, np.ndarray], weights: np.ndarray
) -> dict[str, list[float] | None]:
    """95 % interval of the mean of each score over all queries.

    Args:
        action: int array, action of each query, numbered from 0.
        scores: name to float or bool array, one value per query.
        weights: float64 array, resamples x actions, of :func:`resample`.

    Returns:
        dict: name to [low, high] or None, as :func:`ratio_intervals`
    """
    actions = weights.shape[1]
    total = np.stack([np.bincount(action, score, actions) for score in scores.values()], axis=1)
    count = np.repeat(np.bincount(action, minlength=actions)[:, None].astype(float), len(scores), axis=1)
    return dict(zip(scores, ratio_intervals(total, count, weights), strict=True))
