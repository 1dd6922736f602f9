"""What makes a training this one and no other: a kept state is resumed by the same training alone."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from reid.core.files import sha256
from reid.models import device
from reid.params import extensions
from reid.params.base import Section


def fingerprint(model: Section, thumbnails: Section, init: str, data: list[Any], script: Path) -> str:
    """All that decides how a training goes on, as text.

    But for the processor, so that a job that comes to another node goes on there, to other last digits.

    Args:
        model, thumbnails: parameters.
        init: SHA-256 of the weights that it starts from.
        data: of each split, what its index says of itself and the shape of its store.
        script: the program that trains.
    """
    inputs = [model.model_dump(), thumbnails.model_dump(), init, data]
    where = device.device().type
    kind = torch.cuda.get_device_name() if where == "cuda" else where
    return json.dumps([*inputs, code_digest(script), torch.__version__, kind])


def code_digest(script: Path) -> str:
    """SHA-256 of the project's code that is loaded and of all of ``extensions/``: a training resumes with its own."""
    loaded = [str(script)]
    loaded += [
        str(module.__file__) for name, module in sys.modules.items() if name.startswith("reid.") and module.__file__
    ]
    parts = [*map(sha256, sorted(loaded)), extensions.digests()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
