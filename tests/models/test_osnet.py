"""OSNet and OSNet-AIN: Torchreid's arrays by name, and the papers' networks written out with plain functions."""

import importlib.util
import math
import os
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from builders.networks import digest, normed, shuffled
from reid.core.errors import ReidError
from reid.models.osnet import osnet
from reid.params.backbones import OSNETS

pytestmark = pytest.mark.usefixtures("one_thread")

# SHA-256 of the sorted lines "name shape dtype" of what Torchreid's networks hold, without classifier.*. Made with
# torchreid/models/osnet.py and osnet_ain.py of github.com/SoccerNet/sn-reid, commit
# 621e2b0f2d2a7a3e207b8dd747542b6608bf72db (MIT), by digest() of osnet_x1_0(pretrained=False).state_dict() etc.
TORCHREID = {
    "osnet_x1_0": "5d98728eff6513b810bfde7e6700b3b85b93aaee6c41561977d2f2872efb5644",
    "osnet_x0_75": "582662fb13f2df0308b9c7ceff096b948856d24f9dc52c7410a7e22d198c5b6a",
    "osnet_x0_5": "cfbab51a9e178b0f38807d0884ebc9919a32b03f875ff1f528a25122828c3bf5",
    "osnet_x0_25": "094e4667e76b42d8045e3115540acb58b4053b6ab1b0b73db69ddc274a2d7bd9",
    "osnet_ain_x1_0": "779213461a9f9692915c467078daa56691a7b59744862dacf014c3e6966554d9",
    "osnet_ain_x0_75": "5678259f74dd97a902cac2c6412eb29460f0003b5871cee188a6d3784812a5fe",
    "osnet_ain_x0_5": "87e1deea9ec2929e96b564dfc30cd434232f8c894bca6bc681b496edc015b3ca",
    "osnet_ain_x0_25": "bb8434a023a7080fc34c94de2a06fcd3e8f3c0b3dd064af19b85d0a36045ab73",
}
# millions of parameters without a classifier, and thousands of millions of multiplications for an image of 256x128:
# docs/MODEL_ZOO.md of the same commit; instance norm in place of batch norm changes neither
SIZES = {"x1_0": (2.2, 0.98), "x0_75": (1.3, 0.57), "x0_5": (0.6, 0.27), "x0_25": (0.2, 0.08)}
NARROW = ["osnet_x0_25", "osnet_ain_x0_25"]  # for what the width has no part in
CHILDREN = {
    "osnet": ["conv1", "maxpool", "conv2", "conv3", "conv4", "conv5", "pool", "flatten", "fc"],
    "osnet_ain": [
        *("conv1", "maxpool", "conv2", "pool2", "conv3", "pool3", "conv4", "conv5", "pool", "flatten", "fc")
    ],
}


@pytest.fixture(scope="module", params=OSNETS)
def built(request):
    """Name and network, for tests that leave it as it is."""
    return request.param, osnet(request.param).eval()


def kind(name):
    return name.rpartition("_x")[0]


def images(count, height, width, seed=4):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def mean(x):
    return x.mean((2, 3), keepdim=True)


def naive(state, x, training=False, pool=mean):
    """What a network with these arrays has to give, written out from the papers."""

    def norm(x, key):
        return normed(state, x, key, training)

    def convolution(x, key, **how):
        return functional.conv2d(x, state[f"{key}.weight"], state.get(f"{key}.bias"), **how)

    def layer(x, key, **how):
        return norm(convolution(x, f"{key}.conv", **how), f"{key}.bn").clamp(min=0)

    def lite(x, key):
        x = convolution(convolution(x, f"{key}.conv1"), f"{key}.conv2", padding=1, groups=x.shape[1])
        return norm(x, f"{key}.bn").clamp(min=0)

    def gate(x, key):
        hidden = convolution(mean(x), f"{key}.fc1").clamp(min=0)
        return x / (1 + torch.exp(-convolution(hidden, f"{key}.fc2")))

    def block(x, key):
        middle, merged = layer(x, f"{key}.conv1"), 0
        for t in (1, 2, 3, 4):
            stream = middle
            for i in range(t):
                place = f"conv2.{t - 1}.layers.{i}" if ain else "conv2a" if t == 1 else f"conv2{'_abcd'[t]}.{i}"
                stream = lite(stream, f"{key}.{place}")
            merged = merged + gate(stream, f"{key}.gate")
        residual = convolution(merged, f"{key}.conv3.conv")
        residual = norm(residual, f"{key}.IN" if f"{key}.IN.weight" in state else f"{key}.conv3.bn")
        if f"{key}.downsample.conv.weight" in state:
            x = norm(convolution(x, f"{key}.downsample.conv"), f"{key}.downsample.bn")
        return (residual + x).clamp(min=0)

    ain = "conv1.bn.running_mean" not in state
    x = layer(x, "conv1", stride=2, padding=3)
    x = functional.max_pool2d(x, 3, 2, 1)
    for stage in (2, 3, 4):
        x = block(block(x, f"conv{stage}.0"), f"conv{stage}.1")
        if stage < 4:
            x = layer(x, f"pool{stage}.0" if ain else f"conv{stage}.2.0")
            x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    x = pool(layer(x, "conv5")).flatten(1) @ state["fc.0.weight"].T + state["fc.0.bias"]
    return norm(x[:, :, None, None], "fc.1").clamp(min=0).flatten(1)


def close(result, expected, bound):
    """Equal within ``bound``, and neither zero nor the same for all images."""
    assert result.shape == expected.shape
    assert expected.std(0).mean() > 0.05
    difference = (result - expected).abs().max()
    assert difference <= bound
    return float(difference)


def test_arrays_are_torchreids_by_name_shape_and_type(built):
    name, network = built
    assert digest(network.state_dict()) == TORCHREID[name]


@pytest.mark.parametrize(
    ("name", "training"), [*((name, False) for name in OSNETS), *((name, True) for name in NARROW)]
)
def test_features_are_those_of_the_papers(name, training):
    network = shuffled(osnet(name)).double().train(training)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    x = images(4, 64, 32).double()
    with torch.no_grad():
        close(network(x), naive(state, x, training), 1e-9)


@pytest.mark.parametrize("name", OSNETS)
def test_public_network_gives_the_same(name, tmp_path):
    folder = os.environ.get("SN_REID")
    if not folder:
        pytest.skip("SN_REID does not name a checkout of github.com/SoccerNet/sn-reid")
    path = Path(folder) / "torchreid/models" / f"{kind(name)}.py"
    spec = importlib.util.spec_from_file_location(f"public_{kind(name)}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    public = shuffled(getattr(module, name)(num_classes=11, pretrained=False, loss="triplet"))
    assert digest(public.state_dict()) == TORCHREID[name]
    checkpoint = {"state_dict": public.state_dict(), "epoch": 3, "rank1": 0.5, "optimizer": {}, "scheduler": {}}
    torch.save(checkpoint, tmp_path / "model.pth.tar-3")
    state = torch.load(tmp_path / "model.pth.tar-3", weights_only=True)["state_dict"]
    del state["classifier.weight"], state["classifier.bias"]
    network = osnet(name)
    network.load_state_dict(state)  # refuses a missing and a foreign name
    public.eval()
    network.eval()
    with torch.no_grad():
        for x in (images(3, 256, 128), images(3, 128, 64)):
            print(name, tuple(x.shape[2:]), "largest difference", close(network(x), public(x), 1e-4))
        public.train()
        network.train()
        x = images(6, 128, 64)
        print(name, "in training", close(network(x), public(x)[1], 1e-4))


def test_numbers_of_parameters_and_multiplications_are_the_published(built):
    name, network = built
    counts = []

    def count(module, _, output):
        counts.append(module.weight[0].numel() * output.numel())

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 256, 128)).shape == (1, 512)
    for hook in hooks:
        hook.remove()
    parameters = sum(value.numel() for value in network.parameters())
    assert (round(parameters / 1e6, 1), round(sum(counts) / 1e9, 2)) == SIZES["x" + name.rpartition("_x")[2]]


def test_instance_norm_is_where_the_search_put_it_and_nothing_drops_out(built):
    name, network = built
    modules = dict(network.named_modules())
    normed = {key for key, module in modules.items() if isinstance(module, nn.InstanceNorm2d)}
    expected = {"conv1.bn", "conv2.0.IN", "conv2.1.IN", "conv3.1.IN", "conv4.0.IN"} if "ain" in name else set()
    assert normed == expected
    assert not any(isinstance(module, nn.modules.dropout._DropoutNd) for module in modules.values())


@pytest.mark.parametrize("name", NARROW)
def test_gradients_reach_every_parameter(name):
    network = shuffled(osnet(name)).double().eval()
    for key, value in network.named_parameters():
        if key.endswith("gate.fc1.bias"):
            value.data += 10  # a gate may have one hidden unit alone, which must not be off
    network(images(2, 64, 32).double()).sum().backward()
    assert [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize("size", [(32, 16), (16, 32), (61, 37)])
@pytest.mark.parametrize("name", NARROW)
def test_two_images_are_enough_to_train_on(name, size):
    network = osnet(name)
    assert network.training
    features = network(images(2, *size))
    assert features.shape == (2, network.width) == (2, 512)
    assert features.dtype == torch.float32
    assert features.isfinite().all()
    features.square().sum().backward()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert norms
    # a lite convolution is met once in a pass, so each norm has seen one batch
    assert all(module.num_batches_tracked == 1 for module in norms)


@pytest.mark.parametrize("name", NARROW)
def test_children_are_the_layers_in_the_order_of_the_pass(name):
    network = osnet(name).eval()
    met = []
    for key, child in network.named_children():
        child.register_forward_hook(lambda *_, key=key: met.append(key))
    with torch.no_grad():
        network(images(1, 32, 32))
    assert met == [key for key, _ in network.named_children()] == CHILDREN[kind(name)]


class Peak(nn.Module):
    def __init__(self, keepdim):
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x):
        return x.amax((2, 3), keepdim=self.keepdim)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("name", NARROW)
def test_pooling_can_be_replaced(name, keepdim):
    network = shuffled(osnet(name)).double().eval()
    x = images(3, 64, 48).double()
    with torch.no_grad():
        before = network(x)
        network.pool = Peak(keepdim)
        close(network(x), naive(network.state_dict(), x, pool=lambda x: x.amax((2, 3))), 1e-9)
        assert (network(x) - before).abs().max() > 0.05
    assert [key for key, _ in network.named_children()] == CHILDREN[kind(name)]


@pytest.mark.parametrize("name", ["osnet_x1_0", "osnet_ain_x1_0"])
def test_random_weights_start_as_torchreids(name):
    torch.manual_seed(8)
    for key, parameter in osnet(name).named_parameters():
        value = parameter.detach()
        if value.ndim == 1:
            assert (value == (0 if key.endswith("bias") else 1)).all(), key
            continue
        spread = 0.01 if key == "fc.0.weight" else math.sqrt(2 / (value.shape[0] * value.shape[2] * value.shape[3]))
        error = 1 / math.sqrt(value.numel())  # about that of the mean and of the standard deviation, in spreads
        assert abs(float(value.mean()) / spread) < 5 * error, key
        assert abs(float(value.std()) / spread - 1) < 5 * error, key


@pytest.mark.parametrize("name", ["osnet_x2_0", "osnet_ibn_x1_0", "resnet50"])
def test_another_name_is_refused(name):
    with pytest.raises(ReidError, match=f"no {name}; the OSNets are osnet_x1_0, "):
        osnet(name)
