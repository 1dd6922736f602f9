"""Distances between each query and the gallery boxes of its own action, and of no other.

One row per action: the lists of query and gallery ``bbox_idx`` (ascending) and the distances between them, row-major
(query by query).
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from reid.core.errors import ReidError
from reid.core.tables import arrow, column, numbers, read_parquet, write_parquet
from reid.data.actions import Action
from reid.params.ranking import Distances
from reid.ranking.postprocessing_chain import change_distances, change_embeddings, change_split, of_stage
from reid.retrieval.order import Pairs
from reid.retrieval.pairwise import pairwise

_MAKER = "scripts/distances.py"
SCHEMA = pa.schema(
    [
        ("action_idx", pa.int32()),
        ("query", pa.list_(pa.int32())),
        ("gallery", pa.list_(pa.int32())),
        ("distance", pa.list_(pa.float64())),
    ]
)


def model_distances(embeddings: np.ndarray, actions: list[Action], params: Distances) -> list[np.ndarray]:
    """Distances of one model inside each action, after the steps that change embeddings, and after scaling.

    Args:
        embeddings: float array N x D; row i is row i of the index.
        actions: those to measure.
        params: ``metric`` cosine is 1 - cosine of the angle.

    Returns:
        list of float64 arrays, one per action: queries x gallery boxes, or with a post-processing step that needs the
        distances between all boxes, (queries + gallery boxes) squared. Equal embeddings have equal distances to the
        bit, because each pair is computed by itself; after whitening to rounding.

    Raises:
        ReidError: a distance is not a number, or a step fails (:mod:`reid.ranking.postprocessing_chain`).
    """
    between_all, distances = bool(of_stage(params, "boxes")), []
    embeddings = change_split(embeddings, actions, params)
    for action in actions:
        query, gallery = change_embeddings(embeddings[action.query], embeddings[action.gallery], action, params)
        if between_all:
            query = gallery = np.concatenate([query, gallery])
        distance = pairwise(query, gallery, params.metric)
        if not np.isfinite(distance).all():
            raise ReidError(
                f"action {action.action_idx}: a {params.metric} distance is not a number; an embedding of zeros has "
                f"no direction: use distances.metric: euclidean, or train again"
            )
        distances.append(distance)
    if params.scale == "mean":
        mean = np.concatenate([matrix.ravel() for matrix in between(distances, actions)]).mean()
        if mean > 0:  # else all embeddings are equal, and stay so
            distances = [matrix / mean for matrix in distances]
    return distances


def between(distances: list[np.ndarray], actions: list[Action]) -> list[np.ndarray]:
    """The part between queries and gallery boxes of what :func:`model_distances` returns.

    Returns:
        list of float64 arrays, queries x gallery boxes, one per action
    """
    return [
        matrix[: len(action.query), matrix.shape[1] - len(action.gallery) :]
        for action, matrix in zip(actions, distances, strict=True)
    ]


def fuse(distances: list[list[np.ndarray]], weights: list[float], fusion: str = "mean") -> list[np.ndarray]:
    """Weighted mean over models.

    Args:
        distances: what :func:`model_distances` returns, one per model.
        weights: one per model.
        fusion: ``"mean"`` of the distances, or of the places (``"rank"``) that a query's gallery boxes have by each
            model, from 0 for the nearest to 1; boxes of one distance share the mean of theirs.

    Returns:
        list of float64 arrays, one per action
    """
    if fusion == "rank":
        distances = [[_places(matrix) for matrix in of_model] for of_model in distances]
    return [
        sum(weight * matrix for weight, matrix in zip(weights, matrices, strict=True)) / sum(weights)
        for matrices in zip(*distances, strict=True)
    ]


def _places(distance: np.ndarray) -> np.ndarray:
    """Place of each gallery box among those of its query, 0 to 1: float64 Q x G."""
    one, other = distance[:, :, None], distance[:, None, :]
    nearer, alike = (other < one).sum(axis=2), (other == one).sum(axis=2)
    places: np.ndarray = (nearer + (alike - 1) / 2) / max(1, distance.shape[1] - 1)
    return places


def action_distances(
    embeddings: list[np.ndarray], actions: list[Action], params: Distances, weights: list[float] | None = None
) -> list[np.ndarray]:
    """Distances inside each action, in float64: those of each model, their mean, and what is done to it.

    Args:
        embeddings: float arrays N x D, one per model (D may differ); row i is row i of the index.
        actions: those to measure.
        params: its ``models`` are not looked at.
        weights: one per model; all alike by default.

    Returns:
        list of float64 arrays, queries x gallery boxes, one per action. Equal embeddings have equal distances to the
        bit, but for re-ranking, which breaks ties between neighbours by position.

    Raises:
        ReidError: a distance is not a number, or a step fails.
    """
    weights = [1.0] * len(embeddings) if weights is None else weights
    fused = fuse([model_distances(e, actions, params) for e in embeddings], weights, params.fusion)
    return change_distances(fused, actions, params)


def write_distances(path: Path | str, table: pa.Table, actions: list[Action], distances: list[np.ndarray]) -> None:
    """Write the distances of a split: one file with a row per action.

    Args:
        path: the Parquet file to make.
        table: the index (column bbox_idx).
        actions: those measured.
        distances: float64 arrays, queries x gallery boxes, one per action.
    """
    bbox = column(table, "bbox_idx")

    def lists(arrays: list[np.ndarray], kind: pa.DataType) -> pa.Array:
        offsets = np.cumsum([0, *map(len, arrays)])
        return pa.ListArray.from_arrays(arrow(offsets, pa.int32()), arrow(np.concatenate(arrays), kind))

    result = pa.table(
        [
            arrow(np.array([action.action_idx for action in actions]), pa.int32()),
            lists([bbox[action.query] for action in actions], pa.int32()),
            lists([bbox[action.gallery] for action in actions], pa.int32()),
            lists([matrix.ravel() for matrix in distances], pa.float64()),
        ],
        schema=SCHEMA,
    )
    write_parquet(path, result)


def read_distances(source: Path | str | bytes, name: Path | str = "") -> Pairs:
    """Read a file of :func:`write_distances` as flat pairs.

    Actions, and the boxes of each, may stand in any order, and numbers may be of any width.

    Args:
        source: the file, or its content.
        name: what to call it in messages; as the file by default.

    Returns:
        Pairs

    Raises:
        ReidError: the file is missing or is another kind of file; a number is missing, negative or stands twice; an
            action has not one distance for each pair; or a distance is not a finite number.
    """
    path = name or ("distances" if isinstance(source, bytes) else source)
    try:
        table = _cast(read_parquet(source, SCHEMA.names, _MAKER))
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise ReidError(f"{path}: is not a distance file ({error}); make it with {_MAKER}") from error
    action = column(table, "action_idx")
    lists = [table[name].chunk(0) for name in ("query", "gallery", "distance")]
    n_query, n_gallery, n_distance = (np.diff(numbers(array.offsets)).astype(np.int64) for array in lists)
    query, gallery, distance = (numbers(array.flatten()) for array in lists)
    wrong = np.flatnonzero((n_distance != n_query * n_gallery) | (n_distance == 0))
    if len(wrong):
        more = f"and {len(wrong) - 1} more have" if len(wrong) > 1 else "has"
        raise ReidError(f"{path}: action {action[wrong[0]]} {more} not one distance for each pair")
    if not np.isfinite(distance).all():
        raise ReidError(f"{path}: a distance is not a finite number; did the training diverge?")
    for name, ids in (("action", action), ("query", query), ("gallery box", gallery)):
        known, times = np.unique(ids, return_counts=True)
        if known[0] < 0:
            raise ReidError(f"{path}: there is no {name} {known[0]}, for they are numbered from 0")
        if (times > 1).any():
            raise ReidError(f"{path}: {name} {known[times > 1][0]} stands more than once")
    # each query is repeated for the boxes of its gallery, and each gallery for the queries of its action
    per_query = np.repeat(n_gallery, n_query)
    start = np.repeat(np.cumsum(n_gallery) - n_gallery, n_query)
    within = np.arange(len(distance)) - np.repeat(np.cumsum(per_query) - per_query, per_query)
    return Pairs(
        query=np.repeat(query.astype(np.int64), per_query),
        gallery=gallery.astype(np.int64)[np.repeat(start, per_query) + within],
        action=np.repeat(action, n_distance),
        distance=distance,
    )


def _cast(table: pa.Table) -> pa.Table:
    """A table of distances with :data:`SCHEMA` and without nulls, in one piece.

    Raises:
        ValueError, pyarrow.ArrowException: it is something else.
    """
    if not len(table):
        raise ValueError("it has no rows")
    for field in SCHEMA:
        kind = inner = table.schema.field(field.name).type
        if pa.types.is_list(field.type):
            if not any(of(kind) for of in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
                raise ValueError(f"its column {field.name} is {kind}, not {field.type}")
            inner = kind.value_type
        if not pa.types.is_integer(inner) and not (field.name == "distance" and pa.types.is_floating(inner)):
            raise ValueError(f"its column {field.name} is {kind}, not {field.type}")
    table = table.cast(SCHEMA).combine_chunks()
    for name in SCHEMA.names:
        array = table[name].combine_chunks()
        if array.null_count or (pa.types.is_list(array.type) and array.flatten().null_count):
            raise ValueError(f"a value of its column {name} is null")
    return table
