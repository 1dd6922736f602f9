"""What the file of :func:`reid.models.pretrained.write_init` is made of, and what it says of itself."""

import json
from pathlib import Path
from typing import Any

import safetensors

from reid.core import shared
from reid.core.files import sha256
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
        "extensions": [sha256(file) for file in extensions.files()],
        "code": shared.code("models"),
        "versions": shared.versions("torchvision", "timm", "safetensors"),
    }


def read_about(path: Path | str) -> dict[str, Any]:
    """What a file of :func:`reid.models.pretrained.write_init` says of itself: origin, ``missing``, ``left_out``."""
    with safetensors.safe_open(path, framework="numpy") as file:
        about: dict[str, Any] = json.loads(file.metadata()["init"])
    return about
