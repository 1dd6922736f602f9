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
    spent = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def _memory(field):
    return int(re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M).group(1)) * 1024


@contextlib.contextmanager
def growth():
    """How far this process grows (resident bytes, at the highest) above what it has at the start.

    Memory that earlier work freed and the process still holds is not seen when it is used again.

    Yields:
        object whose ``bytes`` is set at the end; None where the system is not Linux.
    """
    grown = SimpleNamespace(bytes=None)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest value so far
        before = _memory("VmRSS")
    except OSError:
        yield grown
        return
    yield grown
    grown.bytes = max(0, _memory("VmHWM") - before)


def program(*arguments, cwd=None):
    """Run a program of this project to its end.

    Args:
        arguments: of Python.
        cwd: working folder.

    Returns:
        (float, int): seconds; its resident bytes at the highest, the largest of its processes.
    """
    # From a small process: a child counts what its parent held when it was started.
    call = [sys.executable, "-S", __file__, sys.executable, *map(str, arguments)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(call, cwd=cwd, capture_output=True, text=True, env={**os.environ, "PATH": path})
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))} failed:\n{done.stderr}")
    spent, kilobytes = done.stdout.split()
    return float(spent), int(kilobytes) * 1024


def _launch(call):
    started = time.perf_counter()
    child = os.posix_spawn(call[0], call, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status, usage = os.wait4(child, 0)
    print(time.perf_counter() - started, usage.ru_maxrss)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_launch(sys.argv[1:]))
