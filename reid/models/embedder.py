"""The network that turns images into embeddings: a backbone without its classifier, and what may follow it."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reid.core.errors import ReidError
from reid.models import backbones
from reid.models.device import at_least_float32
from reid.models.poolings import check
from reid.models.recomputation import batch_norms, recompute
from reid.params import extensions
from reid.params.network import Network
from reid.params.registries import BACKBONES, POOLINGS


def resize(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resize where the size differs.

    Args:
        x: float, B x 3 x H x W.
        size: (height, width), pixels.

    Returns:
        float, B x 3 x height x width; bilinear, antialiased
    """
    if x.shape[2:] == tuple(size):
        return x
    # a plane per colour: about 1.5 times as fast as on channels_last
    return nn.functional.interpolate(x.contiguous(), tuple(size), mode="bilinear", antialias=True)


class Embedder(nn.Module):
    """Images to embeddings: backbone, pooling, an optional projection, an optional BNNeck.

    Args:
        params: with the open places filled (reid.params.schema.section_class); its weights are not read here (see
            reid.models.pretrained).
        size: (height, width) of its input, pixels.

    Attributes:
        width: number of components D of an embedding.

    Raises:
        ReidError: the backbone is unknown or fails, or does not take images of this size or this pooling.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, params: Network, size: Sequence[int]) -> None:
        super().__init__()
        height, width = size
        self.size = height, width
        self.params = params
        self.backbone, self.pool, mean, std = backbones.build(params, self.size)
        components = self.try_size(self.size)
        if params.checkpointing:
            recompute(self._blocks())
        self.projection: nn.Module = nn.Identity()
        if params.projection:
            linear = nn.Linear(components, params.projection.width)
            components = params.projection.width
            if params.projection.kind == "relu":
                nn.init.normal_(linear.weight, 0, 0.01)  # as the kit does
                nn.init.zeros_(linear.bias)
                self.projection = nn.Sequential(linear, nn.BatchNorm1d(components), nn.ReLU())
            else:
                self.projection = linear
        self.bnneck: nn.Module = nn.Identity()
        if params.bnneck:
            self.bnneck = nn.BatchNorm1d(components)
            self.bnneck.bias.requires_grad_(False)  # Luo 2019: identities lie in different directions
        self.width = components
        # kept with the weights, for weights by name bring their own
        self.register_buffer("mean", torch.tensor(params.mean or mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(params.std or std).view(1, 3, 1, 1))

    def try_size(self, size: Sequence[int], where: str = "network.backbone") -> int:
        """Number of components before the projection for images of a size.

        Args:
            size: (height, width), pixels.
            where: the parameter that asks for this size, for messages.

        Raises:
            ReidError: the backbone does not take them, or gives another number of embeddings than of images.
        """
        training = self.training
        self.backbone.eval()
        self.pool.eval()
        try:
            with torch.no_grad():
                features = self.backbone(torch.zeros(2, 3, *size))
                if not isinstance(self.pool, nn.Identity):
                    check(features, self.pool, self.params.pooling.kind)
                pooled = self.pool(features)
                if pooled.ndim < 2 or len(pooled) != 2:
                    raise ValueError(f"two images give {list(pooled.shape)}, which is no row for each")
                return pooled.flatten(1).shape[1]
        except Exception as error:
            backbone, pooling = self.params.backbone_name, self.params.pooling.kind
            of_backbone, of_pooling = (extensions.source(builder, error) for builder in self.builders)
            own = not of_backbone and not of_pooling
            if own and not isinstance(error, RuntimeError | AssertionError | ValueError | IndexError):
                raise
            raise ReidError(
                f"{where}: {backbone}{of_backbone} with pooling {pooling}{of_pooling} does not take images of "
                f"{size[0]}x{size[1]}: {error if own else f'{type(error).__name__}: {error}'}"
            ) from error
        finally:
            self.backbone.train(training)
            self.pool.train(training)

    @property
    def builders(self) -> tuple[object, object]:
        """What builds the backbone, None unless it is registered, and the pooling."""
        name = self.params.backbone_name
        backbone = BACKBONES.builder(name) if name in BACKBONES else None
        return backbone, POOLINGS.builder(self.params.pooling.kind)

    def named(self) -> AbstractContextManager[None]:
        """A context in which an error of an extension's backbone or pooling names its file."""
        backbone, pooling = self.builders
        what = f"network: {self.params.backbone_name} with pooling {self.params.pooling.kind}"
        return extensions.named(backbone, what, pooling)

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Turn store rows into network input on the images' device.

        Args:
            images: uint8, B x H x W x 3.

        Returns:
            float32, B x 3 x height x width, normalised; resized (bilinear, antialiased) where the size differs.
        """
        return self.normalise(resize(images.permute(0, 3, 1, 2).float(), self.size) / 255)

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        """float32, B x 3 x height x width in [0, 1], to what the backbone was trained on."""
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings that the losses over pairs see: normalised images to float32 (float64 stays), B x D."""
        embeddings = self.projection(self.pool(self.backbone(x)).flatten(1))
        return at_least_float32(embeddings)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings that are compared: normalised images (float32, B x 3 x height x width) to float32, B x D."""
        return self.bnneck(self.features(x))

    @property
    def batch_normalised(self) -> list[str]:
        """Names of the parts by whose batch norms :meth:`features` of an image depend on its batch in training."""
        parts = {
            self.params.backbone_name: self.backbone,
            f"network.pooling {self.params.pooling.kind}": self.pool,
            "network.projection": self.projection,
        }
        return [name for name, part in parts.items() if batch_norms(part)]

    def _blocks(self) -> list[nn.Module]:
        """The parts of the backbone by depth, from its input to its output.

        Its lists of layers are opened, those in them whose parts have parts (stages of blocks), and what holds nearly
        all of the backbone (torchvision's ``Encoder``).
        """
        most = 0.9 * sum(p.numel() for p in self.backbone.parameters())

        def parts(module: nn.Module, first: bool = False) -> Iterator[nn.Module]:
            for child in module.children():
                inside = [any(True for _ in part.children()) for part in child.children()]
                listed = isinstance(child, nn.Sequential | nn.ModuleList) and (first or all(inside))
                if inside and (listed or sum(p.numel() for p in child.parameters()) > most):
                    yield from parts(child)
                else:
                    yield child

        return list(parts(self.backbone, first=True))

    def blocks(self) -> list[list[nn.Parameter]]:
        """Parameters of the backbone by depth, from its input to its output."""
        groups = [group for block in self._blocks() if (group := list(block.parameters()))]
        known = {id(parameter) for group in groups for parameter in group}
        first = [parameter for parameter in self.backbone.parameters() if id(parameter) not in known]
        return [first, *groups] if first else groups  # tokens and places of a transformer stand at its input

    def cost(self) -> dict[str, int]:
        """What the network costs.

        Returns:
            dict: number of parameters, and floating point operations (a multiplication and an addition are two) for
            one image
        """
        training = self.training
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.eval()(torch.zeros(1, 3, *self.size, device=self.mean.device))
        self.train(training)
        return {"parameters": sum(p.numel() for p in self.parameters()), "flops": counter.get_total_flops()}
