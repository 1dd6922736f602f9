"""The one kind of error that a user is meant to read."""

import contextlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path


class ReidError(Exception):
    """Something that the user can put right.

    The message names the file, the record and what to do about it. The command-line programs print it without a
    traceback and exit with status 1; anything else that is raised is a bug and keeps its traceback.
    """


@contextlib.contextmanager
def named(path: Path | str) -> Iterator[None]:
    """Let what the system says against a file name it: opening does, reading and writing do not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def summarise(problems: Iterable[str], what: str, limit: int = 20) -> str:
    """Join ``problems`` into one message: at most ``limit`` of them, then how many more there are.

    Args:
        problems: str, one line each, naming file and reason; no more than ``limit`` are kept.
        what: what the problems are about, for the first line.
        limit: how many are written out.

    Returns:
        str: ``what``, the number of problems and the problems, a line each.
    """
    others = iter(problems)
    shown = list(islice(others, limit))
    more = sum(1 for _ in others)
    count = len(shown) + more
    lines = [f"{what}: {count} problem{'s' if count != 1 else ''}", *(f"  - {problem}" for problem in shown)]
    if more:
        lines.append(f"  ... and {more} more")
    return "\n".join(lines)
