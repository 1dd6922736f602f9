"""Files and folders that a parameter file names: inputs of a run from outside of it."""

import os
from pathlib import Path

from reid.core import file_type
from reid.core.errors import ReidError
from reid.core.files import regular
from reid.params.schema import Params

MODEL_ZOO = "Torchreid's model zoo (https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO)"
CHECKPOINTS = ("model.safetensors", "last.safetensors")  # that a run makes of each model, in results/models/NAME


def named_files(params: Params) -> list[tuple[str, Path]]:
    """The files and folders that a parameter file names, ``~`` expanded: (place, path) each, in the file's order."""
    named = []
    if params.download.source == "local" and (folder := params.download.folder()):
        named.append(("download.path", folder))
    for name, model in params.models.items():
        if file := model.network.file():
            named.append((f"models.{name}.network.weights", Path(file)))
    for name, external in params.external_models.items():
        named.append((f"external_models.{name}.folder", external.place()))
    return named


def missing_files(params: Params) -> list[str]:
    """What is wrong with :func:`named_files`: a line for each that is missing, of another kind, or not readable.

    Checkpoints that this run makes of other models need not be there yet.
    """
    problems = []
    for place, path in named_files(params):
        is_file = place.endswith(".weights")
        others = [name for name in params.models if place != f"models.{name}.network.weights"]
        made = is_file and path in [Path("results/models", name, file) for name in others for file in CHECKPOINTS]
        if not made and (problem := _problem(path, is_file)):
            problems.append(f"{place}: {problem}{_remedy(params, place) if is_file else ''}")
    return problems


def _remedy(params: Params, place: str) -> str:
    """Where weights come from that are no file here."""
    backbone = params.models[place.split(".")[1]].network.backbone_name
    zoo = f"; {MODEL_ZOO} has {backbone}: put the file there" if backbone.startswith("osnet") else "; put it there"
    return f"{zoo}, or leave network.weights out to train from scratch"


def _problem(path: Path, is_file: bool) -> str | None:
    if is_file:
        try:
            regular(path)
        except ReidError as error:
            return str(error)
    elif not path.is_dir():
        what = file_type.describe(path)
        return f"{path}: " + ("there is no such folder" if what == "missing" else f"is {what}, not a folder")
    if not os.access(path, os.R_OK):
        return f"{path}: must not be read by this user; change its rights"
    return None
