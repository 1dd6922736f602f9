"""What a run says when it ends: the error of the job that failed and what to do, or the results and where they lie."""

import json
import logging
import os
import subprocess
import sys

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from builders import ROOT
from builders.whole import MINIMAL, changed, load
from reid.engines import terminal
from reid.params import check_params

METRICS = {
    "split": "valid",
    "queries": 8,
    "actions": 2,
    "mAP": 0.5,
    "rank-1": 0.25,
    "chance": {"mAP": 0.125, "rank-1": 0.0625},
    "interval": {"mAP": [0.4, 0.6], "rank-1": [0.2, 0.3]},
}
ALL = {
    *(f"results/metrics/{split}.json" for split in ("valid", "test")),
    *(f"results/browse/{split}.html" for split in ("valid", "test", "challenge")),
    *(f"results/submission/{split}.json" for split in ("test", "challenge")),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/metrics"
    folder.mkdir(parents=True)
    (folder / "valid.json").write_text(json.dumps(METRICS))
    (folder / "test.json").write_text(json.dumps({"split": "test", "trained_on": True, "of_training_data": METRICS}))
    return tmp_path


def params(source="synthetic"):
    content = load(MINIMAL)
    return check_params(changed(content, "download.source", source), "params.yaml")


def test_results_are_told_with_intervals_chance_and_where_they_go(here):
    said = "\n".join(terminal.results(ALL, params("soccernet")))
    assert "valid: mAP 0.500 (0.400 to 0.600; random 0.125), rank-1 0.250 (0.200 to 0.300; random 0.062)" in said
    assert "test, trained on: not a valid result: mAP 0.500" in said
    assert "in a browser: results/browse/valid.html, results/browse/test.html, results/browse/challenge.html" in said
    assert "To submit: results/submission/test.json, results/submission/challenge.json\n" in said
    assert terminal.UPLOAD in said


def test_scores_of_one_action_have_no_interval(here):
    alone = {**METRICS, "interval": {"mAP": None, "rank-1": None}}
    (here / "results/metrics/valid.json").write_text(json.dumps(alone))
    said = "\n".join(terminal.results({"results/metrics/valid.json"}, params()))
    assert "valid: mAP 0.500 (random 0.125), rank-1 0.250 (random 0.062)" in said


def test_of_synthetic_matches_nobody_is_told_to_upload_anything(here):
    said = "\n".join(terminal.results(ALL, params()))
    assert "http" not in said and "download.source" in said


def test_a_part_of_the_run_tells_of_its_own_results_alone(here):
    assert list(terminal.results({"results/distances/valid.parquet"}, params())) == []
    said = "\n".join(terminal.results({"results/metrics/valid.json"}, params()))
    assert "valid: mAP" in said and "test" not in said and "submit" not in said


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("reads\nerror: one thing\n", "error: one thing"),
        ("error: params.yaml: 2 problems\n  - a\n  - b\n", "error: params.yaml: 2 problems\n  - a\n  - b"),
        ("this is a bug\nTraceback (most recent call last):\n  File\nKeyError: 'x'\n", "KeyError: 'x'"),
        ("reads\nthe last word before it was killed\n", None),
        ("", None),
    ],
)
def test_the_error_is_what_a_log_ends_with(tmp_path, text, error):
    log = tmp_path / "job.log"
    log.write_text(text)
    assert terminal.last_error(log, log.stat().st_mtime) == error


def test_a_log_of_an_earlier_run_says_nothing_of_this_one(tmp_path):
    log = tmp_path / "job.log"
    log.write_text("error: of yesterday\n")
    os.utime(log, (1000, 1000))
    assert terminal.last_error(log, 2000) is None
    assert terminal.last_error(tmp_path / "missing.log", 0) is None


def test_failed_jobs_are_kept_off_the_terminal_and_remembered():
    summary = terminal.Summary()

    def record(text, **extra):
        return logging.makeLogRecord({"msg": text, **extra})

    jobs = [{"rule_name": "embed", "log": ["embed.log"]}, {"rule_name": "rank", "log": []}]
    assert not summary.filter(record("Error in rule", event=LogEvent.JOB_ERROR, rule_name="train", log=["train.log"]))
    assert not summary.filter(record("Error in group", event=LogEvent.GROUP_ERROR, job_error_info=jobs))
    assert summary.failures == [("train", ["train.log"]), ("embed", ["embed.log"]), ("rank", [])]
    assert summary.filter(record("WorkflowError:\nsomething else"))
    assert summary.filter(record("Elapsed time: 1"))
    summary.said = True
    assert not summary.filter(record("Elapsed time: 1"))


SNAKEFILE = """
from reid.engines import terminal

terminal.prepare(workflow)

rule bad:
    output: "out"
    log: "logs/bad.log"
    shell: "echo 'error: the file is broken; mend it' > {log}; exit 1"

onerror:
    terminal.failed(log)
"""


def test_a_failed_run_ends_with_the_error_the_logs_and_what_to_do(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--nolock"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.rstrip().splitlines()[-4:]
    assert last[0] == "bad failed; all that it said: logs/bad.log"
    assert last[1] == "error: the file is broken; mend it"
    assert last[2].startswith("the whole run: .snakemake/log/")
    assert "run the same command again" in last[3]
    assert "CalledProcessError" not in done.stderr and "Error in rule" not in done.stderr
    whole = next((tmp_path / ".snakemake/log").iterdir()).read_text()
    assert "Error in rule bad" in whole and "CalledProcessError" in whole  # nothing is lost
