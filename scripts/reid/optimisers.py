"""Optimisers of a training, with a learning rate that may differ by depth."""

import torch

_KINDS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "amsgrad": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "radam": torch.optim.RAdam,
}


def make(params, network, criterion):
    """Make the optimiser of a training.

    With L blocks in the backbone, block i from its input has the learning rate
    ``learning_rate * layer_decay ** (L - i)``; what follows the backbone has the whole (Clark 2020).

    Args:
        params: reid.params.Optimiser
        network: reid.networks.Embedder
        criterion: module of the losses, whose parameters are trained too.

    Returns:
        torch.optim.Optimizer; each group holds its own factor of the learning rate as ``scale``
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
    extra = {"adamw": {"fused": True}, "adam": {"fused": True}, "amsgrad": {"amsgrad": True, "fused": True}}
    extra |= {"sgd": {"momentum": 0.9, "fused": True}, "rmsprop": {"momentum": 0.9}}  # momenta as in the kit
    extra |= {"radam": {"decoupled_weight_decay": True}}
    more = extra[params.kind]
    return _KINDS[params.kind](groups, lr=params.learning_rate, weight_decay=params.weight_decay, **more)


def set_rate(optimiser, rate):
    """Give every group its share of the learning rate ``rate``."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]
