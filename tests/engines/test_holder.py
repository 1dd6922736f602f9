"""One run at a time in a folder, by either engine, and no lock that outlives its process."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from dvc.lock import Lock, LockError

from reid.engines import holder

CLAIM = """
import os, sys, time
from reid.core.errors import ReidError
from reid.engines import holder
os.chdir(sys.argv[1])
try:
    holder.claim()
    print("held", flush=True)
except ReidError as error:
    print(error, flush=True)
    sys.exit(1)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "project"
    (folder / ".dvc/tmp").mkdir(parents=True)
    return folder


@pytest.fixture
def claim(folder, start_program):
    """``claim(**environment)`` starts a process that wants the folder; it and what it said."""
    started = []

    def start(**environment):
        process = start_program(CLAIM, folder, **environment)
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    kill(process)


def write_rwlock(folder, pid):
    entry = {"pid": pid, "cmd": "dvc repro"}
    (folder / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(folder / "data"): entry}, "read": {}}))


@pytest.mark.parametrize("with_dvc", [True, False])
def test_a_second_run_is_told_who_holds_the_folder_and_the_next_gets_it_once_that_is_killed(folder, claim, with_dvc):
    if not with_dvc:
        (folder / ".dvc/tmp").rmdir()
        (folder / ".dvc").rmdir()
    first, said = claim()
    assert said == "held"
    second, said = claim()
    assert second.wait() == 1
    assert f"process {first.pid}, since 20" in said and "program.py" in said and str(folder) in said
    kill(first)
    assert claim()[1] == "held"
    assert (folder / ".dvc").exists() == with_dvc


def test_dvc_cannot_begin_while_the_folder_is_held_and_can_afterwards(folder, claim):
    lock = Lock(str(folder / ".dvc/tmp/lock"))
    process, _ = claim()
    with pytest.raises(LockError):
        lock.lock()
    kill(process)
    lock.lock()
    assert lock.is_locked
    lock.unlock()


def test_a_folder_in_which_dvc_is_at_work_is_not_had(folder, claim):
    lock = Lock(str(folder / ".dvc/tmp/lock"))
    lock.lock()
    process, said = claim()
    assert process.wait() == 1 and f"process {os.getpid()}, since" in said
    lock.unlock()
    assert claim()[1] == "held"


def test_a_folder_is_not_had_while_dvc_runs_a_stage_and_has_let_go_of_its_lock(folder, claim, sleeper):
    write_rwlock(folder, sleeper.pid)
    process, said = claim()
    assert process.wait() == 1 and f"process {sleeper.pid}, since" in said
    lock = Lock(str(folder / ".dvc/tmp/lock"))  # which DVC must get back after its stage
    lock.lock()
    lock.unlock()
    kill(sleeper)
    assert claim()[1] == "held"


def test_a_process_that_got_the_number_of_a_killed_dvc_is_not_taken_for_it(folder, claim, sleeper):
    write_rwlock(folder, sleeper.pid)
    long_ago = psutil.Process(sleeper.pid).create_time() - 100
    os.utime(folder / ".dvc/tmp/rwlock", (long_ago, long_ago))
    assert claim()[1] == "held"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"write": 1}', '{"write": {"a": {"pid": "x"}}}', '{"read": {}}'])
def test_a_damaged_rwlock_holds_nobody_back(folder, claim, content):
    (folder / ".dvc/tmp/rwlock").write_text(content)
    assert claim()[1] == "held"


def test_a_snakemake_that_dvc_runs_leaves_dvcs_lock_alone_and_holds_the_folder_for_it(folder, claim, sleeper):
    write_rwlock(folder, sleeper.pid)
    dvc = psutil.Process(sleeper.pid)
    process, said = claim(**{holder.PARENT: holder.on_behalf_of(dvc)[holder.PARENT]})
    assert said == "held"
    lock = Lock(str(folder / ".dvc/tmp/lock"))
    lock.lock()
    lock.unlock()
    assert (folder / ".snakemake/run.lock").read_text().strip() == str(sleeper.pid)
    kill(process)


@pytest.mark.parametrize("value", ["", "x", "1:1.00", f"{2**22 + 1}:5.00"])
def test_a_snakemake_whose_dvc_is_gone_does_not_begin(claim, value):
    process, said = claim(**{holder.PARENT: value})
    assert process.wait() == 1 and said == "the dvc process that ran this is gone"


def test_the_next_run_waits_for_the_jobs_of_a_killed_one(folder, claim, start_program):
    first, _ = claim()
    job = start_program(
        """
        import os, signal, sys, time
        os.chdir(sys.argv[1])
        from reid.core.processes import end_with_engine, told_to_end
        with told_to_end() as told:
            end_with_engine()
            print("works", flush=True)
            told.wait()
            time.sleep(1)  # it keeps its state
        """,
        folder,
        REID_ENGINE_PID=str(first.pid),
    )
    assert job.stdout.readline() == "works\n"
    kill(first)
    started = time.monotonic()
    assert claim()[1] == "held"
    assert job.poll() is not None and time.monotonic() - started > 0.5


def test_a_lock_that_cannot_be_written_is_one_clear_error(folder, claim):
    (folder / ".snakemake").write_text("a file")
    process, said = claim()
    assert process.wait() == 1 and ".snakemake/run.lock: cannot be written" in said
