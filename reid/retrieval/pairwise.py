"""Distances between rows, each pair by itself: equal rows have equal distances to the bit, wherever they stand.

(In a matrix product the order of a sum depends on the place of a row. SciPy's ``cdist`` goes pair by pair too, but its
import takes three times as long as all distances of a split.)
"""

import numpy as np

_NEAR = 1e-6  # of the squared lengths: nearer rows are subtracted, for few digits of the difference would be left


def pairwise(query: np.ndarray, gallery: np.ndarray, metric: str) -> np.ndarray:
    """Distances between two sets of rows, in float64.

    Args:
        query, gallery: float arrays, Q x D and G x D.
        metric: ``"euclidean"``, or ``"cosine"``: 1 - cosine of the angle, 0 to 2.

    Returns:
        float64 array, Q x G; 0 between equal rows. A row of zeros has no angle: its cosine distances are NaN.
    """
    query, gallery = (np.ascontiguousarray(rows, np.float64) for rows in (query, gallery))
    lengths = np.vecdot(query, query)[:, None], np.vecdot(gallery, gallery)
    product = np.vecdot(query[:, None], gallery)
    if metric == "cosine":
        with np.errstate(invalid="ignore"):
            return np.maximum(1 - product / np.sqrt(lengths[0] * lengths[1]), 0)
    both = lengths[0] + lengths[1]
    distance = both - 2 * product
    i, j = np.nonzero(distance <= _NEAR * both)
    if len(i):
        distance[i, j] = np.square(query[i] - gallery[j]).sum(axis=1)
    return np.sqrt(distance)
