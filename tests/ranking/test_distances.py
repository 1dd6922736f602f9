"""Distances inside each action against a loop over queries and boxes."""

import argparse
import math
import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from scipy.linalg import fractional_matrix_power
from scipy.stats import rankdata

from builders import ROOT
from reid.core.errors import ReidError
from reid.data.actions import Action, group_actions
from reid.data.index import write_index
from reid.params.schema import section_class
from reid.ranking.distances import SCHEMA, action_distances, read_distances, write_distances
from reid.ranking.postprocessing import expand_queries, rerank, sinkhorn
from reid.retrieval.order import rank

EXPANSION = {"query_expansion": {"neighbours": 2, "alpha": 1.0}}
RERANKING = {"reranking": {"k1": 3, "k2": 2, "lambda": 0.4}}
SINKHORN = {"sinkhorn": {"temperature": 0.2, "iterations": 3, "weight": 0.7}}


def section(metric="euclidean", postprocessing=None, **changes):
    return section_class("Distances").model_validate(
        {"metric": metric, "postprocessing": postprocessing or {}, **changes}
    )


def index(seed, actions=7, rows=60):
    """Role, bbox_idx and action_idx as an index has them: sorted by role and bbox_idx, actions in no order."""
    rng = np.random.default_rng(seed)
    queries = rows // 4
    numbers = rng.choice(50, actions, replace=False)
    action = np.concatenate([rng.choice(numbers, queries), rng.permutation(np.resize(numbers, rows - queries))])
    bbox = [np.sort(rng.choice(200, n, replace=False)) for n in (queries, rows - queries)]
    return pa.table(
        {
            "role": ["query"] * queries + ["gallery"] * (rows - queries),
            "bbox_idx": pa.array(np.concatenate(bbox), pa.int32()),
            "action_idx": pa.array(action, pa.int32()),
        }
    )


def naive_distance(a, b, metric):
    a, b = a.astype(float).tolist(), b.astype(float).tolist()
    if metric == "euclidean":
        return math.dist(a, b)
    return 1 - sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def naive_pairs(table, embeddings, metric, weights=None, scale="none"):
    """(query, box): (action, weighted mean of the distance over the models), for every pair inside an action."""
    rows = list(enumerate(table.to_pylist()))
    pairs = {
        (q["bbox_idx"], g["bbox_idx"]): (q["action_idx"], [naive_distance(e[i], e[j], metric) for e in embeddings])
        for i, q in rows
        for j, g in rows
        if (q["role"], g["role"]) == ("query", "gallery") and q["action_idx"] == g["action_idx"]
    }
    weights = weights or [1] * len(embeddings)
    means = [sum(column) / len(pairs) for column in zip(*(row for _, row in pairs.values()), strict=True)]
    unit = means if scale == "mean" else [1] * len(embeddings)
    return {
        key: (action, sum(w * d / u for w, d, u in zip(weights, row, unit, strict=True)) / sum(weights))
        for key, (action, row) in pairs.items()
    }


def random_embeddings(seed, rows, widths):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(rows, width)).astype(np.float32) for width in widths]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("widths", [(5,), (3, 8), (1, 4, 16)])
def test_distances_come_back_from_the_file_as_the_naive_pairs(tmp_path, metric, widths):
    for seed in range(6):
        table = index(seed)
        embeddings = random_embeddings(seed, len(table), widths)
        groups = group_actions(table)
        write_distances(tmp_path / "d.parquet", table, groups, action_distances(embeddings, groups, section(metric)))
        pairs = read_distances(tmp_path / "d.parquet")
        wanted = naive_pairs(table, embeddings, metric)
        keys = list(zip(pairs.query.tolist(), pairs.gallery.tolist(), strict=True))
        assert len(keys) == len(set(keys))
        assert set(keys) == set(wanted)
        assert pairs.action.tolist() == [wanted[key][0] for key in keys]
        np.testing.assert_allclose(pairs.distance, [wanted[key][1] for key in keys], rtol=1e-9, atol=1e-9)
        assert (pairs.query.dtype, pairs.gallery.dtype, pairs.distance.dtype) == (np.int64, np.int64, np.float64)
        starts = np.flatnonzero(np.diff(pairs.query, prepend=-1))
        assert len(starts) == len(set(pairs.query.tolist()))  # the pairs of a query stand together


def test_the_file_holds_one_row_per_action_with_a_query_in_order_of_action(tmp_path):
    table = index(1)
    groups = group_actions(table)
    embeddings = random_embeddings(1, len(table), (4,))
    write_distances(tmp_path / "d.parquet", table, groups, action_distances(embeddings, groups, section()))
    stored = pq.read_table(tmp_path / "d.parquet")
    assert stored.schema.equals(SCHEMA)
    with_query = {row["action_idx"] for row in table.to_pylist() if row["role"] == "query"}
    assert stored["action_idx"].to_pylist() == sorted(with_query)
    wanted = naive_pairs(table, embeddings, "euclidean")
    for row in stored.to_pylist():
        for role in ("query", "gallery"):
            boxes = [
                r["bbox_idx"] for r in table.to_pylist() if (r["role"], r["action_idx"]) == (role, row["action_idx"])
            ]
            assert row[role] == sorted(boxes)
        flat = [wanted[q, g][1] for q in row["query"] for g in row["gallery"]]
        np.testing.assert_allclose(row["distance"], flat, rtol=1e-9)


def test_actions_without_a_query_are_left_out_and_rows_are_those_of_the_index():
    table = pa.table(
        {
            "role": ["query", "query", "query", "gallery", "gallery", "gallery", "gallery"],
            "bbox_idx": [0, 1, 2, 0, 1, 2, 3],
            "action_idx": [9, 4, 9, 4, 7, 9, 9],
        }
    )
    result = [(a.action_idx, a.query.tolist(), a.gallery.tolist()) for a in group_actions(table)]
    assert result == [(4, [1], [3]), (9, [0, 2], [5, 6])]


@pytest.mark.parametrize("scale", ["none", "mean"])
@pytest.mark.parametrize("weights", [None, [1.0, 1.0, 1.0], [0.2, 3.0, 0.7]])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_models_are_weighted_and_scaled_as_in_the_naive_pairs(metric, weights, scale):
    table = index(3)
    embeddings = random_embeddings(3, len(table), (3, 8, 5))
    embeddings[1] *= 20
    groups = group_actions(table)
    result = action_distances(embeddings, groups, section(metric, scale=scale), weights)
    wanted = naive_pairs(table, embeddings, metric, weights, scale)
    bbox = table["bbox_idx"].to_pylist()
    for group, matrix in zip(groups, result, strict=True):
        row = [wanted[bbox[q], bbox[g]][1] for q in group.query for g in group.gallery]
        np.testing.assert_allclose(matrix.ravel(), row, rtol=1e-9)


@pytest.mark.parametrize("scale", ["none", "mean"])
@pytest.mark.parametrize("assignment", [{}, SINKHORN])
@pytest.mark.parametrize("reranking", [{}, RERANKING])
@pytest.mark.parametrize("expansion", [{}, EXPANSION])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_steps_follow_each_other_in_their_order(metric, expansion, reranking, assignment, scale):
    """Expansion in each model, distances, scale, the mean over models, re-ranking, assignment; no stacks."""
    table, weights = index(5), [1.5, 0.25]
    groups, embeddings = group_actions(table), random_embeddings(5, len(table), (4, 6))
    params = section(metric, {**assignment, **reranking, **expansion}, scale=scale)
    steps = params.postprocessing
    result = action_distances(embeddings, groups, params, weights)

    models = []
    for array in embeddings:
        models.append([])
        for group in groups:
            query, gallery = array[group.query].astype(float), array[group.gallery].astype(float)
            if expansion:
                query, gallery = expand_queries(query, gallery, steps.query_expansion)
            rows = [*query, *gallery]
            models[-1].append(np.array([[naive_distance(a, b, metric) for b in rows] for a in rows]))
        if scale == "mean":
            asked = [m[: len(g.query), len(g.query) :].ravel() for g, m in zip(groups, models[-1], strict=True)]
            models[-1] = [matrix / np.concatenate(asked).mean() for matrix in models[-1]]
    for group, matrix, *whole in zip(groups, result, *models, strict=True):
        wanted = np.average(whole, axis=0, weights=weights)
        asked = len(group.query)
        wanted = rerank(wanted, asked, steps.reranking) if reranking else wanted[:asked, asked:]
        wanted = sinkhorn(wanted, steps.sinkhorn) if assignment else wanted
        np.testing.assert_allclose(matrix, wanted, atol=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(
    "changes, weights",
    [
        ({}, None),
        ({"scale": "mean"}, [0.3, 0.7]),
        ({"postprocessing": {**EXPANSION, **SINKHORN}}, [0.3, 0.7]),
    ],
)
def test_equal_embeddings_have_equal_distances_to_the_bit(metric, changes, weights):
    rng = np.random.default_rng(2)
    embeddings = rng.normal(size=(50, 37)).astype(np.float32)
    embeddings[20::3] = embeddings[20]  # among others: blocks of a matrix product would round them apart
    groups = [Action(0, np.arange(20), np.arange(20, 50)), Action(1, np.arange(20), np.array([20, 23]))]
    first, second = action_distances([embeddings] * len(weights or [1]), groups, section(metric, **changes), weights)
    assert (first[:, ::3] == first[:, :1]).all()
    assert (second == second[:, :1]).all()
    if not changes:
        assert (second == first[:, :1]).all()
    assert not (first[:, 1] == first[:, 0]).any()


@pytest.mark.parametrize("weights", [None, [1.0, 1.0]])
def test_mean_over_models_alike_is_the_plain_mean_to_the_bit(weights):
    table = index(4)
    groups, embeddings = group_actions(table), random_embeddings(4, len(table), (7, 3))
    one, other = (action_distances([array], groups, section("cosine")) for array in embeddings)
    result = action_distances(embeddings, groups, section("cosine"), weights)
    assert all((f == (a + b) / 2).all() for f, a, b in zip(result, one, other, strict=True))


def test_scale_of_equal_embeddings_is_left_alone():
    groups = group_actions(index(0))
    result = action_distances([np.ones((60, 4), np.float32)], groups, section(scale="mean"))
    assert all((matrix == 0).all() for matrix in result)


@pytest.mark.parametrize(
    "metric, steps, words",
    [
        ("cosine", {}, "a cosine distance is not a number.*use distances.metric: euclidean"),
        ("cosine", RERANKING, "a cosine distance is not a number.*use distances.metric: euclidean"),
        (
            "euclidean",
            EXPANSION,
            "distances.postprocessing.query_expansion returns a value that is not finite; an embedding of zeros has "
            "no direction: leave the step out and use distances.metric: euclidean",
        ),
    ],
)
def test_embedding_of_zeros_is_refused_by_its_action_where_it_needs_a_direction(metric, steps, words):
    table = index(0)
    groups, (embeddings,) = group_actions(table), random_embeddings(0, len(table), (4,))
    embeddings[groups[2].gallery[0]] = 0
    with pytest.raises(ReidError, match=f"action {groups[2].action_idx}: {words}"):
        action_distances([embeddings], groups, section(metric, steps))
    assert action_distances([embeddings], groups, section("euclidean"))


PROGRAM = runpy.run_path(str(ROOT / "scripts/distances.py"))
FUSED = {"a": 0.5, "b": 2.0}


@pytest.mark.parametrize(
    "files, given, wanted",
    [
        (["a/valid.npy", "b/valid.npy"], None, [0.5, 2.0]),
        (["results/b/valid.npy", "results/a/valid.npy"], None, [2.0, 0.5]),
        (["a/valid.npy", "c/valid.npy"], None, [1.0, 1.0]),
        (["a/valid.npy"], None, [1.0]),
        (["a/valid.npy", "a/test.npy"], None, [1.0, 1.0]),
        (["mine.npy", "other.npy", "third.npy"], None, [1.0, 1.0, 1.0]),
        (["a/valid.npy", "b/valid.npy"], [3.0, 4.0], [3.0, 4.0]),
    ],
)
def test_files_get_the_weights_of_the_models_they_are_named_after(files, given, wanted):
    assert PROGRAM["weights_of"]([Path(file) for file in files], given, FUSED) == wanted


@pytest.mark.parametrize("given", [[1.0], [1.0, 2.0, 3.0]])
def test_weights_that_do_not_fit_the_files_are_refused(given):
    with pytest.raises(ReidError, match="--weights: needs 2 numbers, .*, not [13]"):
        PROGRAM["weights_of"]([Path("a/valid.npy"), Path("b/valid.npy")], given, FUSED)


def test_program_takes_settings_and_weights_from_the_parameter_file(tmp_path):
    """One model is trained and the other's embeddings come from elsewhere."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["models"] = {"a": next(iter(content["models"].values()))}
    content["external_models"] = {"b": {"folder": "mine"}}
    content["distances"] = {"metric": "cosine", "models": FUSED, "scale": "mean", "postprocessing": RERANKING}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    table = index(6)
    write_index(tmp_path / "valid.parquet", table, "valid", "0" * 64)
    embeddings = random_embeddings(6, len(table), (4, 9))
    for name, array in zip(FUSED, embeddings, strict=True):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "valid.npy", array)
    files = [tmp_path / name / "valid.npy" for name in FUSED]
    for given in (None, [3.0, 1.0]):
        PROGRAM["main"](
            argparse.Namespace(
                params=tmp_path / "params.yaml",
                index=tmp_path / "valid.parquet",
                embeddings=files,
                weights=given,
                out=tmp_path / "d.parquet",
            )
        )
        params = section("cosine", RERANKING, models=FUSED, scale="mean")
        wanted = action_distances(embeddings, group_actions(table), params, given or list(FUSED.values()))
        written = read_distances(tmp_path / "d.parquet").distance
        assert (written == np.concatenate([matrix.ravel() for matrix in wanted])).all()


@pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_program_takes_embeddings_of_any_float_type_and_makes_the_same_file(tmp_path, kind, order):
    """NumPy's default is float64."""
    table = index(6)
    write_index(tmp_path / "i.parquet", table, "valid", "0" * 64)
    rows = np.random.default_rng(2).normal(size=(len(table), 5)).astype(np.float16)
    for name, array in (("a", rows.astype(np.float32)), ("b", np.asarray(rows, kind, order=order))):
        np.save(tmp_path / f"{name}.npy", array)
        files = {"index": tmp_path / "i.parquet", "embeddings": [tmp_path / f"{name}.npy"], "weights": None}
        out = tmp_path / f"{name}.parquet"
        PROGRAM["main"](argparse.Namespace(params=ROOT / "params.yaml", out=out, **files))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_euclidean_distance_of_close_embeddings_does_not_cancel():
    embeddings = np.full((2, 8), 1000, np.float32)
    embeddings[1, 0] += 2.0**-10
    (result,) = action_distances([embeddings], [Action(0, np.array([0]), np.array([1]))], section())
    assert result[0, 0] == pytest.approx(2.0**-10, rel=1e-12)


def stored(path, **changes):
    columns = {"action_idx": [3, 5], "query": [[1], [2]], "gallery": [[1, 2], [3]], "distance": [[0.5, 1.5], [2.5]]}
    pq.write_table(pa.table({**columns, **changes}, schema=SCHEMA), path)
    return path


def test_written_by_another_program_is_read(tmp_path):
    pairs = read_distances(stored(tmp_path / "d.parquet"))
    assert [column.tolist() for column in pairs] == [[1, 1, 2], [1, 2, 3], [3, 3, 5], [0.5, 1.5, 2.5]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_distance_that_is_not_finite_is_refused(tmp_path, value):
    with pytest.raises(ReidError, match=r"d\.parquet: a distance is not a finite number"):
        read_distances(stored(tmp_path / "d.parquet", distance=[[0.5, value], [2.5]]))


@pytest.mark.parametrize("distance", [[[0.5], [2.5]], [[0.5, 1.5, 2.5], []], [[0.5], [1.5, 2.5]]])
def test_action_without_one_distance_per_pair_is_refused_even_if_the_sum_is_right(tmp_path, distance):
    with pytest.raises(ReidError, match=r"d\.parquet: action 3 .*one distance for each pair"):
        read_distances(stored(tmp_path / "d.parquet", distance=distance))


@pytest.mark.parametrize("kind", ["missing", "garbage", "empty", "index", "other columns", "no rows"])
def test_file_that_holds_no_distances_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "d.parquet"
    if kind in ("garbage", "empty"):
        path.write_bytes(b"PAR1 but no more" if kind == "garbage" else b"")
    elif kind == "index":
        pq.write_table(index(0), path)
    elif kind == "other columns":
        pq.write_table(pa.table({"x": [1]}), path)
    elif kind == "no rows":
        pq.write_table(SCHEMA.empty_table(), path)
    problem = "there is no such file" if kind == "missing" else "is not a distance file"
    with pytest.raises(ReidError, match=rf"d\.parquet: {problem}.*make it with scripts/distances\.py"):
        read_distances(path)


def foreign(path, *more, metadata=None, **changes):
    """A distance file of :func:`stored` with other columns: values, or (values, type)."""
    columns = {"action_idx": [3, 5], "query": [[1], [2]], "gallery": [[1, 2], [3]], "distance": [[0.5, 1.5], [2.5]]}
    arrays = {}
    for name, values in (columns | changes).items():
        values, kind = values if isinstance(values, tuple) else (values, SCHEMA.field(name).type)
        arrays[name] = values if isinstance(values, pa.Array) else pa.array(values, kind)
    pq.write_table(pa.table(arrays).replace_schema_metadata(metadata), path, store_schema=True)
    return path


WIDE = (pa.int8(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64())


@pytest.mark.parametrize("kind", WIDE, ids=str)
def test_numbers_of_any_width_are_read(tmp_path, kind):
    changes = {"action_idx": ([3, 5], kind), "query": ([[1], [2]], pa.list_(kind))}
    pairs = read_distances(foreign(tmp_path / "d.parquet", gallery=([[1, 2], [3]], pa.list_(kind)), **changes))
    assert [column.tolist() for column in pairs] == [[1, 1, 2], [1, 2, 3], [3, 3, 5], [0.5, 1.5, 2.5]]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.int64(), pa.uint8()], ids=str)
def test_distances_of_any_width_are_read(tmp_path, kind):
    pairs = read_distances(foreign(tmp_path / "d.parquet", distance=([[0, 1], [2]], pa.list_(kind))))
    assert pairs.distance.tolist() == [0, 1, 2] and pairs.distance.dtype == np.float64


def test_lists_of_any_kind_are_read(tmp_path):
    path = foreign(
        tmp_path / "d.parquet",
        query=([[1], [2]], pa.list_(pa.int32(), 1)),
        gallery=([[1, 2], [3]], pa.large_list(pa.int64())),
    )
    assert read_distances(path).gallery.tolist() == [1, 2, 3]


def test_order_of_actions_and_boxes_does_not_matter(tmp_path):
    columns = {"query": [[2], [4, 1]], "gallery": [[3], [2, 1]], "distance": [[2.5], [0.4, 0.3, 0.2, 0.1]]}
    one = rank(read_distances(foreign(tmp_path / "d.parquet", action_idx=[5, 3], **columns)))
    columns = {"query": [[1, 4], [2]], "gallery": [[1, 2], [3]], "distance": [[0.1, 0.2, 0.3, 0.4], [2.5]]}
    other = rank(read_distances(foreign(tmp_path / "e.parquet", **columns)))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("metadata", [None, {"reid": "{"}, {"reid": "[]"}, {"pandas": "x", "reid": b"\xff"}], ids=str)
def test_metadata_of_a_distance_file_do_not_matter(tmp_path, metadata):
    assert len(read_distances(foreign(tmp_path / "d.parquet", metadata=metadata)).query) == 3


FOREIGN = {
    "null action": ({"action_idx": [3, None]}, "a value of its column action_idx is null"),
    "null list": ({"query": [[1], None]}, "a value of its column query is null"),
    "null in a list": ({"gallery": [[1, None], [3]]}, "a value of its column gallery is null"),
    "null distance": ({"distance": [[0.5, None], [2.5]]}, "a value of its column distance is null"),
    "NaN": ({"distance": [[0.5, np.nan], [2.5]]}, "a distance is not a finite number"),
    "minus infinity": ({"distance": [[0.5, -np.inf], [2.5]]}, "a distance is not a finite number"),
    "action of text": ({"action_idx": (["3", "5"], pa.string())}, "its column action_idx is string, not int32"),
    "action of a fraction": ({"action_idx": ([3.0, 5.0], pa.float64())}, "its column action_idx is double, not int32"),
    "bool": ({"query": ([[True], [False]], pa.list_(pa.bool_()))}, "its column query is list<.*bool>, not list"),
    "texts in lists": ({"query": ([["1"], ["2"]], pa.list_(pa.string()))}, "its column query is list<.*string>, not"),
    "fractions in lists": (
        {"gallery": ([[1.0, 2.0], [3.5]], pa.list_(pa.float32()))},
        "its column gallery is list<.*float>",
    ),
    "distances of text": (
        {"distance": ([["0.5", "1.5"], ["2"]], pa.list_(pa.string()))},
        "its column distance is list<",
    ),
    "no lists": ({"distance": ([0.5, 2.5], pa.float64())}, "its column distance is double, not list"),
    "lists of lists": (
        {"distance": ([[[0.5, 1.5]], [[2.5]]], pa.list_(pa.list_(pa.float64())))},
        "its column distance is list<",
    ),
    "records": ({"query": ([{"a": 1}, {"a": 2}], pa.struct([("a", pa.int32())]))}, "its column query is struct<"),
    "too large": ({"query": ([[1], [2**40]], pa.list_(pa.int64()))}, "Integer value 1099511627776 not in range"),
    "negative action": ({"action_idx": [-3, 5]}, "there is no action -3, for they are numbered from 0"),
    "negative query": ({"query": [[-1], [2]]}, "there is no query -1"),
    "negative box": ({"gallery": [[1, 2], [-3]]}, "there is no gallery box -3"),
    "action twice": ({"action_idx": [3, 3]}, "action 3 stands more than once"),
    "query twice": ({"query": [[1], [1]]}, "query 1 stands more than once"),
    "query twice in an action": (
        {"query": [[1, 1], [2]], "distance": [[1.0] * 4, [2.5]]},
        "query 1 stands more than once",
    ),
    "box twice": ({"gallery": [[1, 1], [3]]}, "gallery box 1 stands more than once"),
    "box of two actions": ({"gallery": [[1, 2], [2]]}, "gallery box 2 stands more than once"),
    "fewer distances": ({"distance": [[0.5], [2.5]]}, "action 3 has not one distance for each pair"),
    "more distances": ({"distance": [[0.5, 1.5], [2.5, 3.5]]}, "action 5 has not one distance for each pair"),
    "none at all": ({"distance": [[], []]}, "action 3 and 1 more have not one distance for each pair"),
    "action without queries": ({"query": [[], [2]], "distance": [[], [2.5]]}, "action 3 has not one distance"),
    "action without boxes": ({"gallery": [[1, 2], []], "distance": [[0.5, 1.5], []]}, "action 5 has not one distance"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_distances_are_refused_with_what_is_wrong(tmp_path, kind):
    changes, problem = FOREIGN[kind]
    with pytest.raises(ReidError, match=rf"d\.parquet: (is not a distance file \()?{problem}") as caught:
        read_distances(foreign(tmp_path / "d.parquet", **changes))
    assert "\n" not in str(caught.value)


def test_written_distances_of_which_a_byte_has_changed_are_refused(tmp_path):
    table, path = index(6), tmp_path / "d.parquet"
    actions = group_actions(table)
    write_distances(path, table, actions, [np.random.rand(len(a.query), len(a.gallery)) for a in actions])
    content = path.read_bytes()
    for place in [0, len(content) - 1, *np.random.default_rng(0).integers(0, len(content), 25).tolist()]:
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(ReidError, match=r"d\.parquet: is not what was written"):
            read_distances(path)


# ---- fusion by places


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.5, 2.0]])
def test_places_are_those_of_scipys_ranks(weights):
    table = index(3, rows=90)
    actions = group_actions(table)
    embeddings = random_embeddings(3, len(table), (3, 5))
    embeddings[0][::3] = embeddings[0][0]  # boxes of one distance
    alone = [action_distances([e], actions, section()) for e in embeddings]
    found = action_distances(embeddings, actions, section(fusion="rank"), weights)
    for action, result, *matrices in zip(actions, found, *alone, strict=True):
        if not len(action.gallery):
            continue
        places = [(rankdata(m, axis=1) - 1) / max(1, m.shape[1] - 1) for m in matrices]
        np.testing.assert_allclose(result, np.average(places, axis=0, weights=weights), atol=1e-12)


def test_one_box_has_the_first_place():
    actions = [Action(0, np.array([0]), np.array([1]))]
    assert action_distances(random_embeddings(1, 2, (4,)), actions, section(fusion="rank"))[0].tolist() == [[0.0]]


# ---- whitening


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])  # to cosines the scale is all one
@pytest.mark.parametrize("over", ["action", "split"])
@pytest.mark.parametrize("shrinkage", [0.05, 1.0])
@pytest.mark.parametrize("width", [3, 40])
def test_whitening_is_the_root_of_the_inverse_of_the_shrunk_covariance(metric, over, shrinkage, width):
    table = index(4, rows=80)
    actions = group_actions(table)
    [embeddings] = random_embeddings(4, len(table), (width,))
    found = action_distances(
        [embeddings], actions, section(metric, {"whitening": {"over": over, "shrinkage": shrinkage}})
    )
    every = np.concatenate([rows for action in actions for rows in (action.query, action.gallery)])
    for action, result in zip(actions, found, strict=True):
        rows = np.concatenate([action.query, action.gallery]) if over == "action" else every
        mean = embeddings[rows].astype(float).mean(axis=0)
        covariance = np.atleast_2d(np.cov(embeddings[rows].astype(float).T, bias=True))
        shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / width * np.eye(width)
        white = (embeddings - mean) @ fractional_matrix_power(shrunk, -0.5).real
        wanted = [[naive_distance(white[q], white[g], metric) for g in action.gallery] for q in action.query]
        np.testing.assert_allclose(result, np.reshape(wanted, result.shape), atol=1e-7)


def test_boxes_that_are_all_alike_have_no_distance_after_whitening():
    table = index(5)
    actions = group_actions(table)
    embeddings = np.ones((len(table), 4), np.float32)
    params = section("euclidean", {"whitening": {"over": "split", "shrinkage": 0.5}})
    assert all((matrix == 0).all() for matrix in action_distances([embeddings], actions, params))
