"""Who holds a folder: one run at a time, by either engine.

Two locks of the operating system, which end with their process however it ends: our own (RUN), and DVC's, so that
``dvc`` refuses before it removes anything. While DVC runs a stage it lets go of its lock and stands in ``rwlock``
instead. So a Snakemake that has DVC's lock and finds no living process in ``rwlock`` is alone; one that DVC itself
runs takes our own lock only.
"""

import contextlib
import datetime
import fcntl
import json
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from reid.core.errors import ReidError
from reid.core.processes import JOBS_LOCK, SECONDS_TO_END
from reid.engines import queue

RUN = Path(".snakemake/run.lock")
DVC = Path(".dvc/tmp/lock")
RWLOCK = Path(".dvc/tmp/rwlock")
PARENT = "REID_DVC"  # environment: the process that holds DVC's side for this one


def claim() -> None:
    """Take this folder until the process ends.

    Raises:
        ReidError: another run is at work here, a job of a killed one does not end or is in a cluster's queue, or the
            DVC that runs this is gone.
    """
    if _held:
        return
    parent = working_for()
    if parent is None and DVC.parents[1].is_dir():
        if not _hold(DVC, seconds=3):
            raise _busy(_written(DVC))
        if writer := next(_writers(), None):
            raise _busy(writer)
    # a Snakemake whose DVC was killed is about to end; any other is at work
    if not _hold(RUN, 2 * SECONDS_TO_END if parent else 0, parent):
        raise _busy(_written(RUN))
    queue.refuse_jobs_left()
    if not _hold(JOBS_LOCK, 2 * SECONDS_TO_END):
        raise ReidError(f"a job of an earlier run is still at work in this folder ({Path.cwd()}); wait for it to end")
    _held.pop().close()  # our own jobs will hold it


def working_for() -> psutil.Process | None:
    """The process of :func:`on_behalf_of`; None for a run by hand.

    Raises:
        ReidError: it is gone.
    """
    if PARENT not in os.environ:
        return None
    number, _, started = os.environ[PARENT].partition(":")
    with contextlib.suppress(ValueError, psutil.NoSuchProcess):
        process = psutil.Process(int(number))
        if f"{process.create_time():.2f}" == started:
            return process
    raise ReidError("the dvc process that ran this is gone")


def on_behalf_of(process: psutil.Process) -> dict[str, str]:
    """An environment for a Snakemake that works for ``process``, which holds DVC's side of the folder."""
    return {**os.environ, PARENT: f"{process.pid}:{process.create_time():.2f}"}


def running_dvc() -> psutil.Process | None:
    """The DVC process that runs this one as a stage; None by hand."""
    parents = {process.pid for process in psutil.Process().parents()}
    return next((writer for writer in _writers() if writer.pid in parents), None)


def _hold(path: Path, seconds: float = 0, holder: psutil.Process | None = None) -> bool:
    """Lock a file until the process ends and write into it who holds it, as DVC does; False if it cannot be had."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held until the process ends
    except OSError as error:
        raise ReidError(f"{path}: cannot be written ({error.strerror}); it keeps two runs apart") from error
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= end:
                file.close()
                return False
            time.sleep(0.1)
    file.truncate(0)
    file.write(f" {holder.pid if holder else os.getpid()}\n")
    file.flush()
    _held.append(file)
    return True


def _written(path: Path) -> psutil.Process | None:
    with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
        return psutil.Process(int(path.read_text(encoding="utf-8")))
    return None


def _writers() -> Iterator[psutil.Process]:
    """Living DVC processes that are in the middle of a stage."""
    try:
        written = RWLOCK.stat().st_mtime
        entries = json.loads(RWLOCK.read_text(encoding="utf-8"))["write"].values()
        numbers = sorted({int(entry["pid"]) for entry in entries})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    for number in numbers:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(number)
            # a younger one has but the number of a DVC that was killed
            if process.create_time() <= written + 1 and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _busy(process: psutil.Process | None) -> ReidError:
    who = "another snakemake or dvc"
    if process:
        with contextlib.suppress(psutil.Error):
            since = datetime.datetime.fromtimestamp(process.create_time())
            who = f"`{shlex.join(process.cmdline())}` (process {process.pid}, since {since:%Y-%m-%d %H:%M:%S})"
    return ReidError(f"{who} is at work in this folder ({Path.cwd()}); wait for it to end")


_held: list[Any] = []
