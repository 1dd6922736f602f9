"""What the Snakefile needs of Python: checked parameters, the code of a rule, one run at a time."""

import contextlib
import fcntl
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

import reid
from reid.core.errors import ReidError
from reid.core.splits import SPLITS
from reid.params import extensions
from reid.params.reading import read_params
from reid.params.schema import Params

ROOT = Path(reid.__file__).resolve().parents[1]


def params(workflow: Any) -> Params:
    """Check ``params.yaml`` and refuse a second configuration.

    Also tells the jobs which process runs them, so that they end with it, and lets them use its Python and the code of
    this folder: an experiment in a folder of its own has code of its own.

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
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    try:
        return read_params()
    except ReidError as error:
        raise WorkflowError(str(error)) from None


def gpus(workflow: Any) -> int:
    """How many GPU jobs may run side by side (``--resources gpu=N``); their threads share the cores."""
    limits = workflow.global_resources
    return max(1, limits["gpu"].value) if "gpu" in limits else 1


def code(script: str, *packages: str, extended: bool = False) -> list[str]:
    """The files of this project that a rule runs: inputs of it, so that a change reruns what depends on it.

    Args:
        script: name without ``.py``.
        packages: of ``reid`` that it imports, directly or not.
        extended: whether it builds what ``extensions/`` may add.

    Returns:
        paths relative to the project's folder, sorted
    """
    files = [ROOT / "scripts" / f"{script}.py", *(extensions.files() if extended else [])]
    for package in packages:
        files += [
            path for path in (ROOT / "reid" / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        ]
    return sorted(str(path.relative_to(ROOT)) for path in files)


def names(models: Iterable[str]) -> str:
    """A constraint of the wildcard ``model``: one of these, and nothing if there are none."""
    return "|".join(map(re.escape, models)) or "$^"


def external_file(params: Params, model: str, split: str) -> str:
    """Where the embeddings of a model that is made elsewhere are: the file that there is."""
    folder = Path(params.external_models[model].folder)
    table = folder / f"{split}.parquet"
    return str(table if table.exists() else folder / f"{split}.npy")


def forget_other_models(models: Iterable[str]) -> None:
    """Remove embeddings of models that ``params.yaml`` no longer has: DVC sees their folder as a whole.

    Only files that the pipeline made are removed; they are made again from the checkpoint, which stays.
    """
    for path in sorted(Path("results/embeddings").glob("*/*.npy")):
        if path.parent.name not in models and path.stem in SPLITS:
            logger.info(f"{path}: removed, params.yaml has no model {path.parent.name}")
            path.unlink()
            with contextlib.suppress(OSError):  # something else is in it
                path.parent.rmdir()


def claim() -> None:
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
    _held.append(lock)


_held: list[Any] = []
