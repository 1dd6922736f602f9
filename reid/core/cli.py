"""What every command-line program here shares: arguments, log file, and errors without a traceback."""

import argparse
import logging
import os
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
    except ReidError as error:
        log.error("error: %s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        log.error("interrupted")
        sys.exit(130)
    except Exception:
        log.exception("this is a bug in the pipeline, please report it")
        sys.exit(2)
