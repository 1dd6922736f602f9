"""What every stage of DVC runs: the Snakemake rule of its name, for its outputs, without a shell.

The commands in dvc.yaml and workflow/inputs/dvc.yaml are one constant, so that no name or path of a parameter file is
ever read by a shell; DVC tells which stage it is by the environment variable DVC_STAGE. Snakemake takes the place of
this process.

Two stages are no rules. ``study`` runs scripts/study.py. ``inputs`` (workflow/inputs/dvc.yaml) is run by each `dvc
repro` before any other, and records what params.yaml and the studies that are stages name outside of the pipeline
(:mod:`reid.engines.outside`); so whatever is wrong is said before DVC removes an output. A study that cannot be stops
its own stage alone, whose outputs DVC leaves in place.
"""

import os
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from reid.core import cli
from reid.core.errors import ReidError
from reid.engines import holder, outside, profiles
from reid.lineage import lock
from reid.params.reading import check_params, read_content
from reid.params.schema import Params

INPUTS = "inputs"
STUDY = "study"


def main() -> None:
    name = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    rule, _, model = name.partition("@")
    content = read_content()
    params = check_params(content)
    check(params)
    refuse_links()
    dvc = holder.running_dvc()
    environment = holder.on_behalf_of(dvc) if dvc else dict(os.environ)
    if rule == INPUTS:
        os.environ.update(environment)
        holder.claim()
        outside.record(params, content)
        outside.record_studies(studies())
    else:
        program = ["scripts/study.py", model] if rule == STUDY else ["-m", *command(rule, model)]
        words = [sys.executable, *program]
        os.execve(words[0], words, environment)


def command(rule: str, model: str = "") -> list[str]:
    """The words of the Snakemake call of a stage, with the profile that REID_PROFILE names.

    Raises:
        ReidError: dvc.yaml has no such stage, it makes no file, or there is no such profile.
    """
    targets = [path for path in outs(rule, model) if Path(path).suffix]  # folders are no targets of Snakemake
    if not targets:
        raise ReidError(f"dvc.yaml: the stage {rule} makes no file")  # Snakemake would take it for everything
    profile = profiles.chosen()
    where = ["--workflow-profile", str(profile)] if profile else ["--cores", "8"]
    return ["snakemake", *where, "--allowed-rules", rule, "--", *targets]


def outs(rule: str, model: str = "") -> list[str]:
    """What a stage makes, as dvc.yaml declares it: paths from the project's folder.

    Raises:
        ReidError: dvc.yaml has no such stage.
    """
    stages = _pipeline()["stages"]
    if rule not in stages:
        raise ReidError(f"dvc.yaml has no stage {rule!r}; this program is run by DVC, which names one in DVC_STAGE")
    return [path.replace("${key}", model) for path in lock.outs(stages[rule])]


def _pipeline() -> dict[str, Any]:
    """What dvc.yaml holds, by the parser in C: `dvc repro` waits for it."""
    content: dict[str, Any] = YAML(typ="safe", pure=False).load(Path("dvc.yaml").read_text(encoding="utf-8"))
    return content


def studies() -> list[str]:
    """Names of the studies that are stages."""
    return [name for part in _pipeline()["vars"] for name in part.get("studies") or ()]


def check(params: Params) -> None:
    """Check that all that is named is there, and what DVC cannot do.

    Raises:
        ReidError: something is missing, a model starts from another one that is trained here, or the project's folder
            has a name that DVC cannot take.
    """
    outside.check(params)
    if set("{}") & set(os.getcwd()):
        raise ReidError(f"{os.getcwd()}: DVC cannot work in a folder with {{ or }} in its name; snakemake alone can")
    for model in params.models:
        if made := params.made_here(model):
            raise ReidError(
                f"models.{model}.network.weights: {made} is made by another stage, and DVC cannot order stages by a "
                "parameter; run snakemake, or copy the checkpoint to a folder of your own and name that"
            )


def refuse_links() -> None:
    """DVC fails at outputs behind a link, but only after it has made them.

    Raises:
        ReidError: a folder of an output is a link.
    """
    folders = {
        parent
        for stage in _pipeline()["stages"].values()
        for path in lock.outs(stage)
        for parent in Path(path).parents
    }
    folders.add(outside.RECORDS)  # of the stage in workflow/inputs/
    for folder in sorted(folders):
        if folder.is_symlink():
            raise ReidError(
                f"{folder} is a link to {os.path.realpath(folder)}, and DVC cannot keep outputs behind a link. Remove "
                f"it, and clone the project onto that disk, or mount a folder of it here (sudo mount --bind "
                f"{os.path.realpath(folder)} {folder}). snakemake alone, without dvc, takes a link"
            )


if __name__ == "__main__":
    cli.run(lambda args: main(), cli.parser(__doc__))
