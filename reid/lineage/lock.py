"""What ``dvc.lock`` records of a run: its stages, with their files by content and their parameters.

DVC leaves entries of stages there that ``dvc.yaml`` no longer has; :func:`declared` says which it has.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from reid.core import dvc_lock
from reid.core.errors import ReidError
from reid.params.reading import read_content

_CODE = ("reid", "scripts", "workflow", "extensions")  # the commit names it


class Item(NamedTuple):
    """A file or folder by content: MD5 as DVC computes it, of a folder that of its list (``HEX.dir``); bytes."""

    path: str
    md5: str
    size: int

    @property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return self.md5.endswith(".dir")


class Stage(NamedTuple):
    """A stage that ran, as ``embed@resnet18``; ``rule`` is its name without the model. Code is left out of inputs."""

    name: str
    rule: str
    inputs: list[Item]
    outputs: list[Item]
    parameters: dict[str, Any]


def read_lock(path: Path | str = "dvc.lock") -> list[Stage]:
    """Read the ledger of a run, in the order of its stages.

    Raises:
        ReidError: there is none, or it is damaged.
    """
    if not Path(path).is_file():
        raise ReidError(f"{path}: there is no such file; `make record` writes it after a run")
    try:
        stages = dvc_lock.stages(Path(path).read_bytes())
        return [_stage(name, entry) for name, entry in stages.items()]
    except (KeyError, TypeError, ValueError) as error:
        raise ReidError(f"{path}: is not a ledger of DVC ({error!r}); `make record` writes it anew") from error


def declared(folder: Path | str = ".") -> dict[str, list[str]]:
    """What each stage makes that ``dvc.yaml`` has with the models of ``params.yaml`` and the studies that it names.

    Args:
        folder: of both files.

    Returns:
        dict: name of the stage, as ``embed@resnet18``, to the paths of its outputs

    Raises:
        ReidError: one of the files is missing or damaged.
    """
    path = Path(folder, "dvc.yaml")
    content, params = read_content(path), read_content(Path(folder, "params.yaml"))
    found = {}
    try:
        named = {key: value for part in content["vars"] for key, value in part.items()} | params
        for name, stage in content["stages"].items():
            paths = outs(stage)
            if "foreach" not in stage:
                found[name] = paths
                continue
            for key in named[stage["foreach"].removeprefix("${").removesuffix("}")] or ():
                found[f"{name}@{key}"] = [path.replace("${key}", key).replace("${item}", key) for path in paths]
    except (KeyError, TypeError, AttributeError) as error:
        raise ReidError(
            f"{path}: is not of this project's form ({error!r}): stages, each of them one, or one for each of what "
            "params.yaml or vars names"
        ) from error
    return found


def outs(stage: dict[str, Any]) -> list[str]:
    """Paths of what a stage of ``dvc.yaml`` makes, as they stand there: with ``${key}`` for the name of a model."""
    stage = stage.get("do", stage)
    items = [item for kind in ("outs", "metrics", "plots") for item in stage.get(kind, ())]
    return [next(iter(item)) if isinstance(item, dict) else item for item in items]


def _stage(name: str, entry: dict[str, Any]) -> Stage:
    inputs, outputs = ([_item(item) for item in entry[key]] for key in ("deps", "outs"))
    inputs = [item for item in inputs if item.path.split("/")[0] not in _CODE]
    parameters = {key: value for of_file in entry["params"].values() for key, value in of_file.items()}
    return Stage(name, name.split("@")[0], inputs, outputs, json.loads(json.dumps(parameters)))


def _item(entry: dict[str, Any]) -> Item:
    return Item(entry["path"], str(entry["md5"]), int(entry["size"]))
