"""What can be done to embeddings and distances of one action before its boxes are ranked: the built-in steps.

Each takes its parameters last (see :mod:`reid.params.ranking`, which also says what a step of each stage works on).
Distances of several actions of one shape may come stacked: all but the last two axes are theirs, and the result of an
action is the same to the bit as if it came alone.
"""

from collections.abc import Callable
from functools import reduce

import numpy as np

from reid.params.ranking import Assignment, DualSoftmax, QueryExpansion, Reranking, Sinkhorn, Whitening
from reid.params.registries import POSTPROCESSING
from reid.retrieval.pairwise import pairwise


def _normalised(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros becomes NaN, for it has no direction."""
    with np.errstate(invalid="ignore"):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@POSTPROCESSING.implement("whitening")
def whiten(embeddings: np.ndarray, groups: list[np.ndarray], params: Whitening) -> np.ndarray:
    """Whitening of the boxes of an action, or of the split, by their own covariance.

    With C the covariance of B boxes of D numbers and t = trace(C) / D, an embedding x becomes
    W^(-1/2) (x - mean), where W = (1 - shrinkage) C + shrinkage t I (shrunk as by Ledoit and Wolf 2004).

    Args:
        embeddings: float array N x D.
        groups: the rows of each action.
        params: ``over``, ``shrinkage``.

    Returns:
        float64 N x D; rows of no action stay as they are
    """
    result = embeddings.astype(np.float64)
    for rows in groups if params.over == "action" else [np.concatenate(groups)]:
        centred = result[rows] - result[rows].mean(axis=0)
        # a QR decomposition first: many boxes have the directions and variances of as few rows as they have numbers
        few = centred if len(rows) <= centred.shape[1] else np.linalg.qr(centred, mode="r")
        _, singular, directions = np.linalg.svd(few, full_matrices=False)
        variance = singular**2 / len(rows)
        shrunk = (1 - params.shrinkage) * variance + params.shrinkage * variance.sum() / centred.shape[1]
        scale = 1 / np.sqrt(np.where(shrunk > 0, shrunk, 1))  # boxes that are all alike stay 0
        result[rows] = (centred @ directions.T * scale) @ directions
    return result


@POSTPROCESSING.implement("query_expansion")
def expand_queries(query: np.ndarray, gallery: np.ndarray, params: QueryExpansion) -> tuple[np.ndarray, np.ndarray]:
    """Query expansion weighted by similarity (Radenovic 2018, alpha-QE).

    Each query becomes the normalised sum of itself and its nearest gallery rows by cosine, each of these times
    ``max(similarity, 0) ** alpha``, which is 1 for all when ``alpha`` is 0. Ties are broken by position.

    Args:
        query, gallery: float arrays, Q x D and G x D; they are normalised first.
        params: ``neighbours`` gallery rows are added, or all of a gallery that has fewer; ``alpha``.

    Returns:
        (float64 Q x D, G x D of the gallery's own type): the expanded queries and the gallery, all of length 1. A row
        without a direction is NaN, and so is a query that has it as a neighbour.
    """
    query, gallery = _normalised(query), _normalised(gallery)
    similarity = 1 - pairwise(query, gallery, "cosine")
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : params.neighbours]
    weight = np.maximum(np.take_along_axis(similarity, nearest, axis=1), 0) ** params.alpha
    return _normalised(query + (weight[:, :, None] * gallery[nearest]).sum(axis=1)), gallery


@POSTPROCESSING.implement("reranking")
def rerank(distance: np.ndarray, queries: int, params: Reranking) -> np.ndarray:
    """k-reciprocal re-ranking (Zhong 2017) inside one action.

    The boxes of two people that look alike are near each other, but seldom among each other's nearest. Every box gets
    the set R of those of its ``k1`` nearest that have it among theirs, itself included; R is joined with the set (by
    half of ``k1``, rounded up) of each of its members of which at least two thirds lie in R; the members weigh
    exp(-distance), and ``k2 > 1`` takes the mean of these weights over a box and its ``k2 - 1`` nearest. The Jaccard
    distance of two boxes is 1 - sum of the smaller weights / sum of the larger ones.

    As in the paper, queries are among the neighbours: in an action they are different people, and the place that one
    takes beside a gallery box is kept from the others. As in the paper, and unlike in its authors' code, neither
    distances are divided by the largest of their row nor weights by their sum, because that would change what a
    distance means from query to query; give distances of about 1. A box is its own first neighbour, other ties are
    broken by position. In an action of at most ``k1 + 1`` boxes everybody is in every set, and the weights alone tell
    boxes apart.

    Args:
        distance: float64 ... x (Q+G) x (Q+G), symmetric; the first Q rows are the queries.
        queries: Q.
        params: ``k1`` does not count the box itself, ``k2`` does; ``lambda`` is the share of the distance in the
            result, and the rest is the Jaccard distance.

    Returns:
        float64 ... x Q x G
    """
    size = distance.shape[-1]
    order = np.argsort(np.where(np.eye(size, dtype=bool), -np.inf, distance), axis=-1, kind="stable")
    place = np.argsort(order, axis=-1)  # of each box among the neighbours of another; 0 is the box itself

    def mutual(k: int) -> np.ndarray:
        near = place <= k
        return near & np.swapaxes(near, -1, -2)

    own, small = mutual(params.k1), mutual((params.k1 + 1) // 2)
    counts = small.astype(np.float32)  # sums of 0 and 1 are exact; a set's rows are its columns
    joins = own & (3 * (own.astype(np.float32) @ counts) >= 2 * counts.sum(axis=-2, keepdims=True))
    members = own | (joins.astype(np.float32) @ counts > 0)
    weight = np.where(members, np.exp(-distance), 0)
    if params.k2 > 1:  # a sum instead of the mean: the divisor drops out of the quotient
        near = range(min(params.k2, size))
        weight = reduce(np.add, (np.take_along_axis(weight, order[..., i : i + 1], axis=-2) for i in near))
    query, gallery = weight[..., :queries, None, :], weight[..., None, queries:, :]
    smaller = np.minimum(query, gallery).sum(axis=-1)
    larger = query.sum(axis=-1) + gallery.sum(axis=-1) - smaller
    original = distance[..., :queries, queries:]
    return params.lambda_ * original + (1 - params.lambda_) * (1 - smaller / larger)


def _normalised_cost(cost: np.ndarray, axis: int) -> np.ndarray:
    """-log softmax(-cost) along an axis, from 0 up.

    The largest share is left out of the sum and comes back through log1p: shares that are all but 1 keep their order.
    """
    above = cost - cost.min(axis=axis, keepdims=True)
    others = np.exp(-above)
    np.put_along_axis(others, cost.argmin(axis=axis, keepdims=True), 0, axis)
    return above + np.log1p(others.sum(axis=axis, keepdims=True))


def _assigned(distance: np.ndarray, params: Assignment, balanced: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What dual softmax and Sinkhorn have in common: distances in which a box belongs to one query above all.

    With P the share of a query in a box, the new distance is ``-temperature * log P``, 0 or more: small where no other
    query is as near.

    Args:
        distance: float64 ... x Q x G.
        params: ``temperature`` in units of distance; ``weight`` of the new distance in the result, the rest is the
            distance as it was.
        balanced: from distance / temperature to -log P.

    Returns:
        float64 ... x Q x G; of a single query ``distance`` itself, for every box would be its own.
    """
    if distance.shape[-2] < 2 or not distance.size:
        return distance
    cost = balanced(distance / params.temperature)
    return (1 - params.weight) * distance + params.weight * params.temperature * cost


@POSTPROCESSING.implement("dual_softmax")
def dual_softmax(distance: np.ndarray, params: DualSoftmax) -> np.ndarray:
    """Dual softmax (Cheng 2021): the shares in a box are a softmax over the queries; see :func:`_assigned`."""
    return _assigned(distance, params, lambda cost: _normalised_cost(cost, axis=-2))


@POSTPROCESSING.implement("sinkhorn")
def sinkhorn(distance: np.ndarray, params: Sinkhorn) -> np.ndarray:
    """Shares that are balanced over the gallery too (Sinkhorn; Cuturi 2013); see :func:`_assigned`.

    exp(-distance / temperature) is made to sum to 1 over the gallery and over the queries in turn, ``iterations``
    times, of which each ends with the queries. This also keeps a query from claiming much more than the others.
    """

    def balanced(cost: np.ndarray) -> np.ndarray:
        for _ in range(params.iterations):
            cost = _normalised_cost(_normalised_cost(cost, axis=-1), axis=-2)
        return cost

    return _assigned(distance, params, balanced)
