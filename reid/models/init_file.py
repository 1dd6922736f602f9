"""What the file of :func:`reid.models.pretrained.write_init` is made of, and what it says of itself."""

from pathlib import Path
from typing import Any

import safetensors

from reid.core import shared
from reid.core.errors import ReidError
from reid.core.files import as_text, parse_json, sha256
from reid.core.forms import fit
from reid.params import extensions
from reid.params.model import Model


def content_facts(model: Model) -> dict[str, Any]:
    """All that decides the file of a model's pretrained weights, for :func:`reid.core.shared.key`."""
    path = model.network.file()
    network = model.network.model_dump(mode="json", exclude={"weights"} if path else None)
    return {
        "network": network,
        "input": model.input.model_dump(mode="json"),
        "file": path and {"name": Path(path).name, "sha256": sha256(path)},
        "extensions": extensions.digests(),
        "code": shared.code("models"),
        "versions": shared.versions("torchvision", "timm", "safetensors"),
    }


def read_about(path: Path | str) -> dict[str, Any]:
    """:func:`parse_about` of a file that :func:`reid.models.pretrained.read_init` takes."""
    with safetensors.safe_open(as_text(path), framework="numpy") as file:
        return parse_about(file.metadata()["init"], path)


def parse_about(text: str, path: Path | str) -> dict[str, Any]:
    """What the metadata ``init`` of a file say: its origin, ``missing`` and ``left_out``, lists of names of arrays.

    Raises:
        ReidError: something else.
    """
    try:
        about = parse_json(text.encode(), f"{path}: its metadata")
        if about == {"name": None}:  # of a training from scratch
            about = {**about, "missing": [], "left_out": []}
        fit(about, {"missing": [str], "left_out": [str]})
    except ValueError as error:
        raise ReidError(f"{path}: its metadata: {error}; make it anew with scripts/weights.py") from error
    return about
