"""Backbones without their classifier: of torchvision, timm, IBN-Net, OSNet and extensions."""

from collections.abc import Container, Sequence
from typing import Any, NamedTuple

from torch import nn

from reid.core.errors import ReidError
from reid.core.imagenet import MEAN, STD
from reid.models.ibn import with_instance_norms
from reid.models.osnet import osnet
from reid.models.poolings import GeM
from reid.params import backbones as catalogue
from reid.params import extensions
from reid.params.network import Network
from reid.params.registries import BACKBONES, POOLINGS

_HEADS = ("fc", "classifier", "heads", "head")  # what torchvision's networks call their classifier


class Backbone(NamedTuple):
    """What :func:`build` makes.

    ``network`` takes normalised images, float32, B x 3 x height x width, and ``pooling`` what it gives, to B x D or
    B x D x 1 x 1; ``mean`` and ``std`` are those that the images are normalised with, per channel (RGB in [0, 1]).
    """

    network: nn.Module
    pooling: nn.Module
    mean: Sequence[float]
    std: Sequence[float]


def build(params: Network, size: tuple[int, int]) -> Backbone:
    """Build the backbone and pooling that a model names, with random weights.

    An extension's backbone is built with ``builder(params, size)``, where ``params`` is its section, and gives a map,
    B x C x h x w, vectors, B x D, or tokens, B x N x D. An extension's pooling is built with ``builder(params)`` and
    takes a map to B x D or B x D x 1 x 1.

    Args:
        params: with the open places filled (reid.params.schema.section_class).
        size: (height, width) of its input, pixels.

    Raises:
        ReidError: there is no such backbone, it cannot be built, or does not go with this pooling, stride or size.
    """
    if problem := catalogue.problem(params.backbone_name):
        raise ReidError(f"network.backbone: {problem}")
    source, name = catalogue.resolve(params.backbone_name) or ("", "")
    resnet = source in ("ibn", "torchvision") and name.startswith(("resnet", "resnext", "wide_resnet"))
    if params.last_stride == 1 and not resnet:
        raise ReidError(
            f"network.last_stride: is 2 for {params.backbone_name}; only ResNets of torchvision and IBN-Net can have 1"
        )
    if params.drop_path and source in ("ibn", "osnet", "extension"):
        raise ReidError(f"network.drop_path: {params.backbone_name} has none; leave it out")
    if source == "extension":
        return Backbone(_of_extension(name, params, size), _pooling(params), MEAN, STD)
    if source == "timm":
        return _timm(name, params, size)
    if source == "osnet":
        network: nn.Module = osnet(name)
    elif source == "ibn":
        network = with_instance_norms(_torchvision(name.removesuffix(catalogue.IBN_A), params))
    else:
        network = _torchvision(name, params)
    _set_pooling(network, "pool" if source == "osnet" else "avgpool", params)
    return Backbone(network, nn.Identity(), MEAN, STD)


def _of_extension(name: str, params: Network, size: tuple[int, int]) -> nn.Module:
    builder = BACKBONES.builder(name)
    with extensions.named(builder, f"network.backbone: {name}"):
        network = builder(params.backbone, size)
        if not isinstance(network, nn.Module):
            raise TypeError(f"its builder gives a {type(network).__name__}, not a torch.nn.Module")
    return network


def _pooling(params: Network) -> nn.Module:
    """The module of POOLINGS that the parameters name."""
    kind = params.pooling.kind
    builder = POOLINGS.builder(kind)
    with extensions.named(builder, f"network.pooling: {kind}"):
        pooling = builder(params.pooling)
        if not isinstance(pooling, nn.Module):
            raise TypeError(f"its builder gives a {type(pooling).__name__}, not a torch.nn.Module")
    return pooling


def _set_pooling(network: nn.Module, place: str, params: Network) -> None:
    """Give a network of torchvision or OSNet another pooling at ``place``, if one is asked for."""
    kind, backbone = params.pooling.kind, params.backbone_name
    transformer = hasattr(network, "class_token")
    if kind in ("average", "token"):  # which the network has itself, or has not
        if (kind == "token") != transformer:
            right = "token" if transformer else " or ".join(name for name in POOLINGS if name != "token")
            raise ReidError(f"network.pooling: must be {right} for {backbone}")
        return
    old = getattr(network, place, None)
    if not isinstance(old, nn.AdaptiveAvgPool2d) or old.output_size not in (1, (1, 1)):
        raise ReidError(f"network.pooling: {backbone} has no pooling that {kind} could replace")
    new = _pooling(params)
    # what follows may want B x C x 1 x 1, which an extension's need not give
    whole = new if isinstance(new, GeM) else nn.Sequential(new, nn.Flatten(1), nn.Unflatten(1, (-1, 1, 1)))
    setattr(network, place, whole)


def _torchvision(name: str, params: Network) -> nn.Module:
    import torchvision

    extra: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # a second output, which only classification uses; their weights want images normalised in another way
        extra = {"aux_logits": False, "init_weights": True, "transform_input": True}
    network = torchvision.models.get_model(name, weights=None, **extra)
    _set_drop_path(network, name, params.drop_path)
    _switch_dropout_off(network)
    head = next((head for head in _HEADS if hasattr(network, head)), None)
    if head is None or not _drop_last_linear(network, head):
        raise ReidError(f"network.backbone: {name} has no linear classifier to take off; choose another")
    if params.last_stride == 1:
        for module in network.layer4[0].modules():
            if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.stride = (1, 1)
    return network


def _set_drop_path(network: nn.Module, name: str, drop_path: float) -> None:
    """Give the residual branches of a network of torchvision the share of the parameters, rising with depth."""
    from torchvision.ops import StochasticDepth

    branches = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    if drop_path and not branches:
        raise ReidError(f"network.drop_path: torchvision's {name} has none; leave it out, or take timm's")
    for i, branch in enumerate(branches):
        branch.p = drop_path * i / (len(branches) - 1)


def _switch_dropout_off(network: Any) -> None:
    """Let nothing be dropped that no parameter names: of each embedding of a pair other numbers would be missing."""
    for module in network.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d):
            module.p = 0.0
        if hasattr(module, "drop_rate"):  # timm's that call a function
            module.drop_rate = 0.0


def _drop_last_linear(network: nn.Module, name: str) -> bool:
    """Replace the last linear layer of ``network.name`` by nothing; False if there is none."""
    parent, key = network, name
    module = getattr(network, name)
    while isinstance(module, nn.Sequential):
        parent, key = module, list(module._modules)[-1]
        module = getattr(parent, key)
    if isinstance(module, nn.Linear):
        setattr(parent, key, nn.Identity())
        return True
    return False


def _timm(name: str, params: Network, size: tuple[int, int]) -> Backbone:
    tag = f".{params.weights}" if params.weights in timm_tags(name) else ""
    network = timm_network(name + tag, params, size)
    if not params.drop_path:  # some have one that nobody asked for
        for module in network.modules():
            if hasattr(module, "drop_prob"):
                module.drop_prob = 0.0
    _switch_dropout_off(network)
    about = network.pretrained_cfg
    pooling = nn.Identity() if params.pooling.kind in _TIMM_POOLINGS else _pooling(params)
    return Backbone(network, pooling, about.get("mean", MEAN), about.get("std", STD))


_TIMM_POOLINGS = {"average": "avg", "token": "token"}  # which its networks have themselves


def timm_network(name: str, params: Network, size: tuple[int, int], **more: Any) -> Any:
    """A network of timm without its classifier, for images of ``size`` where its kind has a size.

    Args:
        name: there, a tag included.
        params: of whose pooling it depends whether it pools.
        size: (height, width), pixels.
        more: for timm.create_model, in the place of what is chosen here (None: timm's own).

    Returns:
        torch.nn.Module

    Raises:
        ReidError: it does not take such images or such pooling.
    """
    import timm

    kind = params.pooling.kind
    options = {"num_classes": 0, "global_pool": _TIMM_POOLINGS.get(kind, ""), **more}
    if params.drop_path:
        options["drop_path_rate"] = params.drop_path
    try:
        try:
            return timm.create_model(name, img_size=size, **options)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            return timm.create_model(name, **options)  # takes any size
    except (TypeError, AssertionError, ValueError, KeyError) as error:
        if "drop_path_rate" in str(error):
            raise ReidError(f"network.drop_path: timm's {name} has none; leave it out") from error
        raise ReidError(
            f"network.backbone: timm's {name}, pooling {kind}, images of {size[0]}x{size[1]}: {error}"
        ) from error


def place_norm(backbone: nn.Module, arrays: Container[str]) -> None:
    """Let a transformer of timm normalise where its arrays do: before the pooling (``norm``) or after (``fc_norm``).

    With average pooling timm builds the latter, and most weights have the former.

    Args:
        arrays: their names, with or without ``backbone.`` before them.
    """

    def given(place: str) -> bool:
        return f"{place}.weight" in arrays or f"backbone.{place}.weight" in arrays

    for here, there in (("norm", "fc_norm"), ("fc_norm", "norm")):
        norm, empty = getattr(backbone, here, None), getattr(backbone, there, None)
        if norm is not None and isinstance(empty, nn.Identity) and given(there) and not given(here):
            setattr(backbone, here, empty)
            setattr(backbone, there, norm)
            return


def timm_tags(name: str) -> list[str]:
    """Names of the weights that timm has for a network."""
    import timm

    return [tag.partition(".")[2] for tag in timm.list_pretrained(f"{name}.*")]
