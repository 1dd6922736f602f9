"""Distances between each query and the gallery boxes of its own action, and of no other.

One row per action: the lists of query and gallery ``bbox_idx`` (ascending) and the distances between them, row-major
(query by query).
"""

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reid.errors import ReidError
from reid.files import replacing
from reid.metrics import Pairs
from reid.pairwise import pairwise
from reid.postprocessing import expand_queries, rerank, share_queries
from reid.tables import arrow, column, numbers, read_parquet

SCHEMA = pa.schema(
    [
        ("action_idx", pa.int32()),
        ("query", pa.list_(pa.int32())),
        ("gallery", pa.list_(pa.int32())),
        ("distance", pa.list_(pa.float64())),
    ]
)


def read_embeddings(path, rows):
    """Map embeddings into memory.

    Args:
        path: ``.npy`` file, float32 N x D (scripts/embed.py, or a network of your own).
        rows: how many it must have, those of the index.

    Raises:
        ReidError: the file is missing, of another kind or length, or holds values that are not finite.
    """
    try:
        embeddings = np.lib.format.open_memmap(path, mode="r")  # np.load would open zips and pickles too
    except (OSError, ValueError) as error:
        raise ReidError(f"{path}: is not an array of embeddings ({error}); make it with scripts/embed.py") from error
    if embeddings.ndim != 2 or len(embeddings) != rows or embeddings.dtype != np.float32:
        raise ReidError(
            f"{path}: must be float32 {rows} x D (rows of the index), not {embeddings.dtype} "
            f"{' x '.join(map(str, embeddings.shape))}"
        )
    if not np.isfinite(embeddings.sum()) and not np.isfinite(embeddings).all():  # a sum takes a tenth of the time
        raise ReidError(f"{path}: holds values that are not finite")
    return embeddings


def model_distances(embeddings, actions, params):
    """Distances of one model inside each action, after query expansion and scaling.

    Args:
        embeddings: float array N x D; row i is row i of the index.
        actions: list of Action.
        params: reid.params.Distances; ``metric`` cosine is 1 - cosine of the angle.

    Returns:
        list of float64 arrays, one per action: queries x gallery boxes, or with ``params.reranking``, which needs the
        distances between all boxes, (queries + gallery boxes) squared. Equal embeddings have equal distances to the
        bit, because each pair is computed by itself.

    Raises:
        ReidError: a distance is not a number.
    """
    distances = []
    for action in actions:
        query, gallery = embeddings[action.query], embeddings[action.gallery]
        if params.expansion:
            query, gallery = expand_queries(query, gallery, **params.expansion.model_dump())
        if params.reranking:
            query = gallery = np.concatenate([query, gallery])
        distance = pairwise(query, gallery, params.metric)
        if not np.isfinite(distance).all():
            remedy = "distances.expansion: null and " if params.expansion else ""
            raise ReidError(
                f"action {action.action_idx}: a {params.metric} distance is not a number; an embedding of zeros has "
                f"no direction: use {remedy}distances.metric: euclidean, or train again"
            )
        distances.append(distance)
    if params.scale == "mean":
        mean = np.concatenate([matrix.ravel() for matrix in between(distances, actions)]).mean()
        if mean > 0:  # else all embeddings are equal, and stay so
            distances = [matrix / mean for matrix in distances]
    return distances


def between(distances, actions):
    """The part between queries and gallery boxes of what :func:`model_distances` returns.

    Returns:
        list of float64 arrays, queries x gallery boxes, one per action
    """
    return [
        matrix[: len(action.query), matrix.shape[1] - len(action.gallery) :]
        for action, matrix in zip(actions, distances, strict=True)
    ]


def fuse(distances, weights):
    """Weighted mean over models.

    Args:
        distances: list of what :func:`model_distances` returns, one per model.
        weights: list of float, one per model.

    Returns:
        list of float64 arrays, one per action
    """
    return [
        sum(weight * matrix for weight, matrix in zip(weights, matrices, strict=True)) / sum(weights)
        for matrices in zip(*distances, strict=True)
    ]


def refine(distances, actions, params):
    """Re-rank, then divide the boxes among the queries, as far as the parameters say.

    Args:
        distances: list of float64 arrays, one per action, as :func:`model_distances` returns them.
        actions: list of Action.
        params: reid.params.Distances

    Returns:
        list of float64 arrays, queries x gallery boxes, one per action
    """
    if params.reranking:
        distances = _stacked(partial(rerank, **params.reranking.model_dump()), distances, actions)
    if params.queries:
        share = partial(share_queries, **params.queries.model_dump())
        distances = _stacked(lambda stack, _: share(stack), distances, actions)
    return distances


def _stacked(function, distances, actions):
    """``function(stack, queries)`` of all actions of one shape at once: five times as fast as one by one."""
    alike = {}
    for i, action in enumerate(actions):
        alike.setdefault((len(action.query), len(action.gallery)), []).append(i)
    result = [None] * len(actions)
    for (queries, _), positions in alike.items():
        stack = function(np.stack([distances[i] for i in positions]), queries)
        for i, matrix in zip(positions, stack, strict=True):
            result[i] = matrix
    return result


def action_distances(embeddings, actions, params, weights=None):
    """Distances inside each action, in float64: those of each model, their mean, and what is done to it.

    Args:
        embeddings: list of float arrays N x D, one per model (D may differ); row i is row i of the index.
        actions: list of Action.
        params: reid.params.Distances; its ``models`` are not looked at.
        weights: list of float, one per model; all alike by default.

    Returns:
        list of float64 arrays, queries x gallery boxes, one per action. Equal embeddings have equal distances to the
        bit, but for re-ranking, which breaks ties between neighbours by position.

    Raises:
        ReidError: a distance is not a number.
    """
    weights = [1.0] * len(embeddings) if weights is None else weights
    return refine(fuse([model_distances(e, actions, params) for e in embeddings], weights), actions, params)


def write_distances(path, table, actions, distances):
    """Write the distances of a split: one file with a row per action.

    Args:
        path: the Parquet file to make.
        table: the index (column bbox_idx).
        actions: list of Action.
        distances: list of float64 arrays, queries x gallery boxes, one per action.
    """
    bbox = column(table, "bbox_idx")

    def lists(arrays, kind):
        offsets = np.cumsum([0, *map(len, arrays)])
        return pa.ListArray.from_arrays(arrow(offsets, pa.int32()), arrow(np.concatenate(arrays), kind))

    result = pa.table(
        [
            arrow([action.action_idx for action in actions], pa.int32()),
            lists([bbox[action.query] for action in actions], pa.int32()),
            lists([bbox[action.gallery] for action in actions], pa.int32()),
            lists([matrix.ravel() for matrix in distances], pa.float64()),
        ],
        schema=SCHEMA,
    )
    with replacing(path) as partial:
        pq.write_table(result, partial, compression="zstd")


def read_distances(path):
    """Read a file of :func:`write_distances` as flat pairs.

    Returns:
        Pairs

    Raises:
        ReidError: the file is missing, is another kind of file, or holds a distance that is not a number.
    """
    try:
        table = read_parquet(path, SCHEMA.names).cast(SCHEMA)
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise ReidError(f"{path}: is not a distance file ({error}); make it with scripts/distances.py") from error
    if not len(table) or any(table[name].null_count for name in SCHEMA.names):
        raise ReidError(f"{path}: is not a distance file (columns are empty); make it with scripts/distances.py")
    table = table.combine_chunks()
    query, gallery = (table[name].chunk(0) for name in ("query", "gallery"))
    n_query, n_gallery, n_distance = (
        np.diff(numbers(table[name].chunk(0).offsets)) for name in ("query", "gallery", "distance")
    )
    distance = numbers(table["distance"].chunk(0).flatten())
    wrong = np.flatnonzero(n_distance != n_query * n_gallery)
    if len(wrong):
        action = table["action_idx"][int(wrong[0])]
        raise ReidError(f"{path}: action {action} and {len(wrong) - 1} more have not one distance for each pair")
    if not np.isfinite(distance).all():
        raise ReidError(f"{path}: a distance is not a finite number; did the training diverge?")
    # each query is repeated for the boxes of its gallery, and each gallery for the queries of its action
    per_query = np.repeat(n_gallery, n_query)
    start = np.repeat(np.cumsum(n_gallery) - n_gallery, n_query)
    within = np.arange(len(distance)) - np.repeat(np.cumsum(per_query) - per_query, per_query)
    return Pairs(
        query=np.repeat(numbers(query.flatten()).astype(np.int64), per_query),
        gallery=numbers(gallery.flatten()).astype(np.int64)[np.repeat(start, per_query) + within],
        action=np.repeat(column(table, "action_idx"), n_distance),
        distance=distance,
    )
