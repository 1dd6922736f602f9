"""A program run in the process of the tests, which takes a fraction of its start."""

import logging
import runpy
import sys

from builders import ROOT


def run_here(program, words):
    """Run a program of scripts/ with these words, and leave log and arguments as they were; its exit status."""
    log, argv = logging.getLogger("reid"), sys.argv
    handlers, level = list(log.handlers), log.level
    sys.argv = [program, *map(str, words)]
    try:
        runpy.run_path(str(ROOT / "scripts" / program), run_name="__main__")
    except SystemExit as end:
        return end.code
    finally:
        log.handlers[:], sys.argv = handlers, argv
        log.setLevel(level)
    return 0
