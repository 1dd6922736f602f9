"""A study on photographs, killed and continued; then one row more.

`make faults` runs six rows (the base is one) with two seeds and adds the row, `make test` three with one.
"""

import json
import os
import signal
import time

import numpy as np
import pytest
import yaml

from builders import FAULTS, thorough
from builders.clone import Clone
from reid.core.tables import read_parquet
from reid.engines import studies
from reid.studies.plan import expand, read_base
from reid.studies.study import read_study

pytestmark = pytest.mark.slow  # a training and an embedding each start Python and PyTorch
SEEDS = [1, 2] if FAULTS else [1]
SOFTMAX = "distances.postprocessing.dual_softmax"
AXES = [
    {"axis": "loss", "rows": {"triplet": {"loss": {"triplet": {"margin": 0.3}}}}},
    {"axis": "euclidean", "stays": "never", "change": {"distances.metric": "euclidean"}},
    {"axis": "softmax", "rows": {f"{t}": {SOFTMAX: {"temperature": t}} for t in (0.05, 0.2)}},
    {"axis": "mirror image", "change": {"embed.flip_test": True}},
]
AXES = AXES if FAULTS else AXES[:2]
SMALL = {"epochs": 3, "max_images": 60, "validation": None}


@pytest.fixture(scope="module")
def clone(tmp_path_factory, pku):
    """A clone whose pipeline has the photographs, and in it a study."""
    clone = Clone(tmp_path_factory.mktemp("study"), SMALL)
    clone.params["download"] = {"source": "local", "path": str(pku)}
    clone.params["embed"] = {"batch_size": 256}
    clone.params["distances"] = {"metric": "cosine"}
    clone.write_params()
    write_study(clone, AXES)
    return clone


def write_study(clone, axes):
    content = {"base": "params.yaml", "seeds": SEEDS, "axes": axes}
    (clone.folder / "studies/small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def results(clone):
    return clone.folder / "results/studies/small"


def trained(clone):
    """Each finished training to the time of its checkpoint."""
    return {path.parent.name: path.stat().st_mtime_ns for path in results(clone).glob("trainings/*/model.safetensors")}


def test_a_study_is_killed_and_continued(clone):
    run = clone.start("python", "scripts/study.py", "small", "--cores", "2")
    end = time.monotonic() + 300
    while not (embedded := list(results(clone).glob("logs/embed/*"))):  # its training is finished
        assert time.monotonic() < end and run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)  # the study, its Snakemake and the jobs
    run.wait()
    plan = json.loads((results(clone) / "plan.json").read_text())
    finished = {plan["embeddings"][path.name]["training"] for path in embedded}
    kept = {name: time for name, time in trained(clone).items() if name in finished}
    assert kept
    clone.run("python", "scripts/study.py", "small", "--cores", "2")
    assert kept.items() <= trained(clone).items()  # what was finished is not made again
    assert len(trained(clone)) == 2 * len(SEEDS)  # base and triplet; the others share them
    table_is_that_of_a_plain_computation(clone)


@thorough
def test_a_row_that_is_added_trains_alone(clone):
    before, rows = trained(clone), found(clone)["axes"][0]["rows"]
    wide = {"wide": {"loss": {"triplet": {"margin": 2.0}}}}
    write_study(clone, [{**AXES[0], "rows": {**AXES[0]["rows"], **wide}}])
    clone.run("python", "scripts/study.py", "small", "--cores", "2")
    after = trained(clone)
    assert before.items() <= after.items() and len(after) == len(before) + len(SEEDS)
    for old, new in zip(rows, found(clone)["axes"][0]["rows"], strict=False):
        assert {**old, "stays": None} == {**new, "stays": None}
    table_is_that_of_a_plain_computation(clone)


def found(clone):
    return json.loads((results(clone) / "study.json").read_text())


def table_is_that_of_a_plain_computation(clone):
    """AP of every query by a plain loop over each row's distances; means over seeds, and what stays by them."""
    path = clone.folder / "studies/small.yaml"
    study = read_study(path)
    study = study.model_copy(update={"base": str(clone.folder / study.base)})
    plan = expand(study, path, read_base(study, path), studies.Results(results(clone), study.splits))
    current = "base"
    for axis, part in zip(found(clone)["axes"], plan.axes, strict=True):
        assert axis["axis"] == part.axis.axis
        rows = dict(zip((row["row"] for row in axis["rows"]), axis["rows"], strict=True))
        assert axis["rows"][0]["row"] == part.reference.name == current
        means = {}
        for row in [part.reference, *part.rows]:
            for split in ("valid", "test"):
                ap = np.array([average_precisions(clone, row.jobs(seed).score, split) for seed in SEEDS])
                assert rows[row.name][split]["seeds"] == pytest.approx(ap.mean(1))
                assert rows[row.name][split]["mAP"] == pytest.approx(ap.mean())
                means[row.name, split] = ap.mean()
                if change := rows[row.name]["change"]:
                    difference = ap.mean() - means[part.reference.name, split]
                    assert change[split]["mAP"]["difference"] == pytest.approx(difference)
        best = max((row.name for row in part.rows), key=lambda name: means[name, "valid"])
        if part.stays == "mean" and means[best, "valid"] > means[current, "valid"]:
            current = best
        assert axis["kept"] == current


def average_precisions(clone, score, split):
    """By the definition: precision at each true match, mean over them."""
    pairs = read_parquet(results(clone) / f"scores/{score}/{split}/distances.parquet").to_pylist()
    index = read_parquet(clone.folder / f"data/index/{split}.parquet").to_pylist()
    person = {(row["role"], row["bbox_idx"]): row["person_uid"] for row in index}
    scores = []
    for action in pairs:
        gallery = action["gallery"]
        for i, query in enumerate(action["query"]):
            near = action["distance"][i * len(gallery) : (i + 1) * len(gallery)]
            order = [box for _, box in sorted(zip(near, gallery, strict=True))]
            hits = [rank for rank, box in enumerate(order, 1) if person["gallery", box] == person["query", query]]
            scores.append(np.mean([number / rank for number, rank in enumerate(hits, 1)]))
    return scores
