"""Whole runs of the pipeline in fresh clones, by both engines, on a very small synthetic data set.

Slow, because every job starts Python and imports PyTorch; the tests share two clones and run in order.
"""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml

from builders import FAULTS, ROOT, thorough
from builders.clone import Clone
from builders.model import MODEL
from reid.core.files import sha256
from reid.core.splits import RANKED

pytestmark = pytest.mark.slow


# what is half there when a run is killed, and what it becomes
TRAINING = ("results/training/small/curves/loss.tsv", "results/models/small/model.safetensors")
DATA = [
    ("data/raw/.train.zip.partial", "data/raw/train.zip"),
    ("data/thumbnails/.train.npy.partial", "data/thumbnails/train.npy"),
]


@pytest.fixture(scope="module")
def by_snakemake(tmp_path_factory):
    """Run by Snakemake and killed on the way: the tests compare it with a run that was not."""
    clone = Clone(tmp_path_factory.mktemp("snakemake"))
    for half, target in [*DATA, TRAINING] if FAULTS else [TRAINING]:
        for _ in range(5):  # a quick job may end in the moment between the look and the kill
            run = clone.start("snakemake", "--cores", "8", "submission")
            _wait_until((clone.folder / half).exists, f"{half} to be written")
            os.killpg(run.pid, signal.SIGKILL)  # Snakemake, the job and its workers: half the work is left behind
            run.wait()
            if not (clone.folder / target).exists():
                break
            (clone.folder / target).unlink()
        assert (clone.folder / half).exists() and not (clone.folder / target).exists()
    if FAULTS:
        _kill_the_engine_alone(clone)
    clone.run("snakemake", "--cores", "8", "submission")
    return clone


def _kill_the_engine_alone(clone):
    """Its job must notice, or the next run would start a second one beside it."""
    run = clone.start("snakemake", "--cores", "8", "submission")
    pid = _wait_for_job(clone, "train.py")
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    _wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the training to end with its engine")


@pytest.fixture(scope="module")
def by_dvc(tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("dvc"))
    clone.run("dvc", "repro")
    return clone


def test_the_official_evaluator_agrees(by_snakemake, tmp_path):
    import zipfile

    from SoccerNet.Evaluation.ReIdentification import evaluate

    by_snakemake.run("snakemake", "--cores", "8", "results/submission/valid.json")
    raw, results = by_snakemake.folder / "data/raw", by_snakemake.folder / "results"
    for split in RANKED:
        labels = raw / "challenge_bbox_info.json"
        if split != "challenge":
            labels = tmp_path / f"{split}.json"
            labels.write_bytes(zipfile.ZipFile(raw / f"{split}.zip").read(f"{split}/bbox_info.json"))
        ranking = results / f"submission/{split}.json"
        official = evaluate(str(labels), str(ranking))
        own = json.loads(by_snakemake.run("python", "scripts/score_ranking.py", str(ranking), "--labels", str(labels)))
        if split != "challenge":
            scores = json.loads((results / f"metrics/{split}.json").read_text())
            assert {key: value for key, value in scores.items() if key not in ("actions", "interval")} == {
                "split": split,
                **own,
            }
        assert own["mAP"] == pytest.approx(official["mAP"], abs=1e-9)
        assert own["rank-1"] == pytest.approx(official["rank-1"], abs=1e-6)


def test_nothing_to_do_after_a_run_and_after_touching_everything(by_snakemake):
    assert by_snakemake.would_run() == {}
    for top in ("data", "results"):
        for path in (by_snakemake.folder / top).rglob("*"):
            path.touch()
    assert by_snakemake.would_run() == {}


def test_both_engines_make_the_same_bytes_also_after_kills(by_snakemake, by_dvc):
    ours = by_snakemake.outputs()
    assert len(ours) > 20
    assert ours == by_dvc.outputs()


def test_a_recorded_run_leaves_dvc_nothing_to_do(by_snakemake):
    by_snakemake.run("python", "-m", "reid.engines.ledger", "record")
    said = by_snakemake.run("dvc", "repro")
    assert re.findall("Running stage '(.*)'", said) == ["workflow/inputs/dvc.yaml:inputs"]  # which only looks outside
    status = json.loads(by_snakemake.run("dvc", "status", "--json"))
    assert status == {"workflow/inputs/dvc.yaml:inputs": ["always changed"]}


def test_a_dvc_run_leaves_snakemake_nothing_to_do(by_dvc):
    assert by_dvc.would_run() == {}


def test_a_models_parameter_reruns_that_model_alone(by_dvc):
    by_dvc.params["models"]["second"] = {**MODEL, "seed": 2}
    by_dvc.write_params()
    after = {"distances": 3, "evaluate": 2, "rank": 2, "browse": 3, "figures": 2, "curves": 1, "submission": 1}
    after |= {"provenance": 2, "total": 21}
    assert by_dvc.would_run() == {"weights": 1, "train": 1, "embed": 3, **after}
    status = json.loads(by_dvc.run("dvc", "status", "--json"))
    assert {"weights@second", "train@second", "embed@second"} <= set(status)
    assert not any(name.endswith("@small") or name in ("download", "index", "thumbnails") for name in status)
    del by_dvc.params["models"]["second"]
    by_dvc.write_params()


def test_experiments_differ_and_the_first_can_be_taken_up_again(by_dvc):
    by_dvc.run("git", "add", "dvc.lock", "results")
    by_dvc.run("git", "commit", "-qm", "first")
    by_dvc.run("dvc", "exp", "run", "-n", "few", "-S", "evaluate.ranks=[1,2]")
    by_dvc.run("dvc", "exp", "run", "-n", "many", "-S", "evaluate.ranks=[1,2,3]", "evaluate")
    metrics = json.loads(by_dvc.run("dvc", "metrics", "diff", "few", "many", "--json"))
    assert any("rank-3" in values for values in metrics.values())
    params = json.loads(by_dvc.run("dvc", "params", "diff", "few", "many", "--json"))
    assert "evaluate.ranks" in json.dumps(params)
    by_dvc.run("dvc", "exp", "apply", "few")
    assert yaml.safe_load((by_dvc.folder / "params.yaml").read_text())["evaluate"]["ranks"] == [1, 2]
    by_dvc.run("python", "-m", "reid.engines.ledger", "adopt")
    assert by_dvc.would_run() == {}


def test_an_outdated_run_is_not_recorded(by_dvc):
    by_dvc.params["embed"]["batch_size"] = 7
    by_dvc.write_params()
    said = by_dvc.run("python", "-m", "reid.engines.ledger", "record", fails=True)
    assert "Snakemake would still run something" in said
    by_dvc.run("dvc", "repro", "workflow/inputs/dvc.yaml:inputs")  # which records them
    assert "data/inputs/embed.json" in by_dvc.run("dvc", "status", "embed@small")


@thorough  # of the program alone: tests/evaluation/test_slices.py
def test_scores_of_a_split_that_was_trained_on_are_not_taken_for_valid_results(by_snakemake):
    text = (by_snakemake.folder / "params.yaml").read_text()
    by_snakemake.params["train"]["splits"] = ["train", "valid"]
    by_snakemake.write_params()
    by_snakemake.run("snakemake", "--cores", "8", "results/metrics/valid.json", "results/metrics/test.json")
    valid, test = (
        json.loads((by_snakemake.folder / f"results/metrics/{split}.json").read_text()) for split in ("valid", "test")
    )
    assert valid["trained_on"] is True and "mAP" not in valid and valid["of_training_data"]["mAP"] > 0
    assert "trained_on" not in test and test["mAP"] > 0
    summary = json.loads((by_snakemake.folder / "results/training/small/summary.json").read_text())
    assert summary["trained_on"] == ["train", "valid"] and summary["seeds"][0]["best"] is None
    said = by_snakemake.run(
        *("python", "scripts/tune.py", "--index", "data/index/valid.parquet"),
        *("--embeddings", "results/embeddings/small/valid.npy"),
        fails=True,
    )
    assert "train.splits holds valid" in said
    (by_snakemake.folder / "params.yaml").write_text(text)


def test_a_submission_has_its_provenance_and_comes_back_under_another_name(by_dvc, tmp_path):
    ranking = by_dvc.folder / "results/submission/test.json"
    record = json.loads(ranking.with_name("test.provenance.json").read_text())
    assert record["submission"]["sha256"] == sha256(ranking)
    assert record["engine"] == "dvc" and record["code"]["commit"]
    assert record["checkpoints"][0]["parameters"]["seed"] == MODEL["seed"]
    for split, receipt in record["zips"].items():
        assert receipt["sha256"] == sha256(by_dvc.folder / f"data/raw/{split}.zip")
    assert set(record["zips"]) == {"train", "test"}
    mailed = shutil.copy(ranking, tmp_path / "mailed.json")
    said = by_dvc.run("python", "scripts/trace.py", str(mailed))
    assert "results/submission/test.json" in said and record["code"]["commit"] in said


def test_the_notebook_of_the_readme_reads_what_a_run_made(by_dvc):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1].replace("resnet18", "small")
    code += "\nassert len(index) == len(embeddings) and {'query', 'gallery', 'distance'} <= set(distances)\n"
    by_dvc.run("python", "-c", code)


def test_a_second_configuration_is_refused(by_snakemake):
    said = by_snakemake.run("snakemake", "--cores", "8", "-n", "submission", "--config", "seed=1", fails=True)
    assert "params.yaml" in said and "dvc exp run -S" in said


def test_a_wrong_parameter_is_one_clear_error(by_snakemake):
    good = (by_snakemake.folder / "params.yaml").read_text()
    (by_snakemake.folder / "params.yaml").write_text(good.replace("metric: cosine", "metric: manhattan"))
    said = by_snakemake.run("snakemake", "--cores", "8", "-n", "submission", fails=True)
    assert "distances.metric" in said and "Traceback" not in said
    (by_snakemake.folder / "params.yaml").write_text(good)


def _wait_until(condition, what, seconds=600):
    for _ in range(int(seconds / 0.002)):
        if condition():
            return
        time.sleep(0.002)
    raise AssertionError(f"waited {seconds} s for {what}")


def _wait_for_job(clone, words):
    """Process id of the clone's job once its command line holds ``words``."""
    found = []

    def look():
        for process in Path("/proc").glob("[0-9]*"):
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                here = os.readlink(process / "cwd") == str(clone.folder)
            except OSError:
                continue
            if here and f"scripts/{words}" in line and not line.startswith(("/bin", "/usr/bin/bash", "bash")):
                found.append(int(process.name))
        return found

    _wait_until(look, f"{words} to start")
    return found[0]
