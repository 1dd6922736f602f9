"""Files that appear whole or not at all, processes that keep order, programs that end with a clear error."""

import errno
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reid import parallel
from reid.archive import pack
from reid.errors import ReidError, summarise
from reid.files import read_json, replacing, sha256, write_json
from reid.parallel import cores, ordered_map

SCRIPTS = Path(__file__).parents[1] / "scripts"


# ---- files that appear whole


def test_file_appears_at_the_end_only(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with replacing(path) as partial:
        partial.write_text("half")
        assert not path.exists() and partial.parent == path.parent and partial.name.startswith(".")
        partial.write_text("whole")
    assert path.read_text() == "whole" and os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, OSError, ReidError])
@pytest.mark.parametrize("written", [True, False])
def test_error_leaves_nothing_and_keeps_the_old_file(tmp_path, error, written):
    for path in (tmp_path / "old.txt", tmp_path / "new.txt"):
        (tmp_path / "old.txt").write_text("old")
        with pytest.raises(error), replacing(path) as partial:
            if written:
                partial.write_text("half")
            raise error("stop")
    assert os.listdir(tmp_path) == ["old.txt"] and (tmp_path / "old.txt").read_text() == "old"


def test_leftover_of_a_killed_process_is_overwritten(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(RuntimeError), replacing(path) as partial:
        leftover = partial
        raise RuntimeError
    leftover.write_text("a longer text that a killed process left")
    with replacing(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_is_the_users_error(tmp_path, monkeypatch, number, call):
    def full(*_):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "a.json"
    path.write_text("old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(ReidError, match="a.json: the disk is full .*free some space and run again"):
        write_json(path, {"a": 1})
    assert os.listdir(tmp_path) == ["a.json"] and path.read_text() == "old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_json(path, {"a": 1}),
        lambda path: pack(path, [("a.png", b"1" * 100_000)]),
    ],
    ids=["JSON", "zip"],
)
def test_writers_on_a_device_that_is_full(tmp_path, write):
    (tmp_path / ".a.partial").symlink_to("/dev/full")
    with pytest.raises(ReidError, match="a: the disk is full"):
        write(tmp_path / "a")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_parquet_on_a_device_that_is_full(tmp_path):
    """Arrow raises its own errors: they must carry the number."""
    (tmp_path / ".a.partial").symlink_to("/dev/full")
    with pytest.raises(ReidError, match="a: the disk is full"), replacing(tmp_path / "a") as partial:
        pq.write_table(pa.table({"x": list(range(1000))}), partial)
    assert os.listdir(tmp_path) == []


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError, match="elsewhere"), replacing(tmp_path / "a.txt"):
        raise PermissionError(errno.EACCES, "Permission denied", "elsewhere")


def test_place_that_must_not_be_written_is_the_users_error(tmp_path):
    refused = pytest.raises(ReidError, match="a.txt: cannot be written .Permission denied")
    with refused, replacing(tmp_path / "a.txt") as partial:
        raise PermissionError(errno.EACCES, "Permission denied", str(partial))
    (tmp_path / "file").write_text("")
    with pytest.raises(ReidError, match="file/below/a.txt: its folder cannot be made"):
        write_json(tmp_path / "file/below/a.txt", {})


# ---- JSON and hashes


def test_json_is_read_back_and_keeps_its_order(tmp_path):
    content = {"b": [1, 2.5, None, True], "a": {"Atlético": "é"}, "10": 1, "9": 2}
    write_json(tmp_path / "a.json", content)
    read = read_json(tmp_path / "a.json")
    assert read == content and list(read) == ["b", "a", "10", "9"]
    text = (tmp_path / "a.json").read_bytes()
    assert text.endswith(b"}\n") and "Atlético".encode() in text and json.loads(text) == content
    write_json(tmp_path / "b.json", content)
    assert (tmp_path / "b.json").read_bytes() == text


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}}', b"\xff\xfe{}", b"{'a': 1}"])
def test_what_is_no_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ReidError, match="a.json: is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_missing_json_is_named(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ReidError, match=f"{path}: cannot be read"):
            read_json(path)


@pytest.mark.parametrize("size", [0, 1, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, (20 << 20) + 7])
def test_sha256_is_that_of_hashlib(tmp_path, size):
    content = (b"0123456789" * (size // 10 + 1))[:size]
    (tmp_path / "a").write_bytes(content)
    steps = []
    assert sha256(tmp_path / "a", steps.append) == sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    assert sum(steps) == size


def test_problems_are_cut_at_the_limit_and_all_counted():
    assert summarise(["a: x"], "it") == "it: 1 problem\n  - a: x"
    assert summarise(["a", "b"], "it") == "it: 2 problems\n  - a\n  - b"
    lines = summarise([f"<{i}>" for i in range(25)], "it").splitlines()
    assert lines[0] == "it: 25 problems" and lines[1:21] == [f"  - <{i}>" for i in range(20)]
    assert lines[21:] == ["  ... and 5 more"]
    assert summarise(["a", "b", "c"], "it", limit=1) == "it: 3 problems\n  - a\n  ... and 2 more"


# ---- processes


def square(number):
    return number * number


def slow_when_even(number):
    time.sleep(0.03 * (number % 2 == 0))
    return number


def process_of(number):
    time.sleep(0.05)
    return os.getpid()


def fail_at_five(number):
    if number == 5:
        raise ValueError(f"number {number} is bad")
    return number


def die_at_five(number):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)


@pytest.mark.parametrize("workers", [0, 1, 2, 50])
@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_results_are_those_of_map(two_cores, workers, count):
    assert list(ordered_map(square, range(count), workers)) == [n * n for n in range(count)]


def test_order_is_kept_when_later_tasks_end_first(two_cores):
    assert list(ordered_map(slow_when_even, range(20), 2)) == list(range(20))


def test_tasks_run_in_other_processes_at_most_one_per_core(two_cores):
    processes = set(ordered_map(process_of, range(12), 50))
    assert len(processes) == 2 and os.getpid() not in processes


def test_one_worker_is_this_process():
    assert set(ordered_map(process_of, range(2), 1)) == {os.getpid()}


@pytest.mark.parametrize("workers, ahead", [(1, 1), (2, 8)])
def test_tasks_are_taken_as_results_are(two_cores, workers, ahead):
    """Memory does not grow with the number of tasks: a slow reader is not overrun."""
    taken = []

    def tasks():
        for number in range(60):
            taken.append(number)
            yield number

    most = 0
    for got, _ in enumerate(ordered_map(square, tasks(), workers)):
        most = max(most, len(taken) - got)
    assert 1 <= most <= ahead and len(taken) == 60


@pytest.mark.parametrize("workers", [1, 2])
def test_error_in_a_task_comes_out_after_the_results_before_it(two_cores, workers):
    got = []
    with pytest.raises(ValueError, match="number 5 is bad"):
        got.extend(ordered_map(fail_at_five, range(1000), workers))
    assert got == [0, 1, 2, 3, 4] and multiprocessing.active_children() == []


def test_error_of_the_tasks_themselves_comes_out(two_cores):
    def tasks():
        yield 1
        raise RuntimeError("no more tasks")

    with pytest.raises(RuntimeError, match="no more tasks"):
        list(ordered_map(square, tasks(), 2))


def test_killed_worker_is_the_users_error(two_cores):
    with pytest.raises(ReidError, match="a worker process was killed, probably for want of memory"):
        list(ordered_map(die_at_five, range(1000), 2))


def test_reader_may_stop_early(two_cores):
    results = ordered_map(process_of, range(10**9), 2)
    next(results)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 5 and multiprocessing.active_children() == []


def test_cores_are_those_this_process_may_use():
    if hasattr(os, "sched_getaffinity"):
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert cores() == 1
        finally:
            os.sched_setaffinity(0, before)
    assert 1 <= cores() <= os.cpu_count()


def script(tmp_path, text, *arguments, **environment):
    """Start a program that may import the library."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(text))
    env = {k: v for k, v in os.environ.items() if k != "REID_ENGINE_PID"}
    env |= {"PYTHONPATH": str(SCRIPTS), **environment}
    command = [sys.executable, path, *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_workers_end_when_their_parent_is_killed(tmp_path):
    """Their output is open as long as one of them lives."""
    process = script(
        tmp_path,
        """
        import os, time
        from reid import parallel

        def work(number):
            os.write(1, b"working\\n")  # in one piece, for two workers write
            time.sleep(60)

        parallel.cores = lambda: 2
        if __name__ == "__main__":
            list(parallel.ordered_map(work, range(8), 2))
        """,
    )
    assert process.stdout.readline() == "working\n"
    process.kill()
    process.communicate(timeout=15)


# ---- programs


PROGRAM = '''
"""Says what is wrong."""
import time
from reid import cli
from reid.errors import ReidError

def main(args):
    cli.log.info("it begins")
    {}

parser = cli.parser(__doc__)
parser.add_argument("--number", type=int, default=1)
cli.run(main, parser)
'''


def run(tmp_path, body, *arguments, **environment):
    process = script(tmp_path, PROGRAM.format(body), *arguments, **environment)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_program_that_ends_well(tmp_path):
    log = tmp_path / "logs" / "new" / "a.log"
    code, out, err = run(tmp_path, "cli.log.info('Atlético %d', args.number)", "--number", "7", "--log", log)
    assert (code, out, err) == (0, "", "it begins\nAtlético 7\n")
    assert log.read_text(encoding="utf-8") == err


def test_users_error_has_no_traceback(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("of another run")
    code, out, err = run(tmp_path, "raise ReidError('a.zip: is cut short; fetch it again')", "--log", log)
    assert (code, out, err) == (1, "", "it begins\nerror: a.zip: is cut short; fetch it again\n")
    assert log.read_text() == err


def test_bug_keeps_its_traceback(tmp_path):
    code, _, err = run(tmp_path, "{}['missing key']", "--log", tmp_path / "a.log")
    assert code == 2 and "this is a bug in the pipeline" in err
    assert "Traceback (most recent call last)" in err and "KeyError: 'missing key'" in err and "program.py" in err
    assert (tmp_path / "a.log").read_text() == err


def test_interrupted_program(tmp_path):
    code, _, err = run(tmp_path, "raise KeyboardInterrupt")
    assert (code, err) == (130, "it begins\ninterrupted\n")


def test_help_is_the_docstring(tmp_path):
    code, out, _ = run(tmp_path, "pass", "--help")
    assert code == 0 and "Says what is wrong." in out and "--log" in out


def test_program_ends_with_its_engine(tmp_path):
    engine = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = script(tmp_path, PROGRAM.format("print(1, flush=True); time.sleep(60)"), REID_ENGINE_PID=str(engine.pid))
    assert process.stdout.readline() == "1\n" and process.poll() is None
    engine.communicate(b"\n")
    process.communicate(timeout=15)
    assert process.returncode == 1


def test_program_by_hand_has_no_engine_to_wait_for(tmp_path):
    assert run(tmp_path, "time.sleep(0.8)", REID_ENGINE_PID="")[0] == 0
