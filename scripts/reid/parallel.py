"""One process per core, results in order, bounded memory."""

import multiprocessing
import os
import threading
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection

from reid.errors import ReidError


def _end_with_parent():
    """Let a worker end when its parent is killed; it would otherwise wait for work for ever."""
    parent = multiprocessing.parent_process().sentinel

    def wait():
        connection.wait([parent])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def cores():
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def ordered_map(function, tasks, workers):
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
    pending = deque()
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
