"""Optimizers of a training, with a learning rate that may differ by depth."""

from typing import Any

import torch
from torch import nn

from reid.models.embedder import Embedder
from reid.models.recomputation import batch_norms
from reid.params import extensions
from reid.params import optimizer as sections
from reid.params.optimizer import Optimizer
from reid.params.registries import OPTIMIZERS
from reid.training import muon
from reid.training.lookahead import Lookahead

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
    # not fused: where fp16 skips the first step, PyTorch's fused kernel keeps a momentum that was never written
    return torch.optim.SGD(groups, lr=params.learning_rate, weight_decay=params.weight_decay, momentum=0.9)


@OPTIMIZERS.implement("rmsprop")
def _rmsprop(groups: Groups, params: Optimizer) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, lr=params.learning_rate, weight_decay=params.weight_decay, momentum=0.9)


@OPTIMIZERS.implement("radam")
def _radam(groups: Groups, params: Optimizer) -> torch.optim.Optimizer:
    more: dict[str, Any] = {"weight_decay": params.weight_decay, "decoupled_weight_decay": True}
    return torch.optim.RAdam(groups, lr=params.learning_rate, **more)


@OPTIMIZERS.implement("muon")
def _muon(groups: Groups, params: sections.Muon) -> torch.optim.Optimizer:
    return muon.Muon(groups, params)


def make(params: Any, network: Embedder, criterion: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer of a training.

    With L blocks in the backbone, block i from its input has the learning rate
    ``learning_rate * layer_decay ** (L - i)``; what follows the backbone has the whole (Clark 2020). The biases of
    batch norms have ``bias_scale`` times that, and a weight decay that is divided by it, so that a decoupled one takes
    as much a step as of the others (Jordan 2024).

    Args:
        params: reid.params.optimizer.Optimizer of one of the registry ``OPTIMIZERS``.
        network: what is trained.
        criterion: module of the losses, whose parameters are trained too.

    Returns:
        torch.optim.Optimizer, or a :class:`Lookahead` in its place; each group holds its own factor of the learning
        rate as ``scale``

    Raises:
        ReidError: an extension's optimizer cannot be made.
    """
    blocks = network.blocks() if params.layer_decay < 1 else [list(network.backbone.parameters())]
    inside = {id(parameter) for block in blocks for parameter in block}
    rest = [p for p in [*network.parameters(), *criterion.parameters()] if id(p) not in inside]
    scales = [params.layer_decay ** (len(blocks) - i) for i in range(len(blocks))]
    groups = [
        {"params": block, "scale": scale, "lr": params.learning_rate * scale}
        for block, scale in [*zip(blocks, scales, strict=True), (rest, 1.0)]
        if block
    ]
    if params.bias_scale:
        groups = _with_bias_scale(groups, network, params)
    if isinstance(params, sections.Muon):
        groups = muon.split(groups, network.backbone, params)
    builder = OPTIMIZERS.builder(params.kind)
    with extensions.named(builder, f"optimizer: {params.kind}"):
        made: Any = builder(groups, params)
        if not isinstance(made, torch.optim.Optimizer):
            raise TypeError(f"its builder gives a {type(made).__name__}, not a torch.optim.Optimizer")
        if not all("scale" in group for group in made.param_groups):
            raise TypeError(
                "its builder must give the groups that it gets to the optimizer, not their parameters alone"
            )
    if params.lookahead:
        made = Lookahead(made, params.lookahead.steps, params.lookahead.alpha)
    optimizer: torch.optim.Optimizer = made
    return optimizer


def _with_bias_scale(groups: Groups, network: nn.Module, params: Any) -> Groups:
    """Part the biases of batch norms from the rest of each group."""
    biases = {id(norm.bias) for norm in batch_norms(network)}
    factor, parted = params.bias_scale, []
    for group in groups:
        rest = [p for p in group["params"] if id(p) not in biases]
        own = [p for p in group["params"] if id(p) in biases]
        larger = {"scale": group["scale"] * factor, "lr": group["lr"] * factor}
        decay = {"weight_decay": params.weight_decay / factor}
        parted += [g for g in ({**group, "params": rest}, {**group, **larger, **decay, "params": own}) if g["params"]]
    return parted


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the learning rate ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
