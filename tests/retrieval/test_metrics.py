"""Scores against the official evaluator, plain loops and all orders of small galleries."""

import contextlib
import functools
import io
import itertools
import json

import numpy as np
import pytest

from reid.retrieval.metrics import (
    ap_histogram,
    average_precision,
    chance,
    cmc,
    first_match_rank,
    inverse_negative_penalty,
    score,
)
from reid.retrieval.order import Pairs, rank


@functools.cache
def official():
    from SoccerNet.Evaluation.ReIdentification import evaluate  # takes seconds

    return evaluate


def random_split(seed, largest=12):
    """Pairs in no order, with tied distances, and the person of each query and gallery box."""
    rng = np.random.default_rng(seed)
    query_person, gallery_person, action_of, pairs = {}, {}, {}, []
    queries, boxes = rng.permutation(500).tolist(), rng.permutation(500).tolist()
    for action in range(rng.integers(1, 6)):
        persons = [100 * action + i for i in range(rng.integers(1, 5))]
        gallery = {boxes.pop(): uid for uid in persons}  # a match for each
        gallery |= {
            boxes.pop(): int(rng.choice([*persons, 100 * action + 50])) for _ in range(rng.integers(0, largest))
        }
        for uid in persons:
            query = queries.pop()
            query_person[query], action_of[query] = uid, action
            pairs += [(query, box, action, int(rng.integers(0, 6)) / 4) for box in gallery]
        gallery_person |= gallery
        action_of |= {("gallery", box): action for box in gallery}
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    kinds = (np.int64, np.int64, np.int64, np.float64)
    columns = [np.array(column, kind) for column, kind in zip(zip(*pairs, strict=True), kinds, strict=True)]
    return Pairs(*columns), query_person, gallery_person, action_of


def naive_ranking(pairs):
    """Query to its boxes, best first, by sorting tuples."""
    rows = {}
    for query, box, _, distance in zip(*(column.tolist() for column in pairs), strict=True):
        rows.setdefault(query, []).append((distance, box))
    return {query: [box for _, box in sorted(row)] for query, row in rows.items()}


def matches_of(ranked, query_person, gallery_person):
    both = zip(ranked.query.tolist(), ranked.gallery.tolist(), strict=True)
    return np.array([query_person[query] == gallery_person[box] for query, box in both])


def naive_ap(row):
    hits = [position for position, match in enumerate(row, start=1) if match]
    return sum(number / position for number, position in enumerate(hits, start=1)) / len(hits)


def flat(rows):
    """Lists of bool per query as ``match`` and ``start``."""
    return np.array([x for row in rows for x in row]), np.cumsum([0, *map(len, rows)])[:-1]


def random_rows(seed, count=25, largest=15):
    rng = np.random.default_rng(seed)
    rows = [(rng.random(rng.integers(1, largest + 1)) < 0.2).tolist() for _ in range(count)]
    for row in rows:
        row[rng.integers(len(row))] = True
    return rows


@pytest.mark.parametrize("largest", [1, 4, 30])  # 1: many galleries of one box
def test_map_and_rank_1_equal_the_official_evaluators(tmp_path, largest):
    for seed in range(15):
        pairs, query_person, gallery_person, action_of = random_split(seed, largest)
        truth = {
            "query": {
                str(q): {"bbox_idx": q, "person_uid": p, "action_idx": action_of[q]} for q, p in query_person.items()
            },
            "gallery": {
                str(g): {"bbox_idx": g, "person_uid": p, "action_idx": action_of["gallery", g]}
                for g, p in gallery_person.items()
            },
        }
        (tmp_path / "truth.json").write_text(json.dumps(truth))
        (tmp_path / "ranking.json").write_text(json.dumps(naive_ranking(pairs)))
        with contextlib.redirect_stdout(io.StringIO()):
            wanted = official()(str(tmp_path / "truth.json"), str(tmp_path / "ranking.json"))
        ranked = rank(pairs)
        result = score(matches_of(ranked, query_person, gallery_person), ranked.start)
        assert result["mAP"] == pytest.approx(wanted["mAP"], abs=1e-12)
        assert result["rank-1"] == pytest.approx(float(wanted["rank-1"]), abs=1e-6)  # theirs is float32
        assert (result["queries"], result["pairs"]) == (len(query_person), len(pairs.query))


def test_ranking_is_by_distance_then_bbox_idx_whatever_the_order_of_the_pairs():
    for seed in range(15):
        pairs, *_ = random_split(seed)
        wanted = naive_ranking(pairs)
        rng = np.random.default_rng(seed)
        for _ in range(3):
            order = rng.permutation(len(pairs.query))
            ranked = rank(Pairs(*(column[order] for column in pairs)))
            assert ranked.query[ranked.start].tolist() == sorted(wanted)
            lists = np.split(ranked.gallery, ranked.start[1:])
            assert [part.tolist() for part in lists] == [wanted[query] for query in sorted(wanted)]
            assert ranked.query.tolist() == [query for query in sorted(wanted) for _ in wanted[query]]


def test_average_precision_and_rank_of_the_first_match_by_hand():
    match, start = flat([[True], [False, True, True], [False, False, False, True], [True, False, True]])
    np.testing.assert_allclose(average_precision(match, start), [1, (1 / 2 + 2 / 3) / 2, 1 / 4, (1 + 2 / 3) / 2])
    assert first_match_rank(match, start).tolist() == [1, 2, 4, 1]


def test_scores_equal_plain_loops_also_where_galleries_are_smaller_than_k():
    for seed in range(20):
        rows = random_rows(seed)
        result = score(*flat(rows), ranks=(1, 3, 5, 10, 50))
        assert result["mAP"] == pytest.approx(np.mean([naive_ap(row) for row in rows]), abs=1e-12)
        for k in (1, 3, 5, 10, 50):
            assert result[f"rank-{k}"] == pytest.approx(np.mean([any(row[:k]) for row in rows]), abs=1e-12)
        assert result["rank-50"] == 1
        assert any(len(row) < 5 for row in rows)


@pytest.mark.parametrize("length", [1, 7, 15, 40])
def test_cmc_equals_a_plain_loop(length):
    for seed in range(10):
        rows = random_rows(seed)
        result = cmc(*flat(rows), length)
        np.testing.assert_allclose(result, [np.mean([any(row[:k]) for row in rows]) for k in range(1, length + 1)])
        assert result.shape == (length,)
        assert length < 15 or result[-1] == 1


@pytest.mark.parametrize("size, positives", [(s, r) for s in range(1, 7) for r in range(1, s + 1)])
def test_chance_is_the_mean_over_all_orders_of_a_gallery(size, positives):
    row = [True] * positives + [False] * (size - positives)
    orders = list(itertools.permutations(row))
    result = chance(*flat([row]), ranks=(1, 2, 3, 5, 10))
    assert result["mAP"] == pytest.approx(np.mean([naive_ap(order) for order in orders]), abs=1e-12)
    for k in (1, 2, 3, 5, 10):
        assert result[f"rank-{k}"] == pytest.approx(np.mean([any(order[:k]) for order in orders]), abs=1e-12)


def test_chance_is_the_mean_over_queries_and_stands_in_the_score():
    rows = random_rows(3)
    each = [chance(*flat([row]), ranks=(1, 5)) for row in rows]
    result = score(*flat(rows), ranks=(1, 5))["chance"]
    assert set(result) == {"mAP", "rank-1", "rank-5"}
    for name, value in result.items():
        assert value == pytest.approx(np.mean([one[name] for one in each]), abs=1e-12)


def test_chance_does_not_depend_on_the_order_of_the_boxes():
    rows = random_rows(4)
    mirrored = [row[::-1] for row in rows]
    assert chance(*flat(rows), ranks=(1, 5)) == chance(*flat(mirrored), ranks=(1, 5))


def test_score_is_plain_json():
    result = score(*flat(random_rows(5)))
    assert json.loads(json.dumps(result)) == result
    assert list(result) == ["mAP", "rank-1", "rank-5", "rank-10", "mINP", "chance", "queries", "pairs"]


def test_inverse_negative_penalty_by_hand_and_by_a_plain_loop():
    match, start = flat([[True], [False, True, True], [False, False, False, True], [True, True, False]])
    np.testing.assert_allclose(inverse_negative_penalty(match, start), [1, 2 / 3, 1 / 4, 1])
    for seed in range(10):
        rows = random_rows(seed)
        wanted = [sum(row) / (len(row) - row[::-1].index(True)) for row in rows]
        np.testing.assert_allclose(inverse_negative_penalty(*flat(rows)), wanted)
        assert score(*flat(rows))["mINP"] == pytest.approx(np.mean(wanted), abs=1e-12)


def test_histogram_of_ap_puts_an_edge_into_the_bin_above_it_and_1_by_itself():
    values = np.array([0, 0.049, 0.05, 0.15, 0.55, 0.999, 1, 1])
    result = ap_histogram(values)
    assert [low for low, _, _ in result] == pytest.approx([i / 20 for i in range(21)])
    assert {low: count for low, count, _ in result if count} == {0: 2, 0.05: 1, 0.15: 1, 0.55: 1, 0.95: 1, 1: 2}
    assert sum(share for *_, share in result) == pytest.approx(1)
    for i in range(1, 21):  # rounding may leave a sum of fractions just short of an edge
        assert [count for _, count, _ in ap_histogram(np.nextafter([i / 20], 0))].index(1) == i
