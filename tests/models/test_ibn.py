"""ResNets with instance norms: IBN-Net's arrays by name, and its networks written out with plain functions."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from builders.model import model
from builders.networks import digest, normed, shuffled
from reid.core.errors import ReidError
from reid.models.embedder import Embedder
from reid.models.pretrained import find_init
from reid.params.backbones import IBNS

pytestmark = pytest.mark.usefixtures("one_thread")

# builders.networks.digest of what the authors' networks hold, without fc.*: of resnet18_ibn_a().state_dict() etc. in
# ibnnet/resnet_ibn.py of github.com/XingangPan/IBN-Net, commit d1673389b36c1180cf9bc35ea8260d84046da915 (MIT). Their
# embeddings were the same as ours then, to rounding.
PUBLIC = {
    "resnet18_ibn_a": "a525b57de811216a3d8e74f6c228fcaa6f4f673440a8d7156f9c5171911319b1",
    "resnet34_ibn_a": "b3735bb5732d64840348346d3c470b53ae1e5e48e5f5ff713718c4f9abf5ec75",
    "resnet50_ibn_a": "3aec5b1b5a1fc7cc2e93999f2f02b56572c9d8889bf46bbbe6975c03b09e4bbc",
    "resnet101_ibn_a": "e5378ffc140e56b411605400eef98b5d9bf4f15a9b44956c95b884eee2a128c5",
    "resnet152_ibn_a": "faf1df021c929bbc96b8b8f9ef8d9e9cd01e8b496fcbfaabe8bac8e85eec5ff7",
}


def built(name, size=(64, 32), **changes):
    return Embedder(model().network.model_copy(update={"backbone": name, **changes}), size)


def naive(state, x, training):
    """What a network with these arrays has to give, written out from the paper."""

    def norm(x, key):
        if f"{key}.IN.weight" in state:
            half = len(state[f"{key}.IN.weight"])
            return torch.cat([norm(x[:, :half], f"{key}.IN"), norm(x[:, half:], f"{key}.BN")], 1)
        return normed(state, x, key, training)

    def convolution(x, key, stride=1):
        weight = state[f"{key}.weight"]
        return functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def block(x, key, stride):
        bottleneck = f"{key}.conv3.weight" in state
        residual = norm(convolution(x, f"{key}.conv1", 1 if bottleneck else stride), f"{key}.bn1").clamp(min=0)
        residual = norm(convolution(residual, f"{key}.conv2", stride if bottleneck else 1), f"{key}.bn2")
        if bottleneck:
            residual = norm(convolution(residual.clamp(min=0), f"{key}.conv3"), f"{key}.bn3")
        if f"{key}.downsample.0.weight" in state:
            x = norm(convolution(x, f"{key}.downsample.0", stride), f"{key}.downsample.1")
        return (residual + x).clamp(min=0)

    x = functional.max_pool2d(norm(convolution(x, "conv1", 2), "bn1").clamp(min=0), 3, 2, 1)
    for stage in (1, 2, 3, 4):
        blocks = {key.split(".")[1] for key in state if key.startswith(f"layer{stage}.")}
        for number in range(len(blocks)):
            x = block(x, f"layer{stage}.{number}", 2 if stage > 1 and number == 0 else 1)
    return x.mean((2, 3))


@pytest.mark.parametrize("name", IBNS)
def test_arrays_are_the_authors_by_name_shape_and_type(name):
    assert digest(built(name).backbone.state_dict()) == PUBLIC[name]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["resnet18_ibn_a", "resnet50_ibn_a"])
def test_features_are_those_of_the_paper(name, training):
    torch.manual_seed(0)
    network = shuffled(built(name).backbone).double().train(training)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    x = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(4)).double()
    with torch.no_grad():
        expected = naive(state, x, training)
        assert expected.std(0).mean() > 0.05
        torch.testing.assert_close(network(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_authors_file_is_found_whole_but_for_its_classifier(tmp_path, wrapped):
    torch.manual_seed(1)
    state = built("resnet18_ibn_a").backbone.state_dict()
    state |= nn.Linear(512, 7).state_dict(prefix="fc.")
    path = tmp_path / "resnet18_ibn_a-2f571257.pth"
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}} if wrapped else state, path)
    changes = {"network.backbone": "resnet18_ibn_a", "network.weights": str(path)}
    found, _ = find_init(model(changes))
    assert (found.share, found.missing) == (1, [])
    assert {name for name, _ in found.left_out} == {"fc.weight", "fc.bias"}
    assert torch.equal(found.arrays["backbone.layer3.1.bn1.IN.weight"], state["layer3.1.bn1.IN.weight"])


def test_of_a_plain_resnet_all_but_these_norms_is_taken(tmp_path):
    """As Torchreid's network of this name begins with torchvision's weights."""
    path = tmp_path / "resnet18.pth"
    torch.save(built("resnet18").backbone.state_dict(), path)
    found, _ = find_init(model({"network.backbone": "resnet18_ibn_a", "network.weights": str(path)}))
    norms = [f"backbone.layer{stage}.{block}.bn1" for stage in (1, 2, 3) for block in (0, 1)]
    assert {name.rsplit(".", 2)[0] for name in found.missing} == set(norms)
    assert {f"backbone.{name.rsplit('.', 1)[0]}" for name, _ in found.left_out} == set(norms)


def test_stride_and_sizes():
    network = built("resnet18_ibn_a", last_stride=1).backbone
    assert all(module.stride != (2, 2) for module in network.layer4.modules() if isinstance(module, nn.Conv2d))
    with pytest.raises(ReidError, match="resnet18_ibn_a .* does not take images of 16x16"):
        built("resnet18_ibn_a", (16, 16))
    with pytest.raises(ReidError, match="drop_path: resnet18_ibn_a has none"):
        built("resnet18_ibn_a", drop_path=0.1)
    with pytest.raises(ReidError, match="resnet18_ibn_a has no weights by name; give the path of one of IBN-Net's"):
        find_init(model({"network.backbone": "resnet18_ibn_a", "network.weights": "DEFAULT"}))
