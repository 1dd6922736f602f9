"""A run that is told to end, or whose DVC is gone, ends with all its processes, and soon."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from builders import ROOT, thorough
from reid.engines import holder

SNAKEFILE = """
from reid.engines import ending, holder

rule all:
    input: "a", "b"

rule one:
    output: "{name}"
    wildcard_constraints: name="a|b"
    shell: "echo begins > {wildcards.name}.log; python job.py {wildcards.name}; true"

onstart:
    holder.claim()
    ending.prepare(workflow)
"""
TELLING = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
# what a job may be: one that ends at a signal, one that keeps its state first, one that hears nothing
JOBS = {
    "plain": "",
    "keeps": "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), open(name + '.kept', 'w'), sys.exit(1)))",
    "deaf": "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "parent": "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])",
}


@pytest.fixture
def run(tmp_path):
    """``run(kind, parent)`` starts a Snakemake with two jobs at work; its process, once both are."""
    started = []

    def start(kind="plain", ignored=None, **environment):
        (tmp_path / "Snakefile").write_text(SNAKEFILE)
        (tmp_path / "job.py").write_text(
            f"import signal, subprocess, sys, time\nname = sys.argv[1]\n{JOBS[kind]}\n"
            "open(name + '.begun', 'w').close()\ntime.sleep(1000)\n"
        )
        env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--nolock"]
        # what the tests themselves ignore, as under nohup, it would ignore too
        before = [(n, signal.signal(n, signal.SIG_IGN if n == ignored else signal.SIG_DFL)) for n in TELLING]
        try:
            with open(tmp_path / "log", "w") as log:
                process = psutil.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log, start_new_session=True)
        finally:
            for n, handler in before:
                signal.signal(n, handler)
        started.append(process)
        _wait_until(lambda: all((tmp_path / f"{name}.begun").exists() for name in "ab"), "both jobs to work")
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until(condition, what, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def ended_within(process, tell, seconds=600):
    """Whether the process and all below it are gone this soon after ``tell()``."""
    everyone = process.children(recursive=True)
    assert len(everyone) >= 2
    tell()
    end = time.monotonic() + seconds
    process.wait(timeout=seconds)
    while any(other.is_running() and other.status() != psutil.STATUS_ZOMBIE for other in everyone):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (signal.SIGTERM, "keeps"),
        pytest.param(signal.SIGTERM, "deaf", marks=thorough),
        pytest.param(signal.SIGTERM, "parent", marks=thorough),
        pytest.param(signal.SIGINT, "keeps", marks=thorough),
        pytest.param(signal.SIGHUP, "plain", marks=thorough),
    ],
)
def test_a_signal_to_the_engine_alone_ends_its_jobs(run, tmp_path, number, kind):
    process = run(kind)
    assert ended_within(process, lambda: process.send_signal(number))
    assert process.wait() != 0
    assert not (tmp_path / "a").exists()
    if kind == "keeps":
        assert (tmp_path / "a.kept").exists() and (tmp_path / "b.kept").exists()
    assert f"told to end ({number.name})" in (tmp_path / "log").read_text()


@thorough
def test_signals_again_and_again_change_nothing(run, tmp_path):
    process = run("keeps")

    def tell():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
            time.sleep(0.1)

    assert ended_within(process, tell)
    assert (tmp_path / "a.kept").exists() and (tmp_path / "b.kept").exists()


@thorough
def test_a_run_that_is_to_survive_its_terminal_does(run):
    process = run(ignored=signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.is_running() and len(process.children(recursive=True)) >= 2


def test_a_run_ends_with_the_dvc_that_runs_it(run, tmp_path):
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    dvc = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    process = run("keeps", **{holder.PARENT: holder.on_behalf_of(psutil.Process(dvc.pid))[holder.PARENT]})

    def tell():
        dvc.send_signal(signal.SIGKILL)
        dvc.wait()

    assert ended_within(process, tell)
    assert (tmp_path / "a.kept").exists() and (tmp_path / "b.kept").exists()
