"""One process per core, results in order, bounded memory."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TypeVar

from reid.core.errors import ReidError

Task = TypeVar("Task")
Result = TypeVar("Result")


def _end_with_parent() -> None:
    """Let a worker end when its parent is killed; it would otherwise wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # it runs in workers only

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Map ``function`` over ``tasks`` in ``workers`` processes and yield the results in the order of the tasks.

    At most four tasks per worker are under way or waiting to be taken, so memory does not grow with their number.

    Args:
        function: a module-level function of one argument (it is pickled).
        tasks: iterable of arguments.
        workers: number of processes, at most one per core; 1 runs everything in this one.

    Raises:
        ReidError: a worker was killed, as a rule for want of memory.
    """
    workers = min(workers, cores())
    if workers <= 1:
        yield from map(function, tasks)
        return
    pending: deque[Future[Result]] = deque()
    with ProcessPoolExecutor(workers, initializer=_end_with_parent) as pool:
        try:
            for task in tasks:
                pending.append(pool.submit(function, task))
                if len(pending) >= 4 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise ReidError("a worker process was killed, probably for want of memory; use fewer threads") from error
        finally:
            for future in pending:
                future.cancel()
