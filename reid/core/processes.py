"""A job and its engine: the one ends with the other, and both can be told to end."""

import contextlib
import fcntl
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from reid.core import environment
from reid.core.forms import Number

JOBS_LOCK = Path(".snakemake/jobs.lock")  # held by every job, so that the next run can wait for those of a killed one
PID = Number(1, 2**31 - 1, whole=True)
SECONDS_TO_END = 6.0  # that a job has between being told to end and being killed


def end_with_engine() -> None:
    """End this program when the Snakemake process that started it is gone (:func:`end_with`).

    A killed Snakemake leaves its jobs running; the next run would start the same job beside them. The Snakefile puts
    its process id into the environment; by hand there is none.

    Raises:
        ReidError: REID_ENGINE_PID is no process id.
    """
    pid = environment.number("REID_ENGINE_PID", PID, "the Snakefile sets it, and by hand it must be unset")
    if pid is None:
        return
    with contextlib.suppress(OSError):  # by hand there is no such file
        file = open(JOBS_LOCK)  # noqa: SIM115 - held until the process ends
        fcntl.flock(file, fcntl.LOCK_SH)
        _held.append(file)
    end_with(pid)


def end_with(pid: int) -> None:
    """End this program when a process is gone; one that takes SIGTERM, to keep its state, is given a few seconds."""

    def wait() -> None:
        wait_for_end(pid)
        if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(SECONDS_TO_END)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """Take SIGTERM and SIGINT as a wish to end soon, for a program that has something to keep before.

    A second SIGINT, as of an impatient user, interrupts at once. Outside the main thread nothing changes.

    Yields:
        threading.Event: set once a signal has come.
    """
    told = threading.Event()

    def take(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and told.is_set():
            signal.default_int_handler(number, frame)
        told.set()

    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = {number: signal.signal(number, take) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for_end(pid: int) -> None:
    """Return when a process has ended, also one whose parent has not noticed yet."""
    try:
        file = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # not Linux, or an old one
        _ask_until_gone(pid)
        return
    try:
        poll = select.poll()
        poll.register(file, select.POLLIN)
        poll.poll()
    finally:
        os.close(file)


def _ask_until_gone(pid: int) -> None:
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        except PermissionError:  # another user's: it is there
            pass
        time.sleep(0.2)


_held: list[Any] = []
