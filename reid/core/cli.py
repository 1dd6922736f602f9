"""What every command-line program here shares: arguments, log file, and errors without a traceback."""

import argparse
import contextlib
import errno
import io
import logging
import os
import re
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TextIO

from reid.core import environment, file_type, files
from reid.core.errors import ReidError
from reid.core.forms import Number
from reid.core.processes import end_with_engine
from reid.core.progress import say

log = logging.getLogger("reid")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with one line, as for every other error; ``argparse`` would print all options before it."""
        self.exit(2, f"error: {message} (see --help)\n")


def number(low: float, high: float, whole: bool = False) -> Callable[[str], Any]:
    """The ``type`` of an argument that is a number from ``low`` to ``high``."""
    form = Number(low, high, whole)

    def of_text(text: str) -> Any:
        try:
            return form.of_text(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return of_text


def whole(low: int, high: int) -> Callable[[str], Any]:
    """The ``type`` of an argument that is a whole number from ``low`` to ``high``."""
    return number(low, high, whole=True)


THREADS = whole(1, 1024)
IDX = whole(0, 2**31 - 1)  # a bbox_idx or action_idx
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An argument parser whose description is the program's docstring, with the option ``--log``."""
    result = _Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--log", type=Path, help="file for what is said on the terminal")
    return result


def plain(text: str) -> str:
    """Text that steers no terminal: names of files from elsewhere may hold its control characters."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class _Plain(logging.Formatter):
    """Messages as :func:`plain` text."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


class _Terminal(logging.Handler):
    """Writes above a progress bar, not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


class _File(logging.FileHandler):
    """A log that cannot be written ends the program, with an error on the terminal.

    An error itself is tried a few times: what filled the disk has just been removed, and its room comes back soon.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        error = record.levelno >= logging.ERROR
        if error and self.stream and _written_after_all(self.stream):
            return
        log.removeHandler(self)
        with contextlib.suppress(OSError):  # or Python tells of it once more as it ends
            if self.stream:
                self.stream.close()
        if not error:  # an error ends the program anyway, and stands on the terminal
            raise


def _written_after_all(stream: TextIO) -> bool:
    for _ in range(5):
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            stream.flush()
            return True
    return False


def run(main: Callable[[argparse.Namespace], None], arguments: argparse.ArgumentParser) -> None:
    """Run ``main(args)``: messages go to the terminal and to ``--log``; a :class:`ReidError` ends with status 1.

    Args:
        main: the program; takes the parsed arguments.
        arguments: the parser made by :func:`parser`.
    """
    args = arguments.parse_args()
    of_several = environment.by_torchrun()
    first = not of_several or os.environ.get("RANK", "0") == "0"
    log.setLevel(logging.INFO if first else logging.ERROR)
    _add(_Terminal())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        end_with_engine()
        _check_apart(args)
        if args.log:
            args.log.parent.mkdir(parents=True, exist_ok=True)
            if args.log.exists() and not args.log.is_file() and not args.log.is_char_device():
                raise ReidError(f"{args.log}: is {file_type.describe(args.log)}, not a file")
            mode = "a" if of_several else "w"  # their parent has begun it
            _add(_File(args.log, mode=mode, encoding="utf-8", errors="backslashreplace"))
        files.WRITTEN.clear()
        main(args)
        if told := files.tell_written():
            log.info("wrote %s", told)
        if sys.stdout:
            sys.stdout.flush()
    except ReidError as error:
        log.error("error: %s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        log.error("interrupted")
        sys.exit(130)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and (closed := _closed()):
            for stream in closed:  # what reads the output has enough, as in `| head`
                _silence(stream)
            sys.exit(141)
        if remedy := _remedy(error):
            log.error("error: %s%s", "" if _flushed() else "the output: ", remedy)
            sys.exit(1)
        log.exception("this is a bug in the pipeline, please report it")
        sys.exit(2)


def _add(handler: logging.Handler) -> None:
    handler.setFormatter(_Plain())
    log.addHandler(handler)


def _check_apart(args: argparse.Namespace) -> None:
    """Check that what one argument makes is not what another one names, for one of the two would be lost.

    Only a path that stands alone can be made: lists are read, and so are folders and texts (names of results, of the
    parameter file) here. They may agree with each other.
    """
    named: dict[str, str] = {}
    for name, value in sorted(vars(args).items(), key=lambda item: isinstance(item[1], Path)):
        for path in value if isinstance(value, list) else [value]:
            if not isinstance(path, Path) and not (isinstance(path, str) and Path(path).suffix):
                continue
            # a link is replaced, not what it leads to: DVC links files of the same content to one
            place = os.path.join(os.path.realpath(Path(path).parent), Path(path).name)
            other = named.setdefault(place, name)
            if other != name and isinstance(value, Path) and not os.path.isdir(path):
                names = " and ".join(key.replace("_", "-") for key in (other, name))
                raise ReidError(f"{path}: is named twice, by {names}; name a file for each")


def _closed() -> list[int]:
    """Which of standard output and standard error nobody reads any more."""
    poll = select.poll()
    for stream in (1, 2):
        poll.register(stream, 0)
    return [stream for stream, _ in poll.poll(0)]


def _silence(stream: int) -> None:
    """Let what is still written to a stream go nowhere, or Python would fail once more as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def _flushed() -> bool:
    """Whether standard output takes what was printed."""
    try:
        if sys.stdout:
            sys.stdout.flush()
        return True
    except OSError:
        _silence(1)
        return False


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
    errno.EPIPE: "a program that this one works with has ended before its time",
}


_OF_GPU = re.compile("CUDA out of memory|CUDA error: out of memory|Cuda failure.*out of memory|_ALLOC_FAILED")
_ASKED = re.compile(r"(?:allocate|Requested size:) ([\d.]+ ?\w+)")  # by NumPy and PyTorch


def of_memory(error: Exception) -> str | None:
    """What a user can do about an exception for want of memory; None for another one."""
    text = str(error)
    of_gpu = type(error).__name__ == "OutOfMemoryError" or bool(_OF_GPU.search(text))
    if not (isinstance(error, MemoryError) or of_gpu or "DefaultCPUAllocator: can't allocate" in text):
        return None
    asked = _ASKED.search(text)
    return (
        f"the {'GPU' if of_gpu else 'machine'} has too little memory"
        + (f" (asked for {asked[1]})" if asked else "")
        + "; lower sampler.actions, identities or instances, embed.batch_size, chunk or input, set "
        + ("network.checkpointing" if of_gpu else "network.checkpointing, or use fewer --threads")
    )


def _remedy(error: Exception) -> str | None:
    """What a user can do about an exception that is nobody's bug: of the system, or for want of memory."""
    if remedy := of_memory(error):
        return remedy
    if isinstance(error, OSError) and error.errno is not None:
        what = _OF_SYSTEM.get(error.errno, error.strerror or "cannot be used")
        return f"{error.filename}: {what}" if error.filename is not None else str(what)
    return None
