"""The table of all queries and its slices against plain loops; scripts/evaluate.py as a program."""

import csv
import json
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from builders import ROOT, scored
from reid.core.errors import ReidError
from reid.core.tables import values
from reid.evaluation.intervals import Resamples, action_codes, tail
from reid.evaluation.queries import query_table, read_queries, write_queries
from reid.evaluation.slices import GALLERIES, HEIGHTS, POSITIVES, RATIOS, divide, slice_scores
from reid.evaluation.true_matches import scored_rows
from reid.ranking.distances import read_distances
from reid.ranking.ranking_file import ranking_of
from reid.retrieval.metrics import score
from reid.retrieval.order import rank


def naive_queries(rows, ranked):
    """What is known of each query, by going through the rows of the index and the ranked lists."""
    box = {(row["role"], row["bbox_idx"]): row for row in rows}
    result = []
    for query, gallery in sorted((int(q), g) for q, g in ranking_of(ranked).items()):
        row = box["query", query]
        boxes = [box["gallery", idx] for idx in gallery]
        hits = [k for k, other in enumerate(boxes, start=1) if other["person_uid"] == row["person_uid"]]
        result.append(
            {
                "bbox_idx": query,
                "action_idx": row["action_idx"],
                "championship": row["championship"],
                "clazz": row["clazz"],
                "jersey_known": row["id"] in ("7", "23"),
                "height": row["height"],
                "resolution_ratio": row["height"] / max(boxes[k - 1]["height"] for k in hits),
                "gallery_size": len(gallery),
                "positives": len(hits),
                "first_match_rank": hits[0],
                "last_match_rank": hits[-1],
                "AP": sum(i / k for i, k in enumerate(hits, start=1)) / len(hits),
                "INP": len(hits) / hits[-1],
            }
        )
    return result


@pytest.mark.parametrize("seed", range(4))
def test_the_table_of_queries_equals_a_plain_loop(tmp_path, seed):
    rows = scored.write_split(tmp_path, seed)
    table = scored.table_of(rows)
    ranked = rank(read_distances(tmp_path / "distances.parquet"))
    match, gallery, query = scored_rows(ranked, table, "d")
    queries = query_table(match, ranked.start, gallery, query, table)
    wanted = naive_queries(rows, ranked)
    for name in wanted[0]:
        expected = [row[name] for row in wanted]
        if isinstance(expected[0], float):
            expected = pytest.approx(expected, abs=1e-12)
        assert queries[name].to_pylist() == expected, name
    whole = score(match, ranked.start)
    assert np.mean(queries["AP"]) == pytest.approx(whole["mAP"], abs=1e-12)
    assert np.mean(queries["chance_AP"]) == pytest.approx(whole["chance"]["mAP"], abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_slices_add_up_to_the_whole_and_equal_plain_loops(tmp_path, seed):
    queries = scored.make_queries(tmp_path, seed)
    code, actions = action_codes(values(queries, "action_idx"))
    weights = Resamples(actions, 200, 1)
    rows = slice_scores(queries, code, weights)
    kinds = {row["slice"] for row in rows}
    assert kinds == {"class", "jersey", "height", "resolution ratio", "gallery size", "championship", "positives"}
    assert len({(row["slice"], row["value"]) for row in rows}) == len({row["value"] for row in rows}) == len(rows)
    for kind in kinds:
        parts = [row for row in rows if row["slice"] == kind]
        assert sum(row["queries"] for row in parts) == len(queries)
        for name, wanted in (
            ("mAP", np.mean(queries["AP"])),
            ("rank-1", np.mean(values(queries, "first_match_rank") == 1)),
        ):
            assert sum(row["queries"] * row[name] for row in parts) / len(queries) == pytest.approx(wanted, abs=1e-12)
    scores = {row["value"]: row for row in rows}
    for name in scored.CLASSES:
        chosen = [q for q in queries.to_pylist() if q["clazz"] == name]
        assert scores[name]["mAP"] == pytest.approx(np.mean([q["AP"] for q in chosen]))
        assert scores[name]["rank-1"] == pytest.approx(np.mean([q["first_match_rank"] == 1 for q in chosen]))
        totals = [
            [sum(q["AP"] for q in chosen if q["action_idx"] == a), sum(q["action_idx"] == a for q in chosen)]
            for a in range(actions)
        ]
        (drawn,) = weights
        out = tail(sum(count > 0 for _, count in totals))
        means = [total / count for total, count in (drawn @ np.array(totals)).tolist() if count]
        assert [scores[name]["low"], scores[name]["high"]] == pytest.approx(
            np.quantile(means, [out, 1 - out]), abs=1e-6
        )
    known = [q["AP"] for q in queries.to_pylist() if q["jersey_known"]]
    assert scores["jersey known"]["mAP"] == pytest.approx(np.mean(known))
    low = [q for q in queries.to_pylist() if q["resolution_ratio"] < 0.25]
    assert scores.get("under 0.25 times as tall", {"queries": 0})["queries"] == len(low)
    two = [q for q in queries.to_pylist() if q["positives"] == 2]
    assert scores.get("2 true matches", {"queries": 0})["queries"] == len(two)


def test_the_edge_of_a_part_belongs_to_it(tmp_path):
    queries = scored.make_queries(tmp_path)
    heights = [HEIGHTS[0] - 1, *HEIGHTS, HEIGHTS[-1] + 1]
    queries = queries.slice(0, len(heights)).set_column(5, "height", [np.array(heights, np.int32)])
    part, names = divide(queries)["height"]
    assert [names[i] for i in part] == [
        "under 64 pixels",
        *("64 to 95 pixels", "96 to 127 pixels", "128 to 191 pixels", "192 to 255 pixels", "256 to 383 pixels"),
        *["384 pixels and more"] * 2,
    ]
    for name, slice_, edges in (
        ("resolution_ratio", "resolution ratio", RATIOS),
        ("gallery_size", "gallery size", GALLERIES),
        ("positives", "positives", POSITIVES),
    ):
        place = queries.schema.get_field_index(name)
        kind = queries.schema.field(name).type
        at_edges = queries.slice(0, len(edges)).set_column(place, name, pa.array(edges, kind))
        assert divide(at_edges)[slice_][0].tolist() == list(range(1, len(edges) + 1))
    names = divide(queries)["positives"][1]
    assert names == ["1 true match", "2 true matches", "3 true matches", "4 true matches and more"]
    names = divide(queries)["gallery size"][1]
    assert names[:2] == ["1 to 5 boxes", "6 to 10 boxes"]


def test_a_written_table_reads_back_and_anything_else_is_refused(tmp_path):
    queries = scored.make_queries(tmp_path)
    write_queries(tmp_path / "q.parquet", queries, "valid", False)
    table, about = read_queries(tmp_path / "q.parquet", "q")
    assert table.equals(queries) and about == {"split": "valid", "trained_on": False}
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(queries, tmp_path / "bare.parquet")  # without the split
    write_queries(tmp_path / "few.parquet", queries.drop_columns(["AP"]), "valid", False)
    write_queries(tmp_path / "none.parquet", queries.slice(0, 0), "valid", False)
    for name in ("text", "bare", "few", "none"):
        with pytest.raises(ReidError, match=rf"{name}: is not a table of scored queries.*evaluate\.py"):
            read_queries(tmp_path / f"{name}.parquet", name)
    with pytest.raises(ReidError, match=r"missing\.parquet: there is no such file; make it with .*evaluate\.py"):
        read_queries(tmp_path / "missing.parquet", "missing")


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Run scripts/evaluate.py on a small split and return the folder of what it made."""

    def run(splits=("train",), model=(), external=None, **changes):
        scored.write_split(tmp_path, **changes)
        content = yaml.safe_load((ROOT / "params.yaml").read_text())
        content["train"]["splits"] = list(splits)
        content["models"] = {"resnet18": {**content["models"]["resnet18"], **dict(model)}}
        content["external_models"] = external or {}
        content["evaluate"] = {"ranks": [1, 5, 50], "resamples": 200, "seed": 3}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
        files = {"out": "m.json", "cmc": "cmc.csv", "queries": "q.parquet", "slices": "s.csv", "ap": "p.csv"}
        files |= {"index": "index.parquet", "distances": "distances.parquet", "params": "params.yaml"}
        words = [word for name, file in files.items() for word in (f"--{name}", str(tmp_path / file))]
        words += ["--log", str(tmp_path / "log")]
        subprocess.run([sys.executable, ROOT / "scripts/evaluate.py", *words], check=True, capture_output=True)
        return tmp_path

    return run


def test_evaluate_writes_what_belongs_together_and_the_same_bytes_again(evaluate):
    folder = evaluate()
    made = {name: (folder / name).read_bytes() for name in ("m.json", "cmc.csv", "q.parquet", "s.csv", "p.csv")}
    metrics, (queries, about) = json.loads(made["m.json"]), read_queries(folder / "q.parquet", "q")
    assert about == {"split": "valid", "trained_on": False}
    keys = ["split", "mAP", "rank-1", "rank-5", "rank-50", "mINP", "chance", "queries", "pairs", "actions", "interval"]
    assert list(metrics) == keys
    assert metrics["rank-50"] == 1 and metrics["actions"] == 12 and metrics["queries"] == len(queries)
    bbox = queries["bbox_idx"].to_pylist()
    assert bbox == sorted(bbox)
    assert metrics["mINP"] == pytest.approx(np.mean(queries["INP"]), abs=1e-12)
    assert list(metrics["interval"]) == ["mAP", "rank-1", "rank-5", "rank-50", "mINP"]
    for name, (low, high) in metrics["interval"].items():
        assert low < metrics[name] < high or (name == "rank-50" and low == high == 1)
    bars = list(csv.DictReader(made["p.csv"].decode().splitlines()))
    assert sum(int(bar["queries"]) for bar in bars) == len(queries)
    perfect = sum(value == 1 for value in queries["AP"].to_pylist())
    assert perfect > 0 and (bars[-1]["AP"], int(bars[-1]["queries"])) == ("1.0", perfect)
    rows = list(csv.DictReader(made["s.csv"].decode().splitlines()))
    assert list(rows[0]) == ["slice", "value", "queries", "mAP", "low", "high", "rank-1"]
    assert evaluate() == folder
    assert all((folder / name).read_bytes() == content for name, content in made.items())


def test_a_split_that_was_trained_on_keeps_its_scores_apart_and_one_action_has_no_interval(evaluate):
    folder = evaluate(splits=("train", "valid"), actions=1)
    metrics = json.loads((folder / "m.json").read_text())
    assert list(metrics) == ["split", "trained_on", "of_training_data"] and metrics["trained_on"] is True
    assert set(metrics["of_training_data"]["interval"].values()) == {None}
    assert read_queries(folder / "q.parquet", "q")[1] == {"split": "valid", "trained_on": True}
    rows = list(csv.DictReader((folder / "s.csv").read_text().splitlines()))
    assert {(row["low"], row["high"]) for row in rows} == {("", "")}


def test_scores_of_networks_that_are_used_as_they_come_are_valid_whatever_is_trained_on(evaluate):
    as_it_comes = {"network": {"backbone": "osnet_x0_25", "weights": "w.pth"}, "epochs": 0, "averaging": None}
    folder = evaluate(splits=("train", "valid"), model=as_it_comes, actions=1)
    assert "mAP" in json.loads((folder / "m.json").read_text())
    assert read_queries(folder / "q.parquet", "q")[1] == {"split": "valid", "trained_on": False}


def test_what_a_score_of_embeddings_made_elsewhere_rests_on_is_said(evaluate):
    elsewhere = {"clip": {"folder": "../clip"}}
    folder = evaluate(external=elsewhere, actions=1)
    assert "valid: a valid result if clip saw train alone (train.splits)" in (folder / "log").read_text()
    folder = evaluate(splits=("train", "valid"), external=elsewhere, actions=1)
    assert "of_training_data" in json.loads((folder / "m.json").read_text())
    assert "clip" not in (folder / "log").read_text()


def test_scoring_imports_neither_torch_nor_pandas_nor_scipy(tmp_path):
    """They would take longer than the scoring."""
    scored.write_split(tmp_path)
    words = [f"--{n} {tmp_path / f}" for n, f in (("index", "index.parquet"), ("distances", "distances.parquet"))]
    words += [f"--{n} {tmp_path / n}" for n in ("out", "cmc", "queries", "slices", "ap")]
    code = (
        "import sys, runpy; sys.argv[1:] = sys.argv[1].split()\n"
        "runpy.run_path('scripts/evaluate.py', run_name='__main__')\n"
        "print([name for name in ('torch', 'pandas', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, " ".join(words)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]" and re.fullmatch(r"wrote [^\n]+\n", done.stderr), done.stderr
