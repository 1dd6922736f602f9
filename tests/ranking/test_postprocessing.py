"""Query expansion, re-ranking and assignment of boxes to queries against loops over boxes."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from reid.params.ranking import DualSoftmax, QueryExpansion, Reranking, Sinkhorn
from reid.ranking import postprocessing

# ---- query expansion


def expand_queries(query, gallery, neighbours, alpha):
    return postprocessing.expand_queries(query, gallery, QueryExpansion(neighbours=neighbours, alpha=alpha))


def unit(row):
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def naive_expansion(query, gallery, neighbours, alpha):
    gallery = [unit(row) for row in gallery.tolist()]
    expanded = []
    for row in query.tolist():
        total = row = unit(row)
        similarity = [sum(x * y for x, y in zip(row, other, strict=True)) for other in gallery]
        for i in sorted(range(len(gallery)), key=lambda i: (-similarity[i], i))[:neighbours]:
            weight = 1 if alpha == 0 else max(similarity[i], 0) ** alpha
            total = [x + weight * y for x, y in zip(total, gallery[i], strict=True)]
        expanded.append(unit(total))
    return expanded, gallery


@pytest.mark.parametrize("alpha", [0, 0.5, 1, 3])
@pytest.mark.parametrize("neighbours", [1, 2, 5, 40])  # 40: more than there are
def test_expansion_equals_the_naive_loop(neighbours, alpha):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        query, gallery = (rng.normal(size=(rng.integers(1, n), 5)) * rng.uniform(1, 9) for n in (5, 12))
        for result, wanted in zip(
            expand_queries(query, gallery, neighbours, alpha),
            naive_expansion(query, gallery, neighbours, alpha),
            strict=True,
        ):
            np.testing.assert_allclose(result, wanted, atol=1e-12)
            assert result.dtype == np.float64


def test_tied_neighbours_are_taken_by_position():
    """Mirrored about the query: three boxes are as near, and one is not."""
    query, gallery = np.array([[1.0, 0, 0]]), np.array([[0, 0, 1.0], [1, 1, 0], [1, 0, 1], [1, -1, 0]])
    expanded, _ = expand_queries(query, gallery, 2, 0)
    np.testing.assert_allclose(expanded[0], unit([1 + 2 * math.sqrt(0.5), math.sqrt(0.5), math.sqrt(0.5)]))


def test_expansion_of_a_row_without_direction_is_no_number():
    expanded, gallery = expand_queries(np.array([[0.0, 0], [1, 2]]), np.array([[3.0, 4]]), 1, 1)
    assert np.isnan(expanded[0]).all() and np.isfinite(expanded[1]).all() and np.isfinite(gallery).all()


def at_degrees(*angles):
    return np.array([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles])


def test_expansion_repairs_a_ranking():
    """The man turns by and by: 20 and 40 degrees from the query; somebody else stands at 35 on the other side."""
    query, gallery = at_degrees(0), at_degrees(40, -35, 20)
    assert cdist(query, gallery, "cosine").argsort().tolist() == [[2, 1, 0]]
    assert cdist(*expand_queries(query, gallery, 1, 1), "cosine").argsort().tolist() == [[2, 0, 1]]


# ---- re-ranking


def rerank(distance, queries, k1, k2, original):
    return postprocessing.rerank(distance, queries, Reranking(k1=k1, k2=k2, lambda_=original))


def naive_rerank(distance, queries, k1, k2, original):
    """Zhong 2017 with sets, as the paper writes it, with each box among its own neighbours."""
    boxes = range(len(distance))

    def nearest(p, k):
        return [p, *sorted((g for g in boxes if g != p), key=lambda g: (distance[p][g], g))[:k]]

    def reciprocal(p, k):
        return {g for g in nearest(p, k) if p in nearest(g, k)}

    def joined(p):
        own = reciprocal(p, k1)
        result = set(own)
        for q in own:
            half = reciprocal(q, math.ceil(k1 / 2))
            if len(own & half) >= 2 / 3 * len(half):
                result |= half
        return result

    weights = [
        [math.exp(-distance[p][g]) if g in members else 0 for g in boxes] for p in boxes for members in [joined(p)]
    ]
    means = []
    for p in boxes:
        group = nearest(p, k2 - 1)
        means.append([sum(weights[g][j] for g in group) / len(group) for j in boxes])
    result = []
    for q in range(queries):
        result.append([])
        for g in range(queries, len(distance)):
            smaller = sum(map(min, means[q], means[g]))
            larger = sum(map(max, means[q], means[g]))
            result[-1].append(original * distance[q][g] + (1 - original) * (1 - smaller / larger))
    return result


def random_action(seed, largest=9, ties=False):
    """Distances between all boxes of one action, and how many are queries; a few groups of boxes that are alike."""
    rng = np.random.default_rng(seed)
    queries, boxes = rng.integers(1, 5), rng.integers(1, largest)
    places = rng.normal(size=(4, 3))[rng.integers(4, size=queries + boxes)]
    distance = cdist(*[places + 0.5 * rng.normal(size=places.shape)] * 2)
    return np.round(distance) if ties else distance, int(queries)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k1, k2", [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (4, 3), (5, 2), (6, 6), (30, 2), (30, 30)])
def test_reranking_equals_the_naive_sets(k1, k2, ties):
    for seed in range(20):
        distance, queries = random_action(seed, ties=ties)
        before = distance.copy()
        for original in (0, 0.3):
            result = rerank(distance, queries, k1, k2, original)
            np.testing.assert_allclose(result, naive_rerank(distance.tolist(), queries, k1, k2, original), atol=1e-12)
        assert (distance == before).all()


def test_the_sets_of_the_random_actions_grow():
    """Else the naive comparison would not see what joins a set, nor what is refused."""
    grown = refused = 0
    for seed in range(25):
        distance, _ = random_action(seed)
        order = distance.argsort(axis=1).tolist()
        near = {k: [set(row[: k + 1]) for row in order] for k in (2, 3)}
        mutual = {k: [{g for g in own if p in rows[g]} for p, own in enumerate(rows)] for k, rows in near.items()}
        for own in mutual[3]:
            for half in (mutual[2][q] for q in own):
                grown += bool(3 * len(own & half) >= 2 * len(half) and half - own)
                refused += bool(3 * len(own & half) < 2 * len(half))
    assert grown > 10 and refused > 10


def test_original_distance_alone_is_what_it_was_to_the_bit():
    distance, queries = random_action(3)
    assert (rerank(distance, queries, 3, 2, 1.0) == distance[:queries, queries:]).all()


def test_stacked_actions_are_reranked_as_if_alone_to_the_bit():
    rng = np.random.default_rng(0)
    stack = np.stack([cdist(x, x) for x in rng.normal(size=(7, 14, 5))])
    result = rerank(stack, 4, 4, 2, 0.3)
    assert result.shape == (7, 4, 10)
    assert all((one == rerank(distance, 4, 4, 2, 0.3)).all() for one, distance in zip(result, stack, strict=True))


def test_in_a_small_action_the_weights_alone_tell_boxes_apart():
    """Q + G = k1 + 1: Jaccard distances of exp(-distance) between everybody."""
    distance, queries = random_action(5)
    weight = np.exp(-distance)
    wanted = [
        [1 - np.minimum(p, g).sum() / np.maximum(p, g).sum() for g in weight[queries:]] for p in weight[:queries]
    ]
    for k1 in (len(distance) - 1, len(distance), 50):
        np.testing.assert_allclose(rerank(distance, queries, k1, 1, 0.0), wanted)


LONELY = np.array(
    [0.0, 1.1, -1.0, -1.3, -1.35]
)  # query, another image of him, and somebody with two images at his side


def test_reranking_repairs_a_ranking():
    """Somebody else is nearer, but has nearer ones himself."""
    distance = np.abs(LONELY[:, None] - LONELY)
    assert distance[0, 1:].argmin() == 1
    assert rerank(distance, 1, 2, 1, 0.3).argmin() == 0


# ---- assignment of boxes to queries


def assign(distance, kind, temperature, iterations, weight):
    if kind == "dual_softmax":
        return postprocessing.dual_softmax(distance, DualSoftmax(temperature=temperature, weight=weight))
    params = Sinkhorn(temperature=temperature, iterations=iterations, weight=weight)
    return postprocessing.sinkhorn(distance, params)


def naive_shares(distance, kind, temperature, iterations, weight):
    """Shares as they are defined, in 120 digits, so that none is lost at a small temperature."""
    with localcontext() as context:
        context.prec = 120
        t, w = Decimal(temperature), Decimal(weight)
        d = [[Decimal(x) for x in row] for row in distance.tolist()]
        p = [[(-x / t).exp() for x in row] for row in d]

        def over_queries(p):
            sums = [sum(column) for column in zip(*p, strict=True)]
            return [[x / s for x, s in zip(row, sums, strict=True)] for row in p]

        if kind == "dual_softmax":
            p = over_queries(p)
        else:
            for _ in range(iterations):
                p = over_queries([[x / sum(row) for x in row] for row in p])
        return [
            [float((1 - w) * x - w * t * share.ln()) for x, share in zip(*rows, strict=True)]
            for rows in zip(d, p, strict=True)
        ]


@pytest.mark.parametrize("weight", [1.0, 0.5])
@pytest.mark.parametrize("kind, iterations", [("dual_softmax", 1), ("sinkhorn", 1), ("sinkhorn", 2), ("sinkhorn", 7)])
@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0, 50.0])
def test_shares_equal_the_naive_loop(kind, iterations, temperature, weight):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        distance = rng.uniform(0, 2, size=(rng.integers(2, 5), rng.integers(1, 6)))
        result = assign(distance, kind, temperature, iterations, weight)
        # the smallest distances are right to their own size: shares that are all but 1 stay apart
        wanted = naive_shares(distance, kind, temperature, iterations, weight)
        np.testing.assert_allclose(result, wanted, rtol=1e-8, atol=0)
        assert (result >= 0).all()


@pytest.mark.parametrize("kind", ["dual_softmax", "sinkhorn"])
def test_shares_of_a_tiny_temperature_are_finite(kind):
    rng = np.random.default_rng(1)
    distance = rng.uniform(0, 2, size=(4, 9))
    result = 1e-8 * assign(1e8 * distance, kind, 1e-4, 5, 1.0)  # 1e-12 of them is no temperature that one can set
    assert np.isfinite(result).all() and (result >= 0).all()
    if kind == "dual_softmax":  # how much nearer the nearest query is
        np.testing.assert_allclose(result, distance - distance.min(axis=0), atol=1e-9)


@pytest.mark.parametrize("kind", ["dual_softmax", "sinkhorn"])
@pytest.mark.parametrize("shape", [(1, 5), (1, 1), (3, 0)])
def test_a_single_query_and_an_empty_gallery_stay_as_they_are(kind, shape):
    distance = np.random.default_rng(0).uniform(size=shape)
    assert (assign(distance, kind, 0.1, 3, 1.0) == distance).all()


@pytest.mark.parametrize("kind", ["dual_softmax", "sinkhorn"])
def test_stacked_actions_are_shared_as_if_alone_to_the_bit(kind):
    stack = np.random.default_rng(0).uniform(size=(6, 3, 8))
    result = assign(stack, kind, 0.1, 4, 0.7)
    assert all((one == assign(d, kind, 0.1, 4, 0.7)).all() for one, d in zip(result, stack, strict=True))


@pytest.mark.parametrize("kind", ["dual_softmax", "sinkhorn"])
def test_shares_repair_a_ranking(kind):
    """The second box is nearer to the first query than his own, but it is the second query's."""
    distance = np.array([[0.5, 0.45], [0.9, 0.1]])
    assert distance.argmin(axis=1).tolist() == [1, 1]
    assert assign(distance, kind, 0.1, 5, 0.5).argmin(axis=1).tolist() == [0, 1]


def test_sinkhorn_leaves_a_box_to_each_query():
    """The first query is nearer to every box than the second."""
    distance = np.array([[0.3, 0.31, 0.0], [0.5, 0.42, 0.41]])
    result = {kind: assign(distance, kind, 0.1, 20, 1.0) for kind in ("dual_softmax", "sinkhorn")}
    assert set(result["dual_softmax"].argmin(axis=0)) == {0}
    assert set(result["sinkhorn"].argmin(axis=0)) == {0, 1}
