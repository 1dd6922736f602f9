"""Pretrained weights: by torchvision's or timm's name, or from a file; which of them fit, and which do not.

The result is a safetensors file of the arrays that fit a model, under the names that they have in its
:class:`reid.models.embedder.Embedder`: a tracked input of its training. From scratch it holds no array, and PyTorch,
which takes seconds to import, is not needed to make it.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Container, Iterable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import safetensors.numpy

from reid.core.errors import ReidError
from reid.core.files import replacing, sha256
from reid.models.init_file import parse_about
from reid.params import backbones as catalogue
from reid.params.model import Model
from reid.params.network import Network
from reid.params.parsing import shown

if TYPE_CHECKING:
    import torch
    from torch import nn

    from reid.models.embedder import Embedder

ENOUGH = 0.9  # share of the backbone's parameters that must be found
# what classifies in the networks of torchvision, timm and Torchreid: left over, and rightly so
_CLASSIFIERS = ("fc", "classifier", "heads", "head", "head_dist", "aux1", "aux2", "AuxLogits", "last_linear")
_PROJECTION = "layer after the pooling"  # as the dev kit's, which a network without its like leaves out


class Match(NamedTuple):
    """Which arrays of a file a model takes.

    ``arrays`` are by the model's names; ``missing`` are the model's names that start at random, with what the file has
    in their place if anything; ``left_out`` the file's names that the model does not take, with the reason; ``share``
    is how much of the backbone was found.
    """

    arrays: dict[str, torch.Tensor]
    missing: list[str]
    left_out: list[tuple[str, str]]
    share: float


def find_init(model: Model) -> tuple[Match, dict[str, str]]:
    """The arrays that a model's training starts from.

    Args:
        model: its ``network.weights`` is not None.

    Returns:
        Match, dict: the second says where they come from

    Raises:
        ReidError: they cannot be had or read, or are of another network.
    """
    import torch

    from reid.models.backbones import place_norm
    from reid.models.embedder import Embedder

    size = model.input.height, model.input.width
    torch.manual_seed(0)
    embedder = Embedder(model.network, size)
    weights, backbone = model.network.weights, model.network.backbone_name
    assert weights is not None
    if path := model.network.file():
        state, wrapper = _of_file(path, embedder)
        about = {"file": Path(path).name, "sha256": sha256(path), **wrapper}
    else:
        state, about = _by_name(model.network, size), {"name": weights}
    given = [name for name in ("mean", "std") if getattr(model.network, name)]
    state = {name: value for name, value in state.items() if name not in given}
    place_norm(embedder.backbone, state)
    try:
        result = match(state, embedder)
    except ReidError as error:
        raise ReidError(f"network.weights: {weights}: {error}") from error
    left = sum(state[name].numel() for name, why in result.left_out if why not in ("classifier", _PROJECTION))
    if result.share < ENOUGH or left > (1 - ENOUGH) * sum(value.numel() for value in state.values()):
        raise ReidError(
            f"network.weights: {weights} is not of {backbone}: {100 * result.share:.0f} % of the "
            f"backbone found, {len(result.missing)} arrays missing, {len(result.left_out)} left out; first "
            f"{_differences(result, embedder, state)}"
        )
    return result, about


def _differences(result: Match, embedder: Embedder, state: dict[str, torch.Tensor]) -> str:
    """An array of another shape, or else the first that are in the network and in the file alone."""
    of_other_shape = next(((name, why) for name, why in result.left_out if why.startswith("has the shape")), None)
    if of_other_shape:
        return "{} {}".format(*of_other_shape)
    left = _listed([name for name, why in result.left_out if why != "classifier"], state)
    if not result.missing:
        return f"{left} (not part of the network)"
    where = f"; it has {left} instead" if left else ""
    return f"{_listed(result.missing, embedder.state_dict())} {'are' if result.missing[1:] else 'is'} not in it{where}"


def _listed(names: list[str], arrays: dict[str, torch.Tensor]) -> str:
    """The first three names with the shapes of their arrays."""
    return ", ".join([f"{shown(name)} {list(arrays[name].shape)}" for name in names[:3]] + ["..."] * (len(names) > 3))


def find_prefix(names: Iterable[str], own: dict[str, int]) -> tuple[str, list[str]]:
    """Behind which prefix of its names a file has most of a network.

    Of prefixes with as much of it the first is taken that is of averaged weights, or of those that a training by
    itself hands on (a teacher; MoCo's encoder_q), and then the longest.

    Args:
        names: of the file's arrays.
        own: name of each array of the network to its number of elements.

    Returns:
        (str, list of str): the prefix, "" where nothing is found; the others that have as much of the network
    """
    found: dict[str, int] = {}
    for name in names:
        for start in [0, *(place.end() for place in re.finditer(r"\.", name))]:
            if name[start:] in own:
                found[name[:start]] = found.get(name[:start], 0) + own[name[start:]]
    if not found:
        return "", []
    best = max(found, key=lambda prefix: (found[prefix], bool(_HANDED_ON.search(prefix)), len(prefix)))
    equal = [prefix for prefix, size in found.items() if size == found[best]]
    longest = [prefix for prefix in equal if not any(other != prefix and other.startswith(prefix) for other in equal)]
    return best, [prefix for prefix in longest if prefix != best]


_HANDED_ON = re.compile(r"(?:^|[._])(ema|teacher|encoder_q)(?:[._]|$)")


def match(state: dict[str, torch.Tensor], embedder: Embedder) -> Match:
    """Find the place of each array of a file in a network.

    Args:
        state: by names of torchvision, timm, Torchreid, or of a checkpoint of ours.

    Raises:
        ReidError: an array holds NaN, or numbers of another kind than the network's.
    """
    from reid.models.arrays import misfit

    own = embedder.state_dict()
    arrays, left_out = {}, []
    for name, value in state.items():
        # the layer behind the pooling of the dev kit's ResNets (resnet50_fc512) is our projection
        places = (name, f"backbone.{name}", re.sub(r"^fc\.(\d+\.)", r"projection.\1", name))
        place = next((place for place in places if place in own), None)
        if place is None:
            part = name.split(".")[0]
            why = "classifier" if part in _CLASSIFIERS else "not part of the network"
            left_out.append((name, _PROJECTION if re.match(r"fc\.\d+\.", name) else why))
            continue
        problem = misfit(value, own[place])
        if problem and own[place].shape == value.shape:
            raise ReidError(f"{shown(name)} {problem}")
        if problem:
            left_out.append((name, problem))
        else:
            arrays[place] = value.to(own[place].dtype)
    backbone = {name: p.numel() for name, p in embedder.named_parameters() if name.startswith("backbone.")}
    covered = sum(count for name, count in backbone.items() if name in arrays)
    return Match(arrays, _missing(embedder, arrays), left_out, covered / max(1, sum(backbone.values())))


def _missing(embedder: Embedder, arrays: Container[str]) -> list[str]:
    """Names of a network that are not among those of arrays."""
    free = ("num_batches_tracked", "mean", "std")  # counters, and what a file of another project does not hold
    own = embedder.state_dict()
    return [name for name in own if name not in arrays and not name.endswith(free[0]) and name not in free[1:]]


def require_whole(embedder: Embedder, arrays: dict[str, torch.Tensor], left_out: list[str]) -> None:
    """Check that nothing of a network that is not trained is random.

    A BNNeck and GeM's power begin with what changes nothing, or was chosen.

    Args:
        arrays: of :func:`read_init`.
        left_out: names of what else their file has.

    Raises:
        ReidError: something is.
    """
    from reid.models.poolings import GeM

    chosen = {f"{name}.power" for name, module in embedder.named_modules() if isinstance(module, GeM)}
    random = [name for name in _missing(embedder, arrays) if not name.startswith("bnneck.") and name not in chosen]
    if random:
        names = f"{_listed(random, embedder.state_dict())} {'are' if random[1:] else 'is'}"
        instead = ", ".join([*map(shown, left_out[:3]), *["..."] * (len(left_out) > 3)])
        raise ReidError(
            f"epochs: 0: {names} not in network.weights ({embedder.params.weights}) and would stay random"
            f"{instead and f'; it has {instead} instead'}. Make the network that of the weights "
            "(projection.kind, ...), leave out what it has and they have not, or train it"
        )


def write_init(path: Path | str, result: Match | None, about: dict[str, Any]) -> None:
    """Write the arrays that a training starts from.

    Args:
        path: the ``.safetensors`` file to make.
        result: what :func:`find_init` gives; None for a training from scratch.
        about: where they come from.
    """
    if result is None:
        content = safetensors.numpy.save({}, {"init": json.dumps(about)})
    else:
        from safetensors.torch import save

        arrays = {name: result.arrays[name].contiguous() for name in sorted(result.arrays)}
        about = {**about, "missing": result.missing, "left_out": [name for name, _ in result.left_out]}
        content = save(arrays, {"init": json.dumps(about)})
    with replacing(path) as partial:
        partial.write_bytes(content)


def read_init(path: Path | str) -> dict[str, torch.Tensor]:
    """Arrays of a file of :func:`write_init`, by the names of the model.

    Raises:
        ReidError: the file is missing, not what was written, or another kind of file, or an array holds NaN.
    """
    from reid.models.arrays import not_finite, read_safetensors

    arrays, metadata = read_safetensors(path, "scripts/weights.py")
    if "init" not in metadata:
        raise ReidError(f"{path}: holds no weights to start from, but other arrays; make it with scripts/weights.py")
    parse_about(metadata["init"], path)
    for name, value in arrays.items():
        if problem := not_finite(value):
            raise ReidError(f"{path}: {shown(name)} {problem}; make it anew with scripts/weights.py")
    return arrays


def _of_file(path: str, embedder: Embedder) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Arrays of a file that are of a network, by the names that the network may have for them.

    Returns:
        dict, dict: the second says what their names begin with in the file, if anything, and what else may be meant
    """
    from reid.models.arrays import read_weights, sound

    own = {name: value.numel() for name, value in embedder.state_dict().items()}
    own |= {name.removeprefix("backbone."): size for name, size in own.items()}
    convert = _timm_conversion(embedder.backbone)
    try:
        arrays = read_weights(path)
        prefix, others = find_prefix(arrays, own)
        clip = next((name for name in arrays if name.endswith(_CLIP)), "")
        found = sum(own.get(name, 0) for name, _ in _behind(prefix, arrays))
        if clip and convert and 2 * found < sum(value.numel() for value in embedder.state_dict().values()):
            prefix, others = clip.removesuffix(_CLIP), []
        state = sound(dict(_behind(prefix, arrays)), path)
    except ReidError as error:
        raise ReidError(f"network.weights: {error}") from error
    if empty := next((name for name, value in state.items() if not value.numel()), None):
        raise ReidError(
            f"network.weights: {path}: {shown(empty)} has the shape {list(state[empty].shape)}, which holds no number"
        )
    if convert:
        try:
            state = convert(state, embedder.backbone)
        except Exception as error:  # timm's converters believe in what they read
            raise ReidError(
                f"network.weights: {path}: is of another network, or damaged: timm cannot convert its names "
                f"({type(error).__name__}: {shown(str(error))})"
            ) from error
    about = {"prefix": prefix, "also": others} if others else {"prefix": prefix}
    return state, about if prefix else {}


def _behind(prefix: str, arrays: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Arrays whose names begin with a prefix, without it."""
    return ((name.removeprefix(prefix), value) for name, value in arrays.items() if name.startswith(prefix))


_CLIP = "visual.conv1.weight"  # of OpenAI's networks and open_clip's, whose names timm converts


def _by_name(params: Network, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Arrays of torchvision's or timm's weights."""
    source, name = catalogue.resolve(params.backbone_name) or ("", "")
    if source == "torchvision":
        return _of_torchvision(name, params)
    if source == "timm":
        return _of_timm(name, params, size)
    files = {"osnet": "one of Torchreid's files", "ibn": "one of IBN-Net's files"}
    hint = f"give the path of {files.get(source, 'a file')}"
    raise ReidError(f"network.weights: {name} has no weights by name; {hint}")


def _of_torchvision(name: str, params: Network) -> dict[str, torch.Tensor]:
    import torch
    import torchvision

    from reid.models.arrays import read_weights

    try:
        weights = torchvision.models.get_model_weights(name)[params.weights]
    except KeyError as error:
        known = [w.name for w in torchvision.models.get_model_weights(name)]
        raise ReidError(
            f"network.weights: {name} has no weights {params.weights}; it has {', '.join(known)}"
        ) from error
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[1]
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            begins = torch.hub.HASH_REGEX.search(path.name)
            torch.hub.download_url_to_file(weights.url, str(path), begins[1] if begins else None)
        except (OSError, RuntimeError, ValueError, HTTPException) as error:
            raise ReidError(
                f"network.weights: {params.weights} of {name} cannot be fetched ({shown(str(error))}). Put the file "
                f"{path.name} into {path.parent}, or give its path as network.weights, or leave network.weights out "
                "to train from scratch"
            ) from error
    try:
        state = read_weights(path)
    except ReidError as error:
        raise ReidError(f"network.weights: {error}") from error
    state |= {
        name: torch.tensor(weights.transforms.keywords[name]).view(1, 3, 1, 1)
        for name in ("mean", "std")
        if name in weights.transforms.keywords  # others than ImageNet's
    }
    # torchvision's files of DenseNet have a dot that its module names no longer have
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", key): state[key] for key in state}


def _of_timm(name: str, params: Network, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    from reid.models.backbones import timm_network, timm_tags

    tags = timm_tags(name)
    if not tags or params.weights not in ("DEFAULT", *tags):
        raise ReidError(
            f"network.weights: timm's {name} has no weights {params.weights}; it has {', '.join(tags) or 'none'}"
        )
    whole = name if params.weights == "DEFAULT" else f"{name}.{params.weights}"
    _fail_fast_offline()
    try:
        # as the weights were trained: with another pooling timm leaves out what it has no place for
        return timm_network(whole, params, size, pretrained=True, num_classes=None, global_pool=None).state_dict()
    except ReidError:
        raise
    except Exception as error:  # the hub's client raises a dozen kinds
        raise ReidError(
            f"network.weights: timm's {whole} cannot be fetched ({shown(str(error))}). Give the path of its "
            "model.safetensors as network.weights, or leave network.weights out to train from scratch"
        ) from error


def _fail_fast_offline() -> None:
    """Where the hub's name is not known, let its client take what it has kept, and not try again for a minute."""
    import huggingface_hub.constants as hub

    host = urllib.parse.urlsplit(hub.ENDPOINT).hostname
    if host and not urllib.request.getproxies():  # a proxy knows names that we do not
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            hub.HF_HUB_OFFLINE = True


def _timm_conversion(backbone: nn.Module) -> Callable[..., dict[str, torch.Tensor]] | None:
    """What timm does to a file for a network of its own: names are converted, places resampled for another size."""
    if not type(backbone).__module__.startswith("timm."):
        return None
    return getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
