"""95 % intervals of scores, from a bootstrap over actions.

Queries of one action share a gallery and a scene, so they succeed or fail together; actions are independent.
A resample draws as many actions as there are, with replacement; a score of it is the ratio of two sums over what was
drawn: total of the score / number of queries.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np

_BLOCK, _KEPT = 1 << 19, 1 << 25  # numbers drawn at a time, and kept at most: bounds the memory


def action_codes(action: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the actions of queries from 0.

    Args:
        action: int array, action_idx of each query.

    Returns:
        (int64 array, int): number of each query's action, and how many actions there are
    """
    actions, code = np.unique(action, return_inverse=True)
    return code, len(actions)


class Resamples:
    """How often each action is drawn in each resample.

    Args:
        actions: how many there are.
        resamples: how many resamples.
        seed: of the random numbers; the same seed draws the same.

    Yields:
        float64 arrays, resamples x actions, whole numbers; each row sums to ``actions``. All of them in one array that
        is kept, or, where that would be large, some at a time, drawn anew for each use.
    """

    def __init__(self, actions: int, resamples: int, seed: int) -> None:
        self.actions, self._resamples, self._seed = actions, resamples, seed
        self._kept = None
        if actions * resamples <= _KEPT:
            kept, first = np.empty((resamples, actions)), 0
            for drawn in self._draw():
                kept[first : first + len(drawn)] = drawn
                first += len(drawn)
            self._kept = kept

    def __iter__(self) -> Iterator[np.ndarray]:
        return (drawn.astype(float) for drawn in self._draw()) if self._kept is None else iter((self._kept,))

    def _draw(self) -> Iterator[np.ndarray]:
        """The same as int64 arrays."""
        rng, left, most = np.random.default_rng(self._seed), self._resamples, max(1, _BLOCK // self.actions)
        while left:
            rows = min(most, left)
            drawn = rng.integers(0, self.actions, (rows, self.actions)) + self.actions * np.arange(rows)[:, None]
            yield np.bincount(drawn.ravel(), minlength=rows * self.actions).reshape(rows, self.actions)
            left -= rows


def tail(actions: int) -> float:
    """Share of the resamples to leave out at each end for a 95 % interval.

    The percentile interval, which leaves out 2.5 %, is too narrow for few actions; this one is as wide as that of
    Student's t. Source: Hesterberg, "What Teachers Should Know About the Bootstrap", American Statistician 2015,
    "expanded percentile interval". The quantile of t is a series (Abramowitz and Stegun 26.7.5), right to 1 % from
    four actions on and to 0.1 % from seven on; with fewer nothing is left out either way. SciPy's takes longer to
    import than all this.

    Args:
        actions: how many there are, two or more.

    Returns:
        float, below 0.025
    """
    z, f = 1.959963984540054, actions - 1
    quantile = z + (z**3 + z) / (4 * f) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
    quantile += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3)
    return math.erfc(math.sqrt(actions / f / 2) * quantile) / 2


def ratio_intervals(total: np.ndarray, count: np.ndarray, weights: Resamples) -> list[list[float] | None]:
    """95 % intervals of ratios of sums over actions.

    Args:
        total: float64 array, actions x scores: the sum of a score over the queries of an action.
        count: the same shape: how many queries that sum has. Actions without one do not count for that score.
        weights: what was drawn of so many actions.

    Returns:
        list of [float, float] or None, one per score: rounded to six places, which is far below what the resampling
        leaves uncertain. None where fewer than two actions have queries, which says nothing about other actions.
    """
    with np.errstate(invalid="ignore"):
        # NaN where a resample holds no query of a slice
        ratios = np.concatenate([(drawn @ total) / (drawn @ count) for drawn in weights])
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
    action: np.ndarray, scores: Mapping[str, np.ndarray], weights: Resamples
) -> dict[str, list[float] | None]:
    """95 % interval of the mean of each score over all queries.

    Args:
        action: int array, action of each query, numbered from 0.
        scores: name to float or bool array, one value per query.
        weights: what was drawn of so many actions.

    Returns:
        dict: name to [low, high] or None, as :func:`ratio_intervals`
    """
    actions = weights.actions
    total = np.stack([np.bincount(action, score, actions) for score in scores.values()], axis=1)
    count = np.repeat(np.bincount(action, minlength=actions)[:, None].astype(float), len(scores), axis=1)
    return dict(zip(scores, ratio_intervals(total, count, weights), strict=True))
