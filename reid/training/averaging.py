"""Averages of a network's weights over a training."""

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_swa_avg_fn

from reid.params.model import MovingAverage


class Exponential(AveragedModel):
    """An exponential moving average of a network's arrays, which begins at the first update; counters are the newest.

    PyTorch's own copies its count of updates to the device at every step, and with it waits for all that the device
    has to do.

    Args:
        network: what is averaged.
        decay: share of the average that stays at an update.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take in the arrays of ``model``."""
        kinds: dict[torch.dtype, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
        for average, value in zip(_arrays(self.module), _arrays(model), strict=True):
            averages, values = kinds.setdefault(average.dtype, ([], []))
            averages.append(average)
            values.append(value)
        for kind, (averages, values) in kinds.items():
            if self.n_averaged == 0 or not kind.is_floating_point:
                torch._foreach_copy_(averages, values)
            else:
                torch._foreach_lerp_(averages, values, 1 - self.decay)
        self.n_averaged += 1


def _arrays(network: Any) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]


def average_of(network: nn.Module, params: Any) -> AveragedModel | None:
    """What averages the weights of a network as ``params`` say; None for no average.

    Args:
        network: what is averaged.
        params: section ``averaging`` of a model.
    """
    if params is None:
        return None
    if isinstance(params, MovingAverage):
        return Exponential(network, params.decay)
    return AveragedModel(network, avg_fn=get_swa_avg_fn(), use_buffers=True)
