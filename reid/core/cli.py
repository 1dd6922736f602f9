"""What every command-line program here shares: arguments, log file, and errors without a traceback."""

import argparse
import errno
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from reid.core.errors import ReidError

log = logging.getLogger("reid")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An argument parser whose description is the program's docstring, with the option ``--log``."""
    result = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--log", type=Path, help="file for what is said on the terminal")
    return result


class _Terminal(logging.Handler):
    """Writes above a progress bar, not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def _end_with_engine() -> None:
    """End when the Snakemake process that started this program is gone.

    A killed Snakemake leaves its jobs running; the next run would start the same job beside them. The Snakefile puts
    its process id into the environment; by hand there is none.
    """
    engine = os.environ.get("REID_ENGINE_PID")
    if not engine:
        return

    def wait() -> None:
        while True:
            try:
                os.kill(int(engine), 0)
            except ProcessLookupError:
                os._exit(1)
            time.sleep(0.5)

    threading.Thread(target=wait, daemon=True).start()


def run(main: Callable[[argparse.Namespace], None], arguments: argparse.ArgumentParser) -> None:
    """Run ``main(args)``: messages go to the terminal and to ``--log``; a :class:`ReidError` ends with status 1.

    Args:
        main: the program; takes the parsed arguments.
        arguments: the parser made by :func:`parser`.
    """
    args = arguments.parse_args()
    _end_with_engine()
    log.setLevel(logging.INFO)
    log.addHandler(_Terminal())
    if args.log:
        args.log.parent.mkdir(parents=True, exist_ok=True)
        log.addHandler(logging.FileHandler(args.log, mode="w", encoding="utf-8"))
    try:
        main(args)
        sys.stdout.flush()
    except ReidError as error:
        log.error("error: %s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        log.error("interrupted")
        sys.exit(130)
    except BrokenPipeError:  # what reads the output has enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if remedy := _remedy(error):
            log.error("error: %s", remedy)
            sys.exit(1)
        log.exception("this is a bug in the pipeline, please report it")
        sys.exit(2)


_DISK = "the disk is full or a quota used up; free some space and run again"
_OF_SYSTEM = {
    errno.ENOSPC: _DISK,
    errno.EDQUOT: _DISK,
    errno.EACCES: "must not be read or written by this user; change its rights",
    errno.EPERM: "must not be read or written by this user; change its rights",
    errno.EROFS: "lies on a disk that cannot be written to",
    errno.ENOENT: "there is no such file or folder",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENAMETOOLONG: "the name is longer than the file system takes; give a shorter one",
    errno.EIO: "the disk does not answer (input/output error); look at the machine's log",
    errno.ESTALE: "the network file system has lost it; mount it again",
}


def _remedy(error: Exception) -> str | None:
    """What a user can do about an exception that is nobody's bug: of the system, or for want of memory."""
    text = str(error)
    of_gpu = type(error).__name__ == "OutOfMemoryError"
    if isinstance(error, MemoryError) or of_gpu or "DefaultCPUAllocator: can't allocate" in text:
        asked = re.search(r"(?:allocate|tried to allocate) ([\d.]+ ?\w+)", text)
        return (
            f"the {'GPU' if of_gpu else 'machine'} has too little memory"
            + (f" (asked for {asked[1]})" if asked else "")
            + "; lower sampler.actions, identities or instances, input, or embed.batch_size, or use fewer --threads"
        )
    if isinstance(error, OSError) and error.errno is not None:
        what = _OF_SYSTEM.get(error.errno, error.strerror or "cannot be used")
        return f"{error.filename}: {what}" if error.filename is not None else str(what)
    return None
