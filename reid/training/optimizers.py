"""Optimizers of a training, with a learning rate that may differ by depth."""

from typing import Any

import torch
from torch import nn

from reid.models.embedder import Embedder
from reid.params import extensions
from reid.params.optimizer import Optimizer
from reid.params.registries import OPTIMIZERS

Groups = list[dict[str, Any]]


@OPTIMIZERS.implement("adamw")
def _adamw(groups: Groups, params: Optimizer) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=params.learning_rate, weight_decay=params.weight_decay, fused=True)


@OPTIMIZERS.implement("adam")
def _adam(groups: Groups, params: Optimizer) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, lr=params.learning_rate, weight_decay=params.weight_decay, fused=True)


@OPTIMIZERS.implement("amsgrad")
def _amsgrad(groups: Groups, params: Optimizer) -> torch.optim.Optimizer:
    more: dict[str, Any] = {"weight_decay": params.weight_decay, "amsgrad": True, "fused": True}
    return torch.optim.Adam(groups, lr=params.learning_rate, **more)


@OPTIMIZERS.implement("sgd")
def _sgd(groups: Groups, params: Optimizer) -> torch.optim.Optimizer:
    more: dict[str, Any] = {"weight_decay": params.weight_decay, "momentum": 0.9, "fused": True}
    return torch.optim.SGD(groups, lr=params.learning_rate, **more)


@OPTIMIZERS.implement("rmsprop")
def _rmsprop(groups: Groups, params: Optimizer) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, lr=params.learning_rate, weight_decay=params.weight_decay, momentum=0.9)


@OPTIMIZERS.implement("radam")
def _radam(groups: Groups, params: Optimizer) -> torch.optim.Optimizer:
    more: dict[str, Any] = {"weight_decay": params.weight_decay, "decoupled_weight_decay": True}
    return torch.optim.RAdam(groups, lr=params.learning_rate, **more)


def make(params: Any, network: Embedder, criterion: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer of a training.

    With L blocks in the backbone, block i from its input has the learning rate
    ``learning_rate * layer_decay ** (L - i)``; what follows the backbone has the whole (Clark 2020).

    Args:
        params: reid.params.optimizer.Optimizer of one of the registry ``OPTIMIZERS``.
        network: what is trained.
        criterion: module of the losses, whose parameters are trained too.

    Returns:
        torch.optim.Optimizer; each group holds its own factor of the learning rate as ``scale``

    Raises:
        ReidError: an extension's optimizer cannot be made.
    """
    blocks = network.blocks() if params.layer_decay < 1 else [list(network.backbone.parameters())]
    inside = {id(parameter) for block in blocks for parameter in block}
    rest = [p for p in [*network.parameters(), *criterion.parameters()] if id(p) not in inside]
    scales = [params.layer_decay ** (len(blocks) - i) for i in range(len(blocks))]
    if params.layer_decay == 1:
        scales = [1.0]
    groups = [
        {"params": block, "scale": scale, "lr": params.learning_rate * scale}
        for block, scale in [*zip(blocks, scales, strict=True), (rest, 1.0)]
        if block
    ]
    builder = OPTIMIZERS.builder(params.kind)
    with extensions.named(builder, f"optimizer: {params.kind}"):
        optimizer: Any = builder(groups, params)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"its builder gives a {type(optimizer).__name__}, not a torch.optim.Optimizer")
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the learning rate ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
