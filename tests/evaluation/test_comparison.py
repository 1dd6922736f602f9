"""Two results against each other: a planted difference is found, none where there is none; files and revisions."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from builders import ROOT, scored
from reid.core.errors import ReidError
from reid.evaluation.comparison import align, compare, open_result, report
from reid.evaluation.queries import write_queries

ABOUT = {"split": "valid", "trained_on": False}


def shuffled(table, seed=0):
    return table.take(np.random.default_rng(seed).permutation(len(table)))


def changed(table, name, values):
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), pa.array(values))


@pytest.fixture
def queries(tmp_path):
    return scored.make_queries(tmp_path, actions=60)


def compared(a, b, **options):
    return compare(*align((a, ABOUT), (b, ABOUT), ("a", "b")), resamples=400, seed=1, **options)


def test_planted_difference_is_found(tmp_path):
    a, b = (scored.make_queries(tmp_path, seed=4, actions=60, skill=skill) for skill in (0.2, 0.6))
    result = compared(shuffled(a, 1), shuffled(b, 2))
    before, after = np.array(a["AP"]), np.array(b["AP"])
    assert result["mAP"]["a"] == pytest.approx(before.mean()) and result["mAP"]["b"] == pytest.approx(after.mean())
    assert result["mAP"]["difference"] == pytest.approx(after.mean() - before.mean()) and after.mean() > before.mean()
    assert result["rank-1"]["a"] == pytest.approx(np.mean(np.array(a["first_match_rank"]) == 1))
    for name in ("mAP", "rank-1"):
        low, high = result[name]["interval"]
        assert 0 < low < result[name]["difference"] < high and result[name]["differs"]
    assert result["better"] == sum(y > x for x, y in zip(before, after, strict=True))
    assert result["worse"] == sum(y < x for x, y in zip(before, after, strict=True))
    assert result["better"] + result["worse"] + result["same"] == result["queries"] == len(a)
    assert "no difference shown" not in report(result, ("a", "b"))
    back = compared(b, a)
    assert (back["better"], back["worse"]) == (result["worse"], result["better"])
    assert back["mAP"]["difference"] == pytest.approx(-result["mAP"]["difference"])


def test_none_is_found_between_runs_of_one_model_with_shuffled_rows(queries):
    result = compared(shuffled(queries, 1), shuffled(queries, 2))
    assert (result["better"], result["worse"], result["same"], result["moved"]) == (0, 0, len(queries), [])
    for name in ("mAP", "rank-1"):
        assert result[name]["difference"] == 0 and result[name]["interval"] == [0, 0] and not result[name]["differs"]
    assert report(result, ("a", "b")).count("includes 0: no difference shown") == 2


def test_noise_alone_is_no_difference(queries):
    rng = np.random.default_rng(8)
    noisy = changed(queries, "AP", np.clip(np.array(queries["AP"]) + rng.normal(0, 0.2, len(queries)), 0, 1))
    noise = np.array(noisy["AP"]) - np.array(queries["AP"])
    noisy = changed(queries, "AP", np.array(queries["AP"]) + noise - noise.mean() + 0.002)
    result = compared(queries, noisy)
    low, high = result["mAP"]["interval"]
    assert low < 0 < result["mAP"]["difference"] < high and not result["mAP"]["differs"]
    assert result["better"] > 0 and result["worse"] > 0


def test_pairing_makes_the_interval_narrow(queries):
    """A small change everywhere is found, although the two scores themselves are far less certain."""
    result = compared(queries, changed(queries, "AP", np.array(queries["AP"]) - 0.001))
    assert result["mAP"]["interval"] == pytest.approx([-0.001, -0.001], abs=1e-6) and result["mAP"]["differs"]
    assert result["worse"] == len(queries)


def test_queries_that_moved_most_come_first_and_ties_by_bbox_idx(queries):
    ap = np.full(len(queries), 0.5)
    before = changed(queries, "AP", ap.copy())
    for bbox, value in {7: 1.0, 3: 0.0, 11: 0.25, 5: 1.0}.items():
        ap[bbox] = value
    result = compared(shuffled(before), changed(queries, "AP", ap), shown=3)
    assert [(row["bbox_idx"], row["before"], row["after"]) for row in result["moved"]] == [
        *((3, 0.5, 0.0), (5, 0.5, 1.0), (7, 0.5, 1.0)),
    ]
    row = queries.slice(3, 1).to_pylist()[0]
    assert (result["moved"][0]["action_idx"], result["moved"][0]["clazz"]) == (row["action_idx"], row["clazz"])
    assert len(compared(before, changed(queries, "AP", ap))["moved"]) == 4
    assert compared(before, changed(queries, "AP", ap), shown=0)["moved"] == []


def test_one_action_says_nothing(tmp_path):
    table = scored.make_queries(tmp_path, actions=1)
    result = compared(table, changed(table, "AP", np.array(table["AP"]) / 2))
    assert result["mAP"]["interval"] is None and not result["mAP"]["differs"]
    assert "one action says nothing about others" in report(result, ("a", "b"))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: (t.slice(1), ABOUT), "not the same queries: 1 are only in the first and 0 only in the second"),
        (lambda t: (changed(t, "bbox_idx", np.array(t["bbox_idx"]) + 1), ABOUT), "1 are only in the first and 1 only"),
        (lambda t: (pa.concat_tables([t, t.slice(2, 1)]), ABOUT), "b: query 2 stands twice"),
        (lambda t: (t, {**ABOUT, "split": "test"}), "a is of valid and b of test"),
        (lambda t: (changed(t, "positives", np.array(t["positives"]) + 1), ABOUT), "query 0 has positives"),
        (lambda t: (changed(t, "gallery_size", np.array(t["gallery_size"]) + 1), ABOUT), "query 0 has gallery_size"),
        (lambda t: (changed(t, "action_idx", np.array(t["action_idx"]) + 1), ABOUT), "query 0 has action_idx 0 and 1"),
    ],
)
def test_results_of_other_queries_are_refused(queries, change, message):
    with pytest.raises(ReidError, match=message):
        align((queries, ABOUT), change(queries), ("a", "b"))


def run(folder, *words):
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    command = [sys.executable, ROOT / "scripts/compare.py", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_program_takes_files_and_folders_and_says_the_same_as_json(tmp_path, queries):
    write_queries(tmp_path / "a.parquet", queries, "valid", False)
    write_queries(tmp_path / "b/queries/valid.parquet", shuffled(queries), "valid", True)
    done = run(tmp_path, "a.parquet", "b", "--json", "out/d.json")
    assert done.returncode == 0 and done.stdout.count("no difference shown") == 2
    assert "b was trained on valid" in done.stderr
    result = json.loads((tmp_path / "out/d.json").read_text())
    assert (result["a"], result["b"], result["split"], result["same"]) == ("a.parquet", "b", "valid", len(queries))
    for words, message in (
        (("a.parquet", "c.parquet"), "c.parquet: there is no such file"),
        (("a.parquet", "b", "--split", "test"), "b/queries/test.parquet: is missing"),
        (("a.parquet", "params.yaml"), "params.yaml: is not a table of scored queries"),
        (("a.parquet", "my-experiment"), "my-experiment: is no file, folder, Git revision"),
    ):
        done = run(tmp_path, *words)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert done.stdout == "" and done.stderr.count("error:") == 1
    done = run(tmp_path, "a.parquet", "a.parquet", "--show", "-1")
    message = "error: argument --show: -1 is not a whole number from 0 to 1,000,000 (see --help)\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_git_revisions_and_dvc_experiments(tmp_path, monkeypatch, queries):
    from dvc.repo import Repo

    def git(*words):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "t")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "t@example.org")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / ".dvc/site"))
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "empty")
    git("tag", "empty")
    repo = Repo.init(".")
    (tmp_path / "dvc.yaml").write_text("stages:\n  s:\n    cmd: 'true'\n    outs: [results/queries/valid.parquet]\n")
    better = changed(queries, "AP", np.ones(len(queries)))
    write_queries("results/queries/valid.parquet", queries, "valid", False)
    repo.commit(force=True)
    git("add", "-A", ".")
    git("commit", "-qm", "first")
    os.remove("results/queries/valid.parquet")
    write_queries("results/queries/valid.parquet", better, "valid", False)
    repo.commit(force=True)
    repo.experiments.save(name="better", force=True)
    os.remove("results/queries/valid.parquet")
    assert open_result("HEAD", "valid")[0].equals(queries)
    assert open_result("better", "valid")[0].equals(better)
    with pytest.raises(ReidError, match=r"empty: results/queries/valid\.parquet cannot be had"):
        open_result("empty", "valid")
    with pytest.raises(ReidError, match="nothing: is no file, folder, Git revision or DVC experiment"):
        open_result("nothing", "valid")
    for name in ("HEAD^{tree}", "HEAD:dvc.yaml", os.fsdecode(b"\xff")):
        with pytest.raises(ReidError, match=f"{re.escape(name)}: is no commit; name a Git revision or DVC experiment"):
            open_result(name, "valid")
    for path in (tmp_path / ".dvc/cache/files").rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(ReidError, match=r"HEAD: .*not in DVC's cache here"):
        open_result("HEAD", "valid")
