"""Checkpoint files of trained models: arrays with the parameters of the model that built them, in safetensors."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import nn

from reid.core.errors import ReidError
from reid.core.files import replacing
from reid.models.embedder import Embedder
from reid.params.model import Model
from reid.params.network import Network
from reid.params.registries import BACKBONES, POOLINGS
from reid.params.schema import section_class


def save(path: Path | str, network: Embedder, params: Model) -> None:
    """Write a checkpoint: the arrays, and the model's parameters (as chosen: what is off is left out) as metadata.

    Args:
        path: the ``.safetensors`` file to make.
    """
    arrays = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    # one metadata key only: safetensors does not promise an order for several
    chosen = params.model_dump(by_alias=True, exclude_none=True)
    metadata = {"model": json.dumps(chosen, sort_keys=True)}
    with replacing(path) as partial:
        partial.write_bytes(safetensors.torch.save(arrays, metadata))


def load(path: Path | str) -> Embedder:
    """Build the network of a checkpoint; no code of the file is run.

    Returns:
        Embedder in evaluation mode, on the CPU

    Raises:
        ReidError: the file is missing, damaged, no checkpoint of this pipeline, or of an extension that is not there.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            params = json.loads(file.metadata()["model"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        size = params["input"]["height"], params["input"]["width"]
        section = _network(params["network"], path)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ReidError(f"{path}: its network is not one of this version ({problems}); train again") from error
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ReidError(f"{path}: is not a checkpoint of this pipeline ({error!r})") from error
    network = Embedder(section, size)
    own, given = network.state_dict(), arrays
    if {key: value.shape for key, value in own.items()} != {key: value.shape for key, value in given.items()}:
        raise ReidError(f"{path}: its arrays are not those of its network")
    set_arrays(network, arrays)
    return network.eval()


def _network(content: dict[str, Any], path: Path | str) -> Network:
    """Section ``network`` of a checkpoint, whose extensions must be there."""
    network = section_class("Network")
    for key, registry in (("backbone", BACKBONES), ("pooling", POOLINGS)):
        name = content[key]["kind"] if isinstance(content[key], dict) else None
        if name is not None and name not in registry:
            raise ReidError(f"{path}: needs the {registry.kind} {name}, which no file of extensions/ registers")
    return network.model_validate(content)


def set_arrays(network: nn.Module, arrays: dict[str, torch.Tensor]) -> None:
    """Put arrays into a network by name; those that it has and ``arrays`` lacks stay as they are."""
    state = network.state_dict()  # its metadata is what MNASNet asks for
    state.update(arrays)
    network.load_state_dict(state)
