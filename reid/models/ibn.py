"""ResNets with instance norms beside their batch norms (IBN-a), which depend less on the look of a place.

Source: Pan, Luo, Shi and Tang, Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net, ECCV 2018
(arXiv:1807.09441). The arrays have the names and shapes of the authors' files (github.com/XingangPan/IBN-Net) and of
Torchreid's and FastReID's networks of these names, so that their weights load as they are.
"""

import torch
from torch import nn

_STAGES = ("layer1", "layer2", "layer3")  # the last has batch norms alone


class InstanceBatchNorm(nn.Module):
    """Instance norm of the first half of the channels, batch norm of the others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = channels // 2
        self.IN = nn.InstanceNorm2d(self.first, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.first)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float, B x C x H x W, to the same; H x W of 2 or more."""
        return torch.cat([self.IN(x[:, : self.first]), self.BN(x[:, self.first :])], 1)


def with_instance_norms(resnet: nn.Module) -> nn.Module:
    """Give a ResNet of torchvision, from scratch, the norms of IBN-a: the first of each block but in the last stage.

    Args:
        resnet: is changed.

    Returns:
        ``resnet``
    """
    for stage in _STAGES:
        for block in getattr(resnet, stage):
            block.bn1 = InstanceBatchNorm(block.bn1.num_features)
    return resnet
