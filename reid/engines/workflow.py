"""What the Snakefile needs of Python: checked parameters, the code of a rule, one run at a time."""

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from snakemake.io import local, regex_from_filepattern
from snakemake.logging import logger

import reid
from reid.core.checksums import sums_path
from reid.core.errors import ReidError
from reid.core.splits import SPLITS
from reid.engines import dates, ending, holder, outside, records, rights
from reid.params import extensions
from reid.params.reading import read_content, read_params
from reid.params.schema import CHECKPOINTS, MODELS, Params
from reid.training import trackers

ROOT = Path(reid.__file__).resolve().parents[1]
# Snakemake fills in braces of this path, which may be in the name of the project's folder
ENVIRONMENT = re.sub("[{}]", r"\g<0>\g<0>", str(ROOT / "envs/environment.yaml"))
THREADS = 8  # of a job that splits its work between cores; Snakemake gives it no more than --cores
_REMOVES = re.compile("--(delete|no-hook)")  # options by which files are removed, or that leave out onstart


def one_error(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function end the process with one line for a ReidError, without Snakemake's account of our own code."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except ReidError as error:
            logger.error(f"error: {error}")
            sys.exit(1)

    return call


@one_error
def params(workflow: Any) -> Params:
    """Check ``params.yaml`` and all that it names, and refuse a second configuration.

    Raises:
        SystemExit: a parameter is wrong, what it names is missing, the command line brought its own, or this folder
            cannot be written to.
    """
    if workflow.config_settings.config or workflow.config_settings.configfiles:
        raise ReidError(
            "params.yaml is the only configuration, because the scripts and DVC read it too. Instead of --config or "
            "--configfile, edit params.yaml, copy a recipe over it, or use: dvc exp run -S SECTION.KEY=VALUE"
        )
    prepare(workflow)
    found = read_params()
    outside.check(found)
    trackers.chosen()
    return found


def read_as_we_do(config: dict[str, Any]) -> None:
    """Put ``params.yaml`` as YAML 1.2, which DVC and we take it for, where Snakemake's YAML 1.1 put it.

    To that a model with the name ``yes`` is one with the name True. Values that DVC holds for equal get one form here,
    because Snakemake compares the text of a rule's parameters: sections have their keys in order, and 1.0 is 1.
    """
    config.clear()
    config.update(_in_one_form(read_content()))


def _in_one_form(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_one_form(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_in_one_form(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def prepare(workflow: Any) -> None:
    """Let jobs use this Python and the code of this folder, and end with this process.

    An experiment in a folder of its own has code of its own.

    Raises:
        ReidError: this folder cannot be worked in.
    """
    os.environ["REID_ENGINE_PID"] = str(os.getpid())
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    try:
        re.compile(regex_from_filepattern(str(Path.cwd())))
    except re.error as error:
        raise ReidError(f"{Path.cwd()}: Snakemake cannot take the braces in this name; rename the folder") from error
    if os.pathsep in str(ROOT):
        raise ReidError(f"{ROOT}: Python cannot find code in a folder with {os.pathsep} in its name; rename it")
    rights.require(Path(".snakemake"), depth=1)
    records.write_in_jobs(workflow)
    if workflow.is_main_process and any(_REMOVES.match(word) for word in sys.argv):
        holder.claim()


def gpus(workflow: Any) -> int:
    """How many GPU jobs may run side by side (``--resources gpu=N``); their threads share the cores."""
    limits = workflow.global_resources
    return max(1, limits["gpu"].value) if "gpu" in limits else 1


def share(workflow: Any) -> int:
    """Cores of a job that has a GPU: an equal share of this machine's; a constant on a cluster, whose nodes differ."""
    cores = workflow.resource_settings.cores
    if cores is None or not workflow.local_exec or workflow.remote_exec:
        return THREADS
    return max(1, cores // gpus(workflow))


@one_error
def code(script: str, *packages: str, extended: bool = False) -> Any:
    """The files of this project that a rule runs: inputs of it, so that a change reruns what depends on it.

    They stay in this folder where data and results are kept elsewhere (``--default-storage-provider``).

    Args:
        script: name without ``.py``.
        packages: of ``reid`` that it imports, directly or not.
        extended: whether it builds what ``extensions/`` may add.

    Returns:
        paths relative to the project's folder, sorted

    Raises:
        SystemExit: the script or a package is missing; Snakemake alone would take the old outputs.
    """
    files = [ROOT / "scripts" / f"{script}.py", *(extensions.files() if extended else [])]
    for package in packages:
        files.append(ROOT / "reid" / package / "__init__.py")
        files += [
            path for path in (ROOT / "reid" / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        ]
    if missing := [path for path in files if not path.is_file()]:
        raise ReidError(f"{missing[0]}: is missing, and the rule {script} runs it; `git checkout` brings it back")
    return local(sorted({str(path.relative_to(ROOT)) for path in files}))


def used(params: Params, split: str) -> list[str]:
    """The splits that a ranking of ``split`` is made of: its own, and those that its models have seen."""
    trained_on = params.rankings_trained_on()
    return [name for name in SPLITS if name == split or name in trained_on]


def checkpoints(params: Params) -> dict[str, str]:
    """The checkpoints that a ranking is made of, path to model: of those that are fused, and those they start from."""
    fused = [name for name in params.fused() if name in params.models]
    found = {f"{MODELS}/{name}/{CHECKPOINTS[0]}": name for name in fused}
    for name in fused:
        found |= {path: ancestor for ancestor, path in params.ancestors(name).items()}
    return found


def names(values: Iterable[str]) -> str:
    """A constraint of a wildcard: one of these, and nothing if there are none."""
    return "|".join(map(re.escape, values)) or "$^"


@one_error
def content(function: Callable[..., outside.Content | None], params: Params, *places: str) -> outside.Content | None:
    """What lies outside, as a parameter of a rule: ``outside.weights`` and the like, of a model or a split.

    Ends the process with one clear error if it is missing: before the job's outputs are removed, and not by an
    exception, which Snakemake would dress up as one of the rule's code.
    """
    return function(params, *places)


def forget_other_models(models: Iterable[str]) -> None:
    """Remove embeddings of models that ``params.yaml`` no longer has: DVC sees their folder as a whole.

    Only files that the pipeline made are removed; they are made again from the checkpoint, which stays. What lies
    behind a link is somebody's own.
    """
    for path in sorted(Path("results/embeddings").glob("*/*.npy")):
        if path.parent.name not in models and path.stem in SPLITS and not path.parent.is_symlink():
            logger.info(f"{path}: removed, params.yaml has no model {path.parent.name}")
            path.unlink()
            sums_path(path).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else is in it
                path.parent.rmdir()


@one_error
def mend_dates(workflow: Any) -> None:
    """Once all rules are known: mend the times of files that are dated in the future.

    Raises:
        SystemExit: one cannot be given another time.
    """
    folders = _folders(workflow)
    made = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    inputs = {Path(file) for rule in workflow.rules for file in rule.input if not callable(file)}
    if late := dates.mend(made, {path for path in inputs - made if path.is_file()}):
        logger.info(f"{len(late)} files are dated in the future, as {min(late)}; they get the present time")


@one_error
def begin(workflow: Any, params: Params) -> None:
    """At the start of a run: take the folder, and end with all jobs when told to.

    Raises:
        SystemExit: another run is at work here, or a folder of outputs cannot be written to.
    """
    take(workflow)
    forget_other_models([*params.models, *params.external_models])


def take(workflow: Any) -> None:
    """Take the folder, and end with all jobs when told to.

    Raises:
        ReidError: another run is at work here, or a folder of outputs cannot be written to.
    """
    holder.claim()
    rights.require(*_folders(workflow))
    ending.prepare(workflow)


def _folders(workflow: Any) -> list[Path]:
    """Folders that hold all outputs and logs of the rules, without those that a wildcard names."""
    paths = [str(path) for rule in workflow.rules for path in [*rule.output, *rule.log]]
    return sorted({Path(path.partition("{")[0] + "x").parent for path in paths})
