"""What the Snakefile needs of Python: checked parameters, the code of a script, one run at a time."""

import ast
import contextlib
import fcntl
import functools
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from reid.errors import ReidError
from reid.filenames import PAGE_PARTS, SPLITS
from reid.params import read_params

PARTS = [f"{number:02}" for number in range(PAGE_PARTS)]  # of a gallery page
SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def params(workflow):
    """Check ``params.yaml`` and refuse a second configuration.

    Also tells the jobs which process runs them, so that they end with it, and lets them use its Python.

    Raises:
        WorkflowError: a parameter is wrong, or the command line brought its own.
    """
    if workflow.config_settings.config or workflow.config_settings.configfiles:
        raise WorkflowError(
            "params.yaml is the only configuration, because the scripts and DVC read it too. Instead of --config or "
            "--configfile, edit params.yaml, copy a recipe over it, or use: dvc exp run -S SECTION.KEY=VALUE"
        )
    os.environ["REID_ENGINE_PID"] = str(os.getpid())
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    try:
        return read_params()
    except ReidError as error:
        raise WorkflowError(str(error)) from None


def gpus(workflow):
    """How many GPU jobs may run side by side (``--resources gpu=N``); their threads share the cores."""
    limits = workflow.global_resources
    return max(1, limits["gpu"].value) if "gpu" in limits else 1


def code(script):
    """The files of this project that a script runs: itself and all modules of ``reid`` that it imports.

    They are inputs of its rule, so that a change reruns what depends on it.

    Args:
        script: name without ``.py``.

    Returns:
        list of str, relative to the project's folder, sorted
    """
    found, todo = set(), [SCRIPTS / f"{script}.py"]
    while todo:
        path = todo.pop()
        if path not in found and path.exists():
            found.add(path)
            todo += _imports(path)
    return sorted(str(path.relative_to(SCRIPTS.parent)) for path in found)


@functools.cache
def _imports(path):
    """Files that a file's imports from ``reid`` may name."""
    files = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "reid":
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names), "reid.__init__"]
            files += [SCRIPTS / (name.replace(".", "/") + ".py") for name in names]
    return files


def templates(page):
    """The files that a page is made of (list of str, relative to the project's folder)."""
    return sorted(str(path.relative_to(SCRIPTS.parent)) for path in SCRIPTS.glob(f"reid/templates/{page}.*"))


def forget_other_models(models):
    """Remove embeddings of models that ``params.yaml`` no longer has: DVC sees their folder as a whole.

    Only files that the pipeline made are removed; they are made again from the checkpoint, which stays.
    """
    for path in sorted(Path("results/embeddings").glob("*/*.npy")):
        if path.parent.name not in models and path.stem in SPLITS:
            logger.info(f"{path}: removed, params.yaml has no model {path.parent.name}")
            path.unlink()
            with contextlib.suppress(OSError):  # something else is in it
                path.parent.rmdir()


def claim():
    """Take this folder for the run until the process ends, however it ends.

    Snakemake's own lock outlives a killed run and asks for ``--unlock``; this one, the operating system's, does not.

    Raises:
        WorkflowError: another run is at work here.
    """
    lock = open(".snakemake/run.lock", "w")  # noqa: SIM115 - held until the process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorkflowError("another snakemake or dvc run is at work in this folder; wait for it to end") from None
    claim.lock = lock
