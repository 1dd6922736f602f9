"""Two at once, and either of them killed: nothing is deleted, nobody else's run dies, nothing is left behind.

Slow: one training that would last for ever, in one clone, is started and ended again and again.
"""

import os
import signal
import time

import psutil
import pytest

from builders import thorough
from builders.clone import Clone

pytestmark = [pytest.mark.slow, thorough]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return Clone(tmp_path_factory.mktemp("together"), {"epochs": 10_000, "validation": None})


@pytest.fixture(autouse=True)
def nothing_left(clone):
    yield
    for process in processes(clone):
        process.kill()


def processes(clone):
    """Everything at work in the clone."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(clone.folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(condition, what, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def train(clone, *words):
    """Start an engine and wait until its training is under way."""
    log = clone.folder / "logs/train/small.log"
    log.unlink(missing_ok=True)
    process = clone.start(*words)
    wait_until(lambda: log.exists() and "epoch " in log.read_text(), "the training to begin")
    return process


def ends(clone, process):
    """Wait until all is gone, long before the training would have ended."""
    process.wait(timeout=600)
    wait_until(lambda: not processes(clone), "all processes to end")


def raw(clone):
    return {path.name: path.stat().st_mtime_ns for path in (clone.folder / "data/raw").iterdir()}


def said_in_log(clone):
    return (clone.folder / "logs/train/small.log").read_text()


def test_nothing_is_begun_or_removed_beside_a_snakemake_which_ends_with_its_jobs_when_told(clone):
    run = train(clone, "snakemake", "--cores", "8", "results/models/small/model.safetensors")
    before = raw(clone)
    assert len(before) >= 2
    for words in (
        ("dvc", "repro"),
        ("snakemake", "--cores", "8", "-f", "data/raw/train.zip"),
        ("snakemake", "--cores", "8", "--delete-all-output"),
        ("snakemake", "--cores", "8", "--no-hooks", "-f", "data/raw/train.zip"),
        ("python", "-m", "reid.engines.ledger", "adopt"),
    ):
        said = clone.run(*words, fails=True)
        assert "Traceback" not in said
        assert ("Unable to acquire lock" in said) if words[0] == "dvc" else ("is at work in this folder" in said)
    clone.run("snakemake", "--cores", "8", "-n", "submission")
    assert raw(clone) == before and run.poll() is None
    run.send_signal(signal.SIGTERM)
    ends(clone, run)
    assert "told to end" in said_in_log(clone)


def test_a_dvc_run_is_not_disturbed_and_a_killed_one_leaves_nothing_at_work(clone):
    run = train(clone, "dvc", "repro", "train@small")
    assert "resumes in epoch" in said_in_log(clone)
    said = clone.run("snakemake", "--cores", "8", "-f", "data/raw/train.zip", fails=True)
    assert "dvc repro train@small` (process" in said and "is at work in this folder" in said
    before = raw(clone)
    run.send_signal(signal.SIGKILL)
    run.wait()
    # at once the next one, while the first one's jobs are ending
    again = train(clone, "dvc", "repro", "train@small")
    assert "resumes in epoch" in said_in_log(clone) and raw(clone) == before
    (engine,) = [process for process in processes(clone) if process.ppid() == again.pid]
    engine.send_signal(signal.SIGKILL)  # the engine alone: DVC says so, and no job goes on
    ends(clone, again)
    assert again.returncode != 0


def test_after_all_this_the_folder_is_free_for_both_engines(clone):
    clone.params["models"]["small"]["epochs"] = 1
    clone.write_params()
    clone.run("dvc", "repro", "train@small")
    assert clone.would_run("results/models/small/model.safetensors") == {}
    assert os.listdir(clone.folder / ".snakemake/incomplete") == []
