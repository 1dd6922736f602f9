"""Which boxes are true matches, against a plain loop; rankings of other boxes and hidden labels are refused."""

from collections import Counter

import numpy as np
import pytest

from builders import scored
from reid.core.errors import ReidError
from reid.evaluation.true_matches import scored_rows
from reid.ranking.distances import read_distances
from reid.ranking.ranking_file import ranking_of
from reid.retrieval.order import rank


@pytest.mark.parametrize("seed", range(3))
def test_matches_and_rows_equal_a_plain_loop(tmp_path, seed):
    rows = scored.write_split(tmp_path, seed)
    ranked = rank(read_distances(tmp_path / "distances.parquet"))
    match, gallery_row, query_row = scored_rows(ranked, scored.table_of(rows), "d")
    person = {(row["role"], row["bbox_idx"]): row["person_uid"] for row in rows}
    place = {(row["role"], row["bbox_idx"]): i for i, row in enumerate(rows)}
    lists = {int(query): boxes for query, boxes in ranking_of(ranked).items()}
    assert list(lists) == sorted(lists)
    pairs = [(query, box) for query, boxes in lists.items() for box in boxes]
    assert match.dtype == bool
    assert match.tolist() == [person["query", query] == person["gallery", box] for query, box in pairs]
    assert gallery_row.tolist() == [place["gallery", box] for _, box in pairs]
    assert query_row.tolist() == [place["query", query] for query in lists]
    assert ranked.start.tolist() == np.cumsum([0, *map(len, lists.values())])[:-1].tolist()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda rows: [r for r in rows if (r["role"], r["bbox_idx"]) != ("query", 0)], "query 0: there is no such"),
        (lambda rows: [*rows, {**rows[0], "bbox_idx": 999}], "query 999: is missing"),
        (lambda rows: [*rows, {**rows[-1], "bbox_idx": 999}], "gallery box 999 of its action is missing"),
        (lambda rows: rows[:-1], "there is no gallery box"),
        (
            lambda rows: [{**r, "action_idx": 11 * (r["role"] == "gallery")} for r in rows],
            "action 11, the query of 0",
        ),
        (lambda rows: [{**rows[0], "person_uid": 5}, *rows[1:]], "query 0: its person is not in the gallery"),
        (lambda rows: [{**r, "person_uid": None} for r in rows], "has no labels"),
        (lambda rows: [{**r, "role": "train"} for r in rows], "has no queries"),
        (lambda rows: [r for r in rows if r["role"] == "query"], "there is no gallery box"),
    ],
)
def test_a_ranking_of_other_boxes_is_refused(tmp_path, change, message):
    rows = scored.write_split(tmp_path)
    ranked = rank(read_distances(tmp_path / "distances.parquet"))
    with pytest.raises(ReidError, match=message):
        scored_rows(ranked, scored.table_of(change(rows)), "d")


def test_galleries_of_one_size_that_changed_places_are_refused(tmp_path):
    rows = scored.write_split(tmp_path, actions=30)
    size = Counter(row["action_idx"] for row in rows if row["role"] == "gallery")
    a, b = next((a, b) for a in range(30) for b in range(a) if size[a] == size[b])
    places = {("gallery", a): b, ("gallery", b): a}
    rows = [{**r, "action_idx": places.get((r["role"], r["action_idx"]), r["action_idx"])} for r in rows]
    ranked = rank(read_distances(tmp_path / "distances.parquet"))
    with pytest.raises(ReidError, match=f"is of action {a}, the query of {b}"):
        scored_rows(ranked, scored.table_of(rows), "d")


def test_a_box_ranked_twice_is_refused(tmp_path):
    table = scored.table_of(scored.write_split(tmp_path))
    ranked = rank(read_distances(tmp_path / "distances.parquet"))
    assert ranked.gallery[0] != ranked.gallery[1]
    ranked.gallery[0] = ranked.gallery[1]
    with pytest.raises(ReidError, match="stands more than once"):
        scored_rows(ranked, table, "d")
