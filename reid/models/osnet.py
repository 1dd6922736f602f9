"""OSNet and OSNet-AIN, small networks made for person re-identification.

Sources: Zhou, Yang, Cavallaro and Xiang, Omni-Scale Feature Learning for Person Re-Identification, ICCV 2019
(arXiv:1905.00953), and Learning Generalisable Omni-Scale Representations for Person Re-Identification, TPAMI 2021
(arXiv:1910.06827). The arrays have Torchreid's names and shapes, so that the weights it publishes load as they are,
but for those of its classifier (``classifier.weight`` and ``classifier.bias``).
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from reid.core.errors import ReidError
from reid.params import backbones as catalogue

_STEM, _STAGES = 64, (256, 384, 512)  # channels at width 1.0
_REDUCTION = 4  # of the channels inside a block
_STREAMS = 4  # of a block; the t-th sees 2t + 1 pixels of its input
_GATE = 16  # reduction inside the aggregation gate
_FEATURE = 512  # components of the result, at every width
# OSNet-AIN: which blocks of each stage have instance norm, as the architecture search of the paper found
_INSTANCE = ((True, True), (False, True), (True, False))


def osnet(name: str) -> "OSNet":
    """Build a network with random weights.

    Args:
        name: one of reid.params.backbones.OSNETS, as ``"osnet_ain_x0_75"``.

    Raises:
        ReidError: there is no such network.
    """
    if name not in catalogue.OSNETS:
        raise ReidError(f"network.backbone: there is no {name}; the OSNets are {', '.join(catalogue.OSNETS)}")
    kind, _, width = name.rpartition("_x")
    return OSNet(float(width.replace("_", ".")), kind == "osnet_ain")


class OSNet(nn.Sequential):
    """Images to features; its children in order are the layers from input to output.

    The input is float32, B x 3 x H x W, of at least 32 x 16 or 16 x 32 pixels; the result is float32, B x 512, in
    training (B of 2 or more) and evaluation alike. The last feature map has H/16 x W/16 pixels.

    Args:
        multiplier: width of all layers but the last as a share of the full network's.
        ain: OSNet-AIN.

    Attributes:
        width: 512, the number of components of the result.
        pool: the global average pooling. It may be replaced by any module that takes B x C x H x W to B x C x 1 x 1
            or to B x C.
    """

    def __init__(self, multiplier: float, ain: bool) -> None:
        inputs = round(_STEM * multiplier)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv1"] = _convolution(3, inputs, 7, 2, nn.InstanceNorm2d if ain else nn.BatchNorm2d)
        layers["maxpool"] = nn.MaxPool2d(3, 2, 1)
        for number, (channels, instance) in enumerate(zip(_STAGES, _INSTANCE, strict=True), 2):
            outputs = round(channels * multiplier)
            stage = nn.Sequential()
            for with_instance in instance:
                stage.append(Block(inputs, outputs, ain, ain and with_instance))
                inputs = outputs
            layers[f"conv{number}"] = stage
            if number < 1 + len(_STAGES):  # the last stage keeps its size
                transition = nn.Sequential(_convolution(outputs, outputs), nn.AvgPool2d(2))
                if ain:
                    layers[f"pool{number}"] = transition
                else:
                    stage.append(transition)
        layers["conv5"] = _convolution(inputs, inputs)
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = nn.Sequential(nn.Linear(inputs, _FEATURE), nn.BatchNorm1d(_FEATURE), nn.ReLU(inplace=True))
        super().__init__(layers)
        self.width = _FEATURE
        for module in self.modules():  # norms start at 1 and 0 anyway
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)


class Block(nn.Module):
    """Omni-scale residual block: streams of 1 to 4 lite convolutions, added with weights from one gate for all.

    Args:
        inputs, outputs: channels.
        ain: name the arrays of the streams as in OSNet-AIN.
        instance: instance norm in place of batch norm at the end of the residual.
    """

    def __init__(self, inputs: int, outputs: int, ain: bool, instance: bool) -> None:
        super().__init__()
        middle = outputs // _REDUCTION
        self.conv1 = _convolution(inputs, middle)
        streams = [[_lite_convolution(middle) for _ in range(depth)] for depth in range(1, _STREAMS + 1)]
        self.ain = ain
        if ain:
            self.conv2 = nn.ModuleList(nn.Sequential(OrderedDict(layers=nn.Sequential(*lites))) for lites in streams)
        else:
            self.conv2a = streams[0][0]
            self.conv2b, self.conv2c, self.conv2d = (nn.Sequential(*lites) for lites in streams[1:])
        self.gate = Gate(middle)
        self.conv3 = _convolution(middle, outputs, norm=None if instance else nn.BatchNorm2d, relu=False)
        self.IN = nn.InstanceNorm2d(outputs, affine=True) if instance else nn.Identity()
        self.downsample = nn.Identity() if inputs == outputs else _convolution(inputs, outputs, relu=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32, B x inputs x H x W, to float32, B x outputs x H x W."""
        streams = self.conv2 if self.ain else (self.conv2a, self.conv2b, self.conv2c, self.conv2d)
        middle = self.conv1(x)
        merged = sum(self.gate(stream(middle)) for stream in streams)
        return self.relu(self.IN(self.conv3(merged)) + self.downsample(x))


class Gate(nn.Sequential):
    """Unified aggregation gate: each channel times a weight between 0 and 1 that follows from all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(1),
                fc1=nn.Conv2d(channels, channels // _GATE, 1),
                relu=nn.ReLU(inplace=True),
                fc2=nn.Conv2d(channels // _GATE, channels, 1),
                sigmoid=nn.Sigmoid(),
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32, B x C x H x W, to the same."""
        return x * super().forward(x)


def _convolution(
    inputs: int,
    outputs: int,
    size: int = 1,
    stride: int = 1,
    norm: Callable[..., nn.Module] | None = nn.BatchNorm2d,
    relu: bool = True,
) -> nn.Sequential:
    """Convolution, norm (or None) and ReLU (if wanted); Torchreid's files say bn for either kind of norm."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv"] = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    if norm:
        layers["bn"] = norm(outputs, affine=True)
    if relu:
        layers["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


def _lite_convolution(channels: int) -> nn.Sequential:
    """3x3 convolution in two factors: 1x1 over the channels, then 3x3 in each channel, then batch norm and ReLU."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, channels, 1, bias=False),
            conv2=nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            bn=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
        )
    )
