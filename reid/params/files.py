"""Files and folders that a parameter file names: inputs of a run from outside of it."""

import os
from pathlib import Path

from reid.core import file_type
from reid.core.errors import ReidError
from reid.core.files import regular
from reid.core.splits import RANKED, SPLITS, split_folders
from reid.params.schema import CHECKPOINTS, MODELS, Params

MODEL_ZOO = "Torchreid's model zoo (https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO)"


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

    One that lies where jobs make their own files is refused, because a job's outputs are removed before it runs.
    Checkpoints that this run makes need not be there yet, but no model can start from what is made of it.
    """
    problems = []
    outputs = _outputs(params)
    for place, path in named_files(params):
        model = place.split(".")[1] if place.endswith(".weights") else None
        made = list(params.ancestors(model)) if model else []
        if model in made:
            through = "".join(f" through {name}" for name in made if name != model)
            problems.append(f"{place}: {path}: is made of {model} itself{through}; name another file")
        elif not made and (output := _within(outputs[place.split(".")[0]], path)):
            problems.append(
                f"{place}: {path}: leads to {output}, where the pipeline makes its own and first removes what is "
                "there; keep yours elsewhere, and name that"
            )
        elif not made and (problem := _problem(path, bool(model))):
            problems.append(f"{place}: {problem}{_remedy(params, model) if model else ''}")
    return problems


def _outputs(params: Params) -> dict[str, dict[str, str]]:
    """Where jobs make files of the names that those of a section may have: section to path to where it leads."""
    weights = [f"data/weights/{name}.safetensors" for name in params.models]
    checkpoints = [f"{MODELS}/{name}/{file}" for name in params.models for file in CHECKPOINTS]
    of_splits = ("results/embeddings", "results/distances", "results/queries", "data/thumbnails", "data/index")
    zips = [f"data/raw/{split}.zip" for split in SPLITS]
    outputs = {"download": zips, "models": [*weights, *checkpoints], "external_models": of_splits}
    return {section: {path: os.path.realpath(path) for path in paths} for section, paths in outputs.items()}


def _within(outputs: dict[str, str], path: Path) -> str | None:
    """Which of some outputs a path leads to, or what is taken from its folder; None for none."""
    places = split_folders(path)
    taken = [*places, *(place / f"{split}.zip" for place in places for split in SPLITS)]
    taken += [path / f"{split}.{ending}" for split in RANKED for ending in ("npy", "parquet")]
    for real in map(os.path.realpath, taken):
        for output, place in outputs.items():
            if f"{real}/".startswith(f"{place}/"):
                return output
    return None


def _remedy(params: Params, model: str) -> str:
    """Where weights come from that are no file here."""
    backbone = params.models[model].network.backbone_name
    zoo = f"; {MODEL_ZOO} has {backbone}: put the file there" if backbone.startswith("osnet") else "; put it there"
    return f"{zoo}, or leave network.weights out to train from scratch"


def _problem(path: Path, is_file: bool) -> str | None:
    if is_file:
        try:
            regular(path)
        except ReidError as error:
            return str(error)
    elif not path.is_dir():
        return f"{path}: {file_type.no_folder(path)}"
    if not os.access(path, os.R_OK):
        return f"{path}: must not be read by this user; change its rights"
    return None
