"""Processes that keep order, end with their parent and do not run ahead."""

import multiprocessing
import os
import signal
import time

import pytest

from reid.core import parallel
from reid.core.errors import ReidError
from reid.core.parallel import cores, ordered_map


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
    results.close()  # 10**9 of them would take for ever
    assert multiprocessing.active_children() == []


def test_cores_are_those_this_process_may_use():
    if hasattr(os, "sched_getaffinity"):
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert cores() == 1
        finally:
            os.sched_setaffinity(0, before)
    assert 1 <= cores() <= os.cpu_count()


def test_workers_end_when_their_parent_is_killed(start_program):
    """Their output is open as long as one of them lives."""
    process = start_program(
        """
        import os, time
        from reid.core import parallel

        def work(number):
            os.write(1, b"working\\n")  # in one piece, for two workers write
            time.sleep(1000)

        parallel.cores = lambda: 2
        if __name__ == "__main__":
            list(parallel.ordered_map(work, range(8), 2))
        """,
    )
    assert process.stdout.readline() == "working\n"
    process.kill()
    process.communicate(timeout=600)
