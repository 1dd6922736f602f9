"""Networks with random arrays, a digest of what they hold, and their norms written out with plain functions."""

import hashlib
import math

import torch


def digest(state):
    """SHA-256 of the sorted lines "name shape dtype" of arrays, without a classifier's."""
    lines = [f"{key} {list(v.shape)} {v.dtype}" for key, v in state.items() if not key.startswith("classifier.")]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def shuffled(network, seed=3):
    """Random arrays in place of those that start at 0 and 1, running statistics too, and a feature that varies."""
    random = torch.Generator().manual_seed(seed)
    for key, value in network.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2, generator=random)
        elif value.ndim == 1 and key.endswith("weight"):
            value.uniform_(0.5, 1.5, generator=random)
        elif value.ndim == 1:
            value.normal_(0, 0.2, generator=random)
        elif value.ndim == 2:
            value.normal_(0, 0.1, generator=random)
        elif value.ndim == 4:
            value.normal_(0, math.sqrt(2 / value[0].numel()), generator=random)
    return network


def normed(state, x, key, training):
    """B x C x H x W after the norm whose arrays ``state`` has under ``key``: batch norm, or instance norm."""
    if f"{key}.running_mean" not in state or training:  # instance norm has none, and is the same in both modes
        over = (0, 2, 3) if f"{key}.running_mean" in state else (2, 3)
        centre, spread = x.mean(over, keepdim=True), x.var(over, correction=0, keepdim=True)
    else:
        centre, spread = (state[f"{key}.running_{part}"].view(1, -1, 1, 1) for part in ("mean", "var"))
    weight, bias = (state[f"{key}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias"))
    return (x - centre) / (spread + 1e-5).sqrt() * weight + bias
