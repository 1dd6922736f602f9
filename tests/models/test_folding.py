"""A folded network gives the same embeddings with fewer batch norms, or is the network itself."""

import pytest
import torch
from torch import nn

from builders.model import model
from reid.models.embedder import Embedder
from reid.models.folding import folded

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = (64, 32)
IMAGES = torch.rand(5, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def network_of(backbone):
    """In evaluation mode, in float64, with statistics and weights of batch norms that are not those of the start."""
    torch.manual_seed(0)
    named = backbone if isinstance(backbone, str) else "resnet18"
    network = Embedder(model().network.model_copy(update={"backbone": named}), SIZE).double()
    if not isinstance(backbone, str):
        network.backbone = backbone.double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    with torch.no_grad():
        network.train()(network.normalise(IMAGES.double()))
    return network.eval()


@torch.no_grad()
def embeddings(network):
    return network(network.normalise(IMAGES.to(network.mean.dtype)))


@pytest.mark.parametrize(
    ("backbone", "left"),
    [("resnet18", 0), ("osnet_ain_x0_25", None), ("densenet121", 62), ("mobilenet_v3_small", None)],
)
def test_embeddings_are_the_same(backbone, left):
    network = network_of(backbone)
    before, wanted, count = (
        {k: v.clone() for k, v in network.state_dict().items()},
        embeddings(network),
        norms(network),
    )
    result = folded(network)
    torch.testing.assert_close(embeddings(result), wanted, rtol=1e-10, atol=1e-10)
    assert norms(result) < count if left is None else norms(result) == left
    # the network is what it was
    assert norms(network) == count and not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    torch.testing.assert_close(embeddings(network), wanted, rtol=0, atol=0)
    single = folded(network.float())
    torch.testing.assert_close(embeddings(single), embeddings(network), rtol=1e-4, atol=1e-5)


def test_network_without_convolutions_before_norms_is_the_same_object():
    network = Embedder(model().network.model_copy(update={"backbone": "timm/vit_tiny_patch16_224"}), SIZE).eval()
    assert folded(network) is network


class Small(nn.Module):
    """A convolution, a batch norm and a convolution; ``way`` says how they are used."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.first, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=way != "no statistics")
        self.again, self.last = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 512, 3)

    def forward(self, x):
        x = self.first(x)
        if self.way == "twice":
            x = self.again(self.norm(self.again(x)))
        elif self.way == "two norms":
            x = self.norm(self.norm(x))
        elif self.way == "not as it is":
            x = self.norm(torch.relu(x))
        elif self.way == "elsewhere too":
            x = self.norm(x) + x
        else:
            x = self.norm(x)
        return self.last(x).mean((2, 3))


@pytest.mark.parametrize("way", ["twice", "two norms", "not as it is", "elsewhere too", "no statistics"])
def test_what_would_change_embeddings_is_not_folded(way):
    network = network_of(Small(way))
    wanted, result = embeddings(network), folded(network)
    assert norms(result) == 1
    torch.testing.assert_close(embeddings(result), wanted, rtol=1e-10, atol=1e-10)


def test_a_plain_pair_is_folded():
    network = network_of(Small("plain"))
    result = folded(network)
    assert norms(result) == 0 and norms(network) == 1
    torch.testing.assert_close(embeddings(result), embeddings(network), rtol=1e-10, atol=1e-10)
