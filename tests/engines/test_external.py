"""Embeddings made elsewhere go through both engines to metrics, page and submission, alone and fused.

Slow: a very small data set, without and with a trained model.
"""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import thorough
from builders.clone import Clone
from reid.core.splits import RANKED, SCORED
from reid.data.index import read_index

pytestmark = pytest.mark.slow
RESULTS = [
    *("results/metrics/test.json", "results/submission/test.json"),
    *("results/browse/test.html", "results/submission/test.provenance.json"),
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone whose one model is made elsewhere: identities as embeddings, which rank without a fault."""
    clone = Clone(tmp_path_factory.mktemp("external"), {"epochs": 1, "validation": None})
    clone.trained = clone.params.pop("models")
    clone.run("dvc", "repro", "index")
    elsewhere = clone.folder.parent / "else where {x}"  # a path that no shell and no pattern may read
    elsewhere.mkdir()
    clone.params["external_models"] = {"perfect": {"folder": str(elsewhere)}}
    clone.write_params()
    rng = np.random.default_rng(0)
    for split in RANKED:
        table, _ = read_index(clone.folder / f"data/index/{split}.parquet")
        person = [-1 if uid is None else uid for uid in table["person_uid"].to_pylist()]
        of_person = {uid: rng.normal(size=64) for uid in sorted(set(person))}
        rows = np.array([of_person[uid] for uid in person]) + 1e-3 * rng.normal(size=(len(person), 64))
        if split == "test":  # in another order, by its boxes
            order = rng.permutation(len(table))
            boxes = table.select(["role", "bbox_idx"]).take(order)
            boxes = boxes.append_column("embedding", pa.array(rows[order].tolist()))
            pq.write_table(boxes, elsewhere / "test.parquet")
        else:
            np.save(elsewhere / f"{split}.npy", rows)
    return clone


def scores(clone):
    return {s: json.loads((clone.folder / f"results/metrics/{s}.json").read_text())["mAP"] for s in SCORED}


def test_alone_in_both_engines(clone):
    clone.run("dvc", "repro", "evaluate", "rank")
    assert scores(clone) == {"valid": 1.0, "test": 1.0}
    assert json.loads(clone.run("dvc", "status", "evaluate", "rank", "--json")) == {}
    ranking = (clone.folder / "results/submission/test.json").read_bytes()
    (clone.folder / "results/submission/test.json").unlink()
    clone.run("snakemake", "--cores", "8", "--forcerun", "external", "--", *RESULTS)
    assert scores(clone) == {"valid": 1.0, "test": 1.0}
    assert (clone.folder / "results/submission/test.json").read_bytes() == ranking
    record = json.loads((clone.folder / "results/submission/test.provenance.json").read_text())
    assert "results/embeddings/perfect/test.npy" in [item["path"] for item in record["inputs"]]


@thorough
def test_a_changed_file_elsewhere_is_seen_by_both_engines(clone):
    path = clone.folder.parent / "else where {x}/valid.npy"
    content = path.read_bytes()
    rows = np.load(path)
    np.save(path, rows[::-1].copy())
    assert clone.would_run("results/metrics/valid.json")["external"] == 1
    clone.run("dvc", "repro", "evaluate")
    assert scores(clone)["valid"] < 0.9 and scores(clone)["test"] == 1.0
    path.write_bytes(content)
    clone.run("snakemake", "--cores", "8", "results/metrics/valid.json")
    assert scores(clone)["valid"] == 1.0


@thorough
def test_fused_with_a_trained_model(clone):
    clone.params["models"] = clone.trained
    clone.params["distances"]["models"] = {"small": 1.0, "perfect": 0.5}
    clone.write_params()
    clone.run("snakemake", "--cores", "8", *RESULTS)
    record = json.loads((clone.folder / "results/submission/test.provenance.json").read_text())
    paths = [item["path"] for item in record["inputs"]]
    assert "results/embeddings/perfect/test.npy" in paths and "results/embeddings/small/test.npy" in paths


@thorough
@pytest.mark.parametrize("fault", ["missing", "few", "nan"])
def test_what_is_wrong_with_them_is_one_clear_error(clone, fault):
    path = clone.folder.parent / "else where {x}/challenge.npy"
    content, rows = path.read_bytes(), np.load(path)
    if fault == "missing":
        path.unlink()
    else:
        rows[3, 2] = np.nan
        np.save(path, rows[:-1] if fault == "few" else rows)
    said = clone.run("snakemake", "--cores", "8", "results/submission/challenge.json", fails=True)
    assert "challenge.npy" in said and "Traceback" not in said
    path.write_bytes(content)
