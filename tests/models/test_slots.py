"""GPUs of their own for programs that run at the same time; CUDA's list of devices is a stand-in."""

import os
import select
import subprocess
import sys

import pytest

from reid.core.errors import ReidError
from reid.models import slots

PROGRAM = """
import logging, os, sys, time
from reid.models import slots

logging.basicConfig(level=logging.INFO, format="%(message)s")
slots._uuids = lambda: sys.argv[1].split(",")
slots._use = lambda number: print("uses", number)
print(slots.take(int(sys.argv[2])), os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """``start(devices, count)`` starts a program that takes some of the devices, and holds them until it is killed."""
    started, program = [], tmp_path / "program.py"
    program.write_text(PROGRAM)

    def run(devices, count=1, **environment):
        environment = {**os.environ, "TMPDIR": str(tmp_path), slots.JOBS_PER_GPU: "1", **environment}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, program, devices, str(count)], env=environment, **pipes))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def has_line(process, seconds=0):
    """Whether a program has printed anything, within so many seconds."""
    return bool(select.select([process.stdout], [], [], seconds)[0])


def used(process):
    """The device that a program uses, once it has one."""
    line = process.stdout.readline()
    assert line.startswith("uses "), line + process.stderr.read()
    return int(line.split()[1])


def waits(process):
    """Read that a program waits, and see that it has no device yet."""
    assert "waits for" in (line := process.stderr.readline()), line
    assert not has_line(process, 0.3)


def end(process):
    process.kill()
    process.wait()


def test_two_jobs_get_a_device_each_and_a_third_that_of_the_first_that_ends(start):
    first, second = start("a,b"), start("a,b")
    assert {used(first), used(second)} == {0, 1}
    third = start("a,b")
    waits(third)
    end(second)  # killed, without a chance to say so
    assert used(third) in (0, 1)
    assert first.poll() is None
    third.kill()
    assert third.communicate()[1] == ""  # it said that it waits once


def test_with_one_device_jobs_take_turns(start):
    first = start("a")
    assert used(first) == 0
    others = [start("a"), start("a")]
    for process in others:
        waits(process)
    end(first)
    while others:  # whose turn it is, is the system's choice
        ready = [process for process in others if has_line(process, 0.05)]
        assert len(ready) <= 1
        for process in ready:
            assert used(process) == 0
            others.remove(process)
            end(process)


def test_devices_are_known_by_their_uuid_whatever_their_number(start):
    first, second = start("a,b"), start("b,a")
    assert (used(first), used(second)) in ((0, 0), (1, 1))
    third = start("b")
    waits(third)


def test_a_free_device_is_had_whoever_waits_for_another(start):
    first = start("a")
    assert used(first) == 0
    waits(start("a"))
    other = start("b")
    assert has_line(other, 30) and used(other) == 0


def test_several_jobs_share_a_device_where_they_may_and_spread_before(start):
    jobs = [start("a,b", **{slots.JOBS_PER_GPU: "2"}) for _ in range(4)]
    assert sorted(map(used, jobs)) == [0, 0, 1, 1]
    waits(start("a,b", **{slots.JOBS_PER_GPU: "2"}))


def test_two_that_need_two_of_three_do_not_wait_for_each_other(start):
    jobs = [start("a,b,c", 2) for _ in range(3)]
    seen = []
    while jobs:
        for process in [process for process in jobs if has_line(process, 0.05)]:
            seen.append(process.stdout.readline())
            jobs.remove(process)
            end(process)
    assert [line[0] for line in seen] == ["["] * 3  # it uses none itself: they are for those that it starts


@pytest.mark.parametrize("visible, wanted", [(None, "0,1"), ("5,3,4", "5,3")])
def test_several_devices_are_what_its_own_processes_see(start, visible, wanted):
    environment = {"CUDA_VISIBLE_DEVICES": visible or ""}
    assert start("a,b,c", 2, **environment).stdout.readline() == f"[0, 1] {wanted}\n"


# ---- in this process


@pytest.fixture
def here(monkeypatch, tmp_path):
    """``here(devices)`` sets the stand-in; gives the list of numbers that were used."""
    numbers = []
    monkeypatch.setattr(slots.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(slots, "_use", numbers.append)
    monkeypatch.setattr(slots, "_held", [])
    monkeypatch.setattr(slots, "_uuids", lambda: ["a", "b"])
    return numbers


@pytest.mark.parametrize("rank", [0, 1])
def test_process_of_torchrun_uses_the_device_of_its_rank_without_a_lock(here, monkeypatch, tmp_path, rank):
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    assert slots.take(2) == [rank] == here
    assert not any(tmp_path.iterdir())


def test_without_a_gpu_nothing_is_taken(here, monkeypatch, tmp_path):
    monkeypatch.setattr(slots, "_uuids", lambda: [])
    assert slots.take(3) == [] == here
    assert not any(tmp_path.iterdir())


def test_locks_lie_in_a_folder_of_the_users_own(here, tmp_path):
    assert slots.take() == [0]
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"reid-gpus-{os.getuid()}" and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # anybody could hold the locks
    with pytest.raises(ReidError, match="reid-gpus-.* is not a folder of this user alone; remove it, or set TMPDIR"):
        slots.take()


@pytest.mark.parametrize(
    "count, rank, jobs, message",
    [
        (3, None, "1", "devices: must be 2 at the most, as many GPUs as there are, not 3"),
        (3, "2", "1", "devices: must be 2 at the most, as many GPUs as there are, not 3"),
        (1, "x", "1", 'LOCAL_RANK: "x" is not a whole number from 0 to 1,023; torchrun sets it'),
        (1, "-1", "1", "LOCAL_RANK: -1 is not a whole number from 0 to 1,023; torchrun sets it"),
        (1, None, "0", "REID_JOBS_PER_GPU: 0 is not a whole number from 1 to 64; leave it out for one"),
        (1, None, "two", 'REID_JOBS_PER_GPU: "two" is not a whole number from 1 to 64; '),
        (1, None, "9" * 5000, 'REID_JOBS_PER_GPU: "9999'),
    ],
)
def test_what_cannot_be_had_is_one_error(here, monkeypatch, count, rank, jobs, message):
    monkeypatch.setenv(slots.JOBS_PER_GPU, jobs)
    if rank:
        monkeypatch.setenv("LOCAL_RANK", rank)
    with pytest.raises(ReidError) as caught:
        slots.take(count)
    assert str(caught.value).startswith(message) and len(str(caught.value)) < 200


@pytest.mark.gpu
def test_devices_of_this_machine_have_uuids():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    uuids = slots._uuids()
    assert len(set(uuids)) == len(uuids) == torch.cuda.device_count()
    assert all(len(uuid) >= 36 for uuid in uuids)
