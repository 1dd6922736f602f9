"""Groups of parameters by depth, and which optimizer is made."""

import pytest
import torch

from builders.model import model
from reid.models.embedder import Embedder
from reid.training import optimizers

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = {
    "adamw": (torch.optim.AdamW, {}),
    "adam": (torch.optim.Adam, {"amsgrad": False}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": False}),
    "rmsprop": (torch.optim.RMSprop, {"momentum": 0.9, "alpha": 0.99}),
    "radam": (torch.optim.RAdam, {"decoupled_weight_decay": True}),
}


def made(network, **changes):
    params = model({f"optimizer.{key}": value for key, value in changes.items()}).optimizer
    criterion = torch.nn.Linear(4, 3)
    return optimizers.make(params, network, criterion), criterion


def embedder(size=(32, 16), **changes):
    return Embedder(model({f"network.{key}": value for key, value in changes.items()}).network, size)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_trains_every_parameter_once_with_the_kits_settings(kind):
    network = embedder(backbone="osnet_x0_25", projection={"width": 8, "kind": "linear"})
    optimizer, criterion = made(network, kind=kind, learning_rate=0.02, weight_decay=0.03)
    wanted, settings = KINDS[kind]
    assert type(optimizer) is wanted
    for group in optimizer.param_groups:
        assert group["lr"] == 0.02 and group["weight_decay"] == 0.03
        assert all(group[key] == value for key, value in settings.items())
    trained = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in [*network.parameters(), *criterion.parameters()])


@pytest.mark.parametrize(
    "backbone, size, pooling, order",
    [
        ("resnet18", (32, 16), "average", ["conv1", "bn1", "layer1.0", "layer1.1", "layer2.0", "layer4.1"]),
        ("osnet_x0_25", (32, 16), "average", ["conv1", "conv2.0", "conv3.0", "conv4.0", "fc"]),
        ("vit_tiny_patch16_224", (32, 16), "token", ["cls_token", "patch_embed", "blocks.0", "blocks.11", "norm"]),
        (
            "vit_b_32",  # whose blocks lie in an ``Encoder``
            (224, 224),
            "token",
            ["class_token", "conv_proj", *(f"encoder.layers.encoder_layer_{i}." for i in range(12)), "encoder.ln"],
        ),
        (
            "convnext_tiny",
            (32, 32),
            "average",
            ["features.0", "features.1.0", "features.1.2", "features.2", "features.7"],
        ),
    ],
)
def test_learning_rate_falls_from_the_end_of_the_backbone_to_its_beginning(backbone, size, pooling, order):
    network = embedder(size, backbone=backbone, pooling=pooling, projection={"width": 8, "kind": "linear"})
    optimizer, _ = made(network, learning_rate=0.1, layer_decay=0.5)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    named = dict(network.named_parameters())
    assert len(rate) == len(named) + 2
    rates = [next(rate[id(p)] for name, p in named.items() if name.startswith(f"backbone.{part}")) for part in order]
    assert rates == sorted(rates) and len(set(rates)) == len(rates)
    last = max(rate[id(p)] for name, p in named.items() if name.startswith("backbone."))
    assert last == pytest.approx(0.05)  # the last block is one step from the whole
    assert rate[id(network.projection.weight)] == 0.1


@pytest.mark.parametrize("kind", [*KINDS, "muon"])
def test_a_first_step_that_fp16_skips_leaves_nothing_behind(kind, monkeypatch, torch_as_it_was):
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)  # with NaN, which spreads
    torch.use_deterministic_algorithms(True)
    start, after = embedder().state_dict(), []
    for gradients in ([torch.inf, 1.0], [1.0]):
        network = embedder()
        network.load_state_dict(start)
        optimizer, _ = made(network, kind=kind, **({"adamw_learning_rate": 0.001} if kind == "muon" else {}))
        scaler = torch.amp.GradScaler("cpu", init_scale=1.0, backoff_factor=0.5)
        for gradient in gradients:
            scaler.scale(sum(p.sum() for p in network.parameters()) * gradient).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        after.append([p.detach() for p in network.parameters()])
    for skipped, at_once in zip(*after, strict=True):
        torch.testing.assert_close(skipped, at_once, rtol=1e-5, atol=1e-6)


def test_set_rate_keeps_the_shares():
    network = embedder()
    optimizer, _ = made(network, learning_rate=0.1, layer_decay=0.5)
    before = [group["lr"] for group in optimizer.param_groups]
    optimizers.set_rate(optimizer, 0.01)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate / 10 for rate in before])
