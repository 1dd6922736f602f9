"""Embeddings as places in the plane, and the cells of a grid in which no thumbnail covers another."""

import math

import numpy as np

FEW = 60  # embeddings up to which distances as a whole can be kept
_ROOM = 2.2  # cells for each box: empty ones keep groups apart


def project(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places in the plane where near embeddings are near.

    Up to :data:`FEW` embeddings by metric multidimensional scaling (SMACOF), which keeps distances on the whole; more
    by PCA to 50 components and t-SNE (van der Maaten and Hinton 2008), which keeps neighbours, and no distances.

    Args:
        embeddings: float array N x D. They are compared by angle: cosine distance orders as the Euclidean one does
            between vectors of length 1.
        seed: of what is random in t-SNE.

    Returns:
        float64 array N x 2
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    length = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    unit = embeddings / np.maximum(length, 1e-12)
    with threadpool_limits(1):  # threads would sum in another order, and give another map
        if len(unit) < 3 or np.ptp(unit, axis=0).max() < 1e-12:
            return np.stack([np.arange(len(unit), dtype=np.float64), np.zeros(len(unit))], axis=1)
        components = min(50, *unit.shape)
        reduced = PCA(components, svd_solver="full").fit_transform(unit)
        if len(unit) <= FEW:
            return _scaled_distances(reduced)
        from sklearn.manifold import TSNE

        perplexity = min(30, len(unit) / 5)
        places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced.astype(np.float32))
        return places.astype(np.float64)


def _scaled_distances(points: np.ndarray) -> np.ndarray:
    """Metric multidimensional scaling that starts at the first two principal components."""
    from scipy.spatial.distance import cdist
    from sklearn.manifold import smacof

    start = np.zeros((len(points), 2))
    start[:, : points.shape[1]] = points[:, :2]
    return smacof(cdist(points, points), init=start, n_init=1, max_iter=300, normalized_stress=False)[0]


def grid_of(boxes: int, cell_height: int, cell_width: int) -> tuple[int, int]:
    """Columns and lines of a grid for so many boxes, about four to three, with empty cells between groups.

    Args:
        boxes: how many.
        cell_height, cell_width: pixels.
    """
    cells = max(math.ceil(boxes * _ROOM), boxes + 6)
    columns = math.ceil(math.sqrt(cells * 1.3 * cell_height / cell_width))
    return columns, math.ceil(cells / columns)


def arrange(places: np.ndarray, columns: int, lines: int) -> np.ndarray:
    """Give each point a cell of its own, so that the points move as little as possible in all.

    Args:
        places: float array N x 2.
        columns, lines: of the grid; at least N cells.

    Returns:
        int64 array N x 2: column and line of each
    """
    from scipy.optimize import linear_sum_assignment

    low, span = places.min(0), np.maximum(np.ptp(places, axis=0), 1e-12)
    scaled = (places - low) / span * (columns - 1, lines - 1)
    cells = np.stack(np.meshgrid(np.arange(columns), np.arange(lines)), axis=-1).reshape(-1, 2)
    cost = np.square(scaled[:, None] - cells).sum(2)  # squared: one far move is worse than many small ones
    return cells[linear_sum_assignment(cost)[1]]
