"""Files dated in the future, by a clock that is or was wrong.

Snakemake compares content only where an input is younger than an output. An output dated in the future hides every
later change, and a job whose input is dated in the future fails after its work, and its outputs are removed.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from reid.core.errors import ReidError

_STEP = 1000  # nanoseconds between two files


def mend(made: Iterable[Path], code: Iterable[Path]) -> list[Path]:
    """Give files of the future the present time.

    What the pipeline made keeps its order. The code then becomes younger than all of it, so that Snakemake compares
    its content with what it recorded: it may have changed since, on a clock that goes right again.

    Returns:
        list of Path: the files that were dated in the future.

    Raises:
        ReidError: one cannot be given another time.
    """
    code, now = list(code), time.time_ns()
    late, late_code = ([path for path in paths if _time(path) > now + 10**9] for paths in (made, code))
    late.sort(key=_time)
    for number, path in enumerate(late):
        _set(path, now - (len(late) - number) * _STEP)
    for path in code if late else late_code:
        _set(path, now)
    return [*late, *late_code]


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _set(path: Path, nanoseconds: int) -> None:
    try:
        os.utime(path, ns=(nanoseconds, nanoseconds))
    except OSError as error:
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(_time(path) / 1e9))
        raise ReidError(
            f"{path}: is dated {date}, which is in the future, and cannot be given another time ({error.strerror}); "
            "set the clock of this machine if it is wrong, or else `touch` the file"
        ) from error
