"""Checkpoint files of trained models: arrays with the parameters of the model that built them, in safetensors."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from reid.core.errors import ReidError
from reid.core.files import parse_json, replacing
from reid.models.arrays import misfit, read_safetensors
from reid.models.backbones import place_norm
from reid.models.embedder import Embedder
from reid.params.base import Size
from reid.params.model import Model
from reid.params.network import Network
from reid.params.parsing import shown
from reid.params.registries import BACKBONES, POOLINGS
from reid.params.schema import section_class

_DROPPED, _SPARE = 4, 1 << 26  # a network is built with parts that it drops: times its numbers, and numbers


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
        ReidError: the file is missing, damaged, not what was written, no checkpoint of this pipeline, of an extension
            that is not there, or an array in it holds NaN.
    """
    arrays, metadata = read_safetensors(path, "scripts/train.py")
    if "model" not in metadata:
        raise ReidError(f"{path}: is not a checkpoint of this pipeline, for it has no parameters of a model")
    section, size = _network(metadata["model"], path)
    try:
        with _limited(sum(value.numel() for value in arrays.values())):
            network = Embedder(section, (size.height, size.width))
    except ReidError as error:
        raise ReidError(f"{path}: its network cannot be built: {error}") from error
    place_norm(network.backbone, arrays)
    own = network.state_dict()
    for name in [*own, *arrays]:
        if name not in own or name not in arrays:
            where = "is missing in it" if name in own else "is none of its network's"
            raise ReidError(f"{path}: its arrays are not those of its network: {shown(name)} {where}")
        if problem := _difference(arrays[name], own[name]):
            raise ReidError(f"{path}: {shown(name)} {problem}")
    set_arrays(network, arrays)
    return network.eval()


@contextlib.contextmanager
def _limited(numbers: int) -> Iterator[None]:
    """A context in which networks are built for so many numbers: a small file must not ask for gigabytes.

    Raises:
        ReidError: one has far more.
    """
    most, built = _DROPPED * numbers + _SPARE, 0

    def count(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        nonlocal built
        built += 0 if value is None else value.numel()  # before it is filled, which takes the memory
        if built > most:
            raise ReidError(f"it has more than {most:,} numbers, and the file holds {numbers:,}")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _difference(value: torch.Tensor, own: torch.Tensor) -> str | None:
    """What an array of a checkpoint cannot be, for it was written from a network like this one."""
    if value.dtype != own.dtype and value.shape == own.shape:
        return f"is {value.dtype} instead of {own.dtype}".replace("torch.", "")
    return misfit(value, own)


def _network(text: str, path: Path | str) -> tuple[Network, Size]:
    """Section ``network`` of a checkpoint, whose extensions must be there, and the size of its input."""
    content = parse_json(text.encode("utf-8", "replace"), f"{path}, the parameters in it")
    if not isinstance(content, dict) or not isinstance(content.get("network"), dict):
        raise ReidError(f"{path}: is not a checkpoint of this pipeline, for it names no network")
    section = content["network"]
    for key, registry in (("backbone", BACKBONES), ("pooling", POOLINGS)):
        name = section[key].get("kind") if isinstance(section.get(key), dict) else None
        if isinstance(name, str) and name not in registry:
            raise ReidError(f"{path}: needs the {registry.kind} {shown(name)}, which no file of extensions/ registers")
    try:
        network = section_class("Network").model_validate(section, strict=True)
        return network, Size.model_validate(content.get("input"), strict=True)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ReidError(
            f"{path}: its network is not one of this version ({shown('; '.join(problems), 300)}); train again"
        ) from error


def set_arrays(network: Embedder, arrays: dict[str, torch.Tensor]) -> None:
    """Put arrays into a network by name; those that it has and ``arrays`` lacks stay as they are.

    A transformer's last norm goes where they have it (:func:`reid.models.backbones.place_norm`).

    Raises:
        ReidError: the network has no such array, or one of another shape.
    """
    place_norm(network.backbone, arrays)
    state = network.state_dict()  # its metadata is what MNASNet asks for
    for name, value in arrays.items():
        if name not in state or state[name].shape != value.shape:
            own = f"it has {list(state[name].shape)} there" if name in state else "it has none of that name"
            raise ReidError(
                f"{shown(name)}, {list(value.shape)}: does not go into the network, for {own}; "
                "the weights are of another network"
            )
    state.update(arrays)
    network.load_state_dict(state)
