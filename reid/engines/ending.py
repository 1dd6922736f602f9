"""The end of a run: told by a signal, or because the DVC that runs it is gone, it ends with all its jobs.

Snakemake alone waits for its jobs. Here they are told to end, and are killed if they do not; a training keeps its
state, and the next run resumes it. Jobs in a cluster's queue are cancelled, which tells and kills them likewise.
"""

import contextlib
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import psutil
from snakemake.logging import logger

from reid.core.processes import SECONDS_TO_END, wait_for_end
from reid.engines.holder import working_for

_STEP = 0.1  # seconds


def prepare(workflow: Any) -> None:
    """Let this Snakemake end with its jobs from now on; called by the main thread, once its scheduler is there."""

    def told(number: int, _: FrameType | None) -> None:
        # a handler must not wait; and a terminal tells the jobs as well, which then need a moment
        why, wait = f"told to end ({signal.Signals(number).name})", 1.0 if number == signal.SIGINT else 0.0
        threading.Thread(target=_end, args=(workflow, why, wait), daemon=True).start()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup, or a background job of a script
                signal.signal(number, told)
    if dvc := working_for():  # the next DVC's first stage waits for our lock before it removes anything
        end_with(dvc.pid, workflow, "the dvc process that ran this is gone")


def end_with(pid: int, workflow: Any, why: str) -> None:
    """Let this Snakemake end with its jobs when a process ends; ``why`` is said then."""

    def wait() -> None:
        wait_for_end(pid)
        _end(workflow, why)

    threading.Thread(target=wait, daemon=True).start()


def under_way() -> bool:
    """Whether this run was told to end."""
    return _ending.locked()


def _end(workflow: Any, why: str, wait: float = 0.0) -> None:
    if not _ending.acquire(blocking=False):  # a second signal adds nothing
        return
    logger.info(f"{why}: the jobs end; the next run goes on from here")
    workflow.scheduler.exit_gracefully()  # starts no more jobs
    time.sleep(wait)
    start = time.monotonic()
    told: set[psutil.Process] = set()
    submitted = set[str]()
    while time.monotonic() < start + SECONDS_TO_END:
        _cancel(workflow, submitted)
        for process in _jobs():
            if process not in told:
                _send(process, signal.SIGTERM)
                told.add(process)
        time.sleep(_STEP)
    while time.monotonic() < start + SECONDS_TO_END + 1:
        for process in psutil.Process().children(recursive=True):
            _send(process, signal.SIGKILL)
        time.sleep(_STEP)
    os._exit(1)  # Snakemake has not ended by itself


def _cancel(workflow: Any, cancelled: set[str]) -> None:
    """Cancel the jobs in a cluster's queue that were not cancelled before.

    Snakemake takes them from its list while it asks for their state, and adds one that is being submitted: this is
    called again and again.
    """
    executor = workflow.scheduler._executor
    if workflow.local_exec or not hasattr(executor, "cancel_jobs"):
        return
    jobs = [job for job in list(executor.active_jobs) if job.external_jobid not in cancelled]
    if jobs:
        cancelled.update(job.external_jobid for job in jobs)
        with contextlib.suppress(Exception):  # the queue does not answer; the next run names what is left in it
            executor.cancel_jobs(jobs)


def _jobs() -> list[psutil.Process]:
    """All processes below this one but shells with something at work, which end with it."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            shell = process.name() in ("bash", "sh", "dash") and process.children()
        except psutil.Error:
            continue
        if not shell:
            found.append(process)
    return found


def _send(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.Error):  # it has ended
        process.send_signal(number)


_ending = threading.Lock()
