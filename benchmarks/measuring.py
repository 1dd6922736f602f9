"""Seconds and memory of a piece of work, in the process that does it."""

import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace


def seconds(work, repeat=1):
    """Median wall-clock seconds of ``repeat`` calls."""
    found = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def _memory(field):
    return int(re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M).group(1)) * 1024


@contextlib.contextmanager
def growth():
    """How far this process grows (resident bytes, at the highest) above what it has at the start.

    Yields:
        object whose ``bytes`` is set at the end; None where the system is not Linux.
    """
    found = SimpleNamespace(bytes=None)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest value so far
        before = _memory("VmRSS")
    except OSError:
        yield found
        return
    yield found
    found.bytes = max(0, _memory("VmHWM") - before)


def program(*arguments, cwd=None):
    """Run a program of this project to its end.

    Args:
        arguments: of Python.
        cwd: working folder.

    Returns:
        (float, int): seconds; its resident bytes at the highest, the largest of its processes.
    """
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )
    error = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))} failed:\n{error}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024
