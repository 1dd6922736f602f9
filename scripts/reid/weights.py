"""Weights to start from: by torchvision's or timm's name, or from a file; which of them fit, and which do not.

The result is a safetensors file of the arrays that fit a model, under the names that they have in its
:class:`reid.networks.Embedder`: a tracked input of its training. From scratch it holds no array.
"""

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.numpy

from reid import catalogue
from reid.errors import ReidError
from reid.files import replacing, sha256

ENOUGH = 0.9  # share of the backbone's parameters that must be found
# what classifies in the networks of torchvision, timm and Torchreid: left over, and rightly so
_CLASSIFIERS = ("fc", "classifier", "heads", "head", "head_dist", "aux1", "aux2", "AuxLogits", "last_linear")


class Match(NamedTuple):
    """Which arrays of a file a model takes.

    ``arrays`` are by the model's names; ``missing`` are the model's names that start at random, ``left_out`` the
    file's names that the model does not take, with the reason; ``share`` is how much of the backbone was found.
    """

    arrays: dict
    missing: list
    left_out: list
    share: float


def start(model):
    """The arrays that a model's training starts from.

    Args:
        model: reid.params.Model, whose ``network.weights`` is not null.

    Returns:
        Match, dict: the second says where they come from

    Raises:
        ReidError: they cannot be had or read, or are of another network.
    """
    import torch

    from reid.networks import Embedder

    size = model.input.height, model.input.width
    torch.manual_seed(0)
    embedder = Embedder(model.network, size)
    weights = model.network.weights
    if path := model.network.file():
        state, about = _read_weights(Path(path)), {"file": Path(path).name, "sha256": sha256(path)}
        state = _fit_places(embedder.backbone, state)
    else:
        state, about = _by_name(model.network, size), {"name": weights}
    found = match(state, embedder)
    left = sum(state[name].numel() for name, why in found.left_out if why != "classifier")
    wrong = found.share < ENOUGH or left > (1 - ENOUGH) * sum(value.numel() for value in state.values())
    if wrong:
        first = f"{found.missing[0]} is not in it" if found.missing else "{} ({})".format(*found.left_out[0])
        raise ReidError(
            f"network.weights: {weights} is not of {model.network.backbone}: {100 * found.share:.0f} % of the "
            f"backbone found, {len(found.missing)} arrays missing, {len(found.left_out)} left out; first {first}"
        )
    return found, about


def match(state, embedder):
    """Find the place of each array of a file in a network.

    Args:
        state: dict, name to torch.Tensor; names of torchvision, timm, Torchreid, or of a checkpoint of ours.
        embedder: reid.networks.Embedder

    Returns:
        Match
    """
    own = embedder.state_dict()
    arrays, left_out = {}, []
    for name, value in state.items():
        # the layer behind the pooling of the dev kit's ResNets (resnet50_fc512) is our projection
        places = (name, f"backbone.{name}", re.sub(r"^fc\.(\d+\.)", r"projection.\1", name))
        place = next((place for place in places if place in own), None)
        if place is not None and own[place].shape == value.shape:
            arrays[place] = value.to(own[place].dtype)
        elif place is None:
            part = name.split(".")[0]
            left_out.append((name, "classifier" if part in _CLASSIFIERS else "not part of the network"))
        else:
            left_out.append((name, f"shape {list(value.shape)} instead of {list(own[place].shape)}"))
    backbone = {name: p.numel() for name, p in embedder.named_parameters() if name.startswith("backbone.")}
    found = sum(count for name, count in backbone.items() if name in arrays)
    free = ("num_batches_tracked", "mean", "std")  # counters, and what a file of another project does not hold
    missing = [name for name in own if name not in arrays and not name.endswith(free[0]) and name not in free[1:]]
    return Match(arrays, missing, left_out, found / max(1, sum(backbone.values())))


def write_start(path, found, about):
    """Write the arrays that a training starts from; ``found`` is None for a training from scratch."""
    if found is None:
        content = safetensors.numpy.save({}, {"start": json.dumps(about)})
    else:
        from safetensors.torch import save

        arrays = {name: found.arrays[name].contiguous() for name in sorted(found.arrays)}
        about = {**about, "missing": found.missing, "left_out": [name for name, _ in found.left_out]}
        content = save(arrays, {"start": json.dumps(about)})
    with replacing(path) as partial:
        partial.write_bytes(content)


def read_start(path):
    """Arrays of a file of :func:`write_start`, by the names of the model (torch.Tensor).

    Raises:
        ReidError: the file is missing, or another kind of file.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            if "start" not in (file.metadata() or {}):
                raise ValueError("it has no record of where it comes from")
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise ReidError(f"{path}: holds no weights to start from ({error}); see scripts/weights.py") from error


def _by_name(params, size):
    """Arrays of torchvision's or timm's weights."""
    source, name = catalogue.resolve(params.backbone)
    if source == "osnet":
        raise ReidError(
            f"network.weights: {params.backbone} has no weights by name; give the path of one of Torchreid's files"
        )
    return (_of_torchvision if source == "torchvision" else _of_timm)(name, params, size)


def _of_torchvision(name, params, _):
    from urllib.error import URLError

    import torch
    import torchvision

    try:
        weights = torchvision.models.get_model_weights(name)[params.weights]
    except KeyError as error:
        known = [w.name for w in torchvision.models.get_model_weights(name)]
        raise ReidError(
            f"network.weights: {name} has no weights {params.weights}; it has {', '.join(known)}"
        ) from error
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise ReidError(
            f"network.weights: {params.weights} of {name} cannot be fetched ({error}). Put the file "
            f"{weights.url.rsplit('/', 1)[1]} into {folder}, or give its path as network.weights, or train from "
            "scratch with network.weights: null"
        ) from error
    # torchvision's files of DenseNet have a dot that its module names no longer have
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", key): state[key] for key in state}


def _of_timm(name, params, size):
    from reid.networks import timm_network, timm_tags

    tags = timm_tags(name)
    if not tags or params.weights not in ("DEFAULT", *tags):
        raise ReidError(
            f"network.weights: timm's {name} has no weights {params.weights}; it has {', '.join(tags) or 'none'}"
        )
    whole = name if params.weights == "DEFAULT" else f"{name}.{params.weights}"
    try:
        return timm_network(whole, params, size, pretrained=True).state_dict()
    except ReidError:
        raise
    except Exception as error:  # the hub's client raises a dozen kinds
        raise ReidError(
            f"network.weights: timm's {whole} cannot be fetched ({error}). Give the path of its model.safetensors as "
            "network.weights, or train from scratch with network.weights: null"
        ) from error


def _fit_places(backbone, state):
    """A file of timm's, for pictures of another size: its places are resampled, as timm does."""
    convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if convert is None or not type(backbone).__module__.startswith("timm."):
        return state
    return convert(state, backbone)


def _read_weights(path):
    """Arrays of a file by name, without running code of it; Torchreid's checkpoints and DataParallel's prefix too."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            with torch.serialization.safe_globals(_numbers()):
                state = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("state_dict", "model", "model_state_dict"):
            if isinstance(state, dict) and isinstance(state.get(key), dict):
                state = state[key]
        if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
            raise ValueError("it does not hold arrays by name")
    except FileNotFoundError as error:
        raise ReidError(f"network.weights: {path}: there is no such file") from error
    except Exception as error:  # the readers raise a dozen kinds
        raise ReidError(f"network.weights: {path} cannot be read as weights ({error})") from error
    return {name.removeprefix("module."): value for name, value in state.items()}


def _numbers():
    """What NumPy needs to make a number again: Torchreid keeps its score beside the weights."""
    import numpy as np

    makers = [np.dtype, np.float32(0).__reduce__()[0], (np.float32(0).__reduce__()[0], "numpy.core.multiarray.scalar")]
    return [*makers, *(type(np.dtype(kind)) for kind in ("float32", "float64", "int64"))]
