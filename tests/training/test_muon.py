"""Muon against a plain loop over matrices, and against torch's own optimizers."""

import io

import pytest
import torch
from torch import nn

from builders.model import model
from builders.training import CHEAP, equal, trainer_of, weights
from reid.models.embedder import Embedder
from reid.training import muon, optimizers
from reid.training.muon import matrices_of, orthogonalised

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = [(8, 8), (8, 72), (40, 8), (1, 9), (24, 23)]


def newton_schulz(matrix):
    """Jordan's five steps as he writes them, one matrix at a time, in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.double() / (matrix.double().norm() + 1e-7)
    wide = x.T if len(x) > x.shape[1] else x
    for _ in range(5):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide.T if len(x) > x.shape[1] else wide


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1e-6, 1, 1e6])
def test_singular_values_are_brought_near_1_as_by_the_plain_steps(shape, size):
    matrices = size * torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    matrices[1, : len(matrices[1]) // 2] = 0  # of a lower rank
    found = orthogonalised(matrices)
    wanted = torch.stack([newton_schulz(matrix) for matrix in matrices]).float()
    torch.testing.assert_close(found[::2], wanted[::2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, wanted, atol=5e-5, rtol=1e-5)
    values = torch.linalg.svdvals(found)
    relative = torch.linalg.svdvals(matrices) / torch.linalg.matrix_norm(matrices)[:, None]
    assert ((values > 0.65) & (values < 1.25))[relative > 0.01].all()
    assert torch.equal(orthogonalised(torch.zeros(2, *shape)), torch.zeros(2, *shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_in_bfloat16_it_is_the_same_to_its_precision(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    found = orthogonalised(matrices.bfloat16())
    assert found.dtype == torch.bfloat16
    wanted = torch.stack([newton_schulz(matrix) for matrix in matrices]).float()
    assert (found.float() - wanted).norm() < 0.03 * wanted.norm()


def embedder(backbone, size=(32, 16), pooling="average"):
    torch.manual_seed(3)
    changes = {"network.backbone": backbone, "network.pooling": pooling}
    return Embedder(model({**changes, "network.projection": {"width": 8, "kind": "linear"}}).network, size)


MUON = {
    "kind": "muon",
    "learning_rate": 0.03,
    "adamw_learning_rate": 0.002,
    "weight_decay": 0.05,
    "precision": "fp32",
}


def made(network, **changes):
    return optimizers.make(model({"optimizer": {**MUON, **changes}}).optimizer, network, nn.Linear(4, 3))


def test_three_matrices_are_taken_apart_where_there_are_three():
    class Attention(nn.Module):
        def __init__(self, rows):
            super().__init__()
            self.first, self.qkv = nn.Linear(6, 6), nn.Linear(6, rows)

    for rows, count in ((18, 3), (12, 1), (24, 1)):
        network = Attention(rows)
        assert matrices_of(network) == {id(network.qkv.weight): count}


@pytest.mark.parametrize(
    "backbone, size, pooling, some, others",
    [
        (
            "resnet18",
            (32, 16),
            "average",
            {"layer1.0.conv1.weight": 1, "layer2.0.downsample.0.weight": 1},
            ["conv1.weight", "bn1.weight", "bn1.bias"],
        ),
        (
            "osnet_x0_25",
            (32, 16),
            "average",
            {"conv2.0.conv1.conv.weight": 1, "fc.0.weight": 1},
            ["conv1.conv.weight", "conv2.0.conv2a.conv2.weight", "fc.0.bias"],
        ),
        (
            "vit_tiny_patch16_224",
            (32, 16),
            "token",
            {"blocks.0.attn.qkv.weight": 3, "blocks.11.mlp.fc1.weight": 1},
            ["patch_embed.proj.weight", "cls_token", "pos_embed", "norm.weight", "blocks.0.attn.qkv.bias"],
        ),
    ],
)
def test_kernels_and_matrices_inside_the_backbone_are_muons(backbone, size, pooling, some, others):
    network = embedder(backbone, size, pooling)
    named = dict(network.backbone.named_parameters())
    found = matrices_of(network.backbone)
    assert {name: found[id(named[name])] for name in some} == some
    assert not {id(named[name]) for name in others} & set(found)
    optimizer = made(network)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(groups) == len(list(network.parameters())) + 2  # and those of the losses
    assert {key for key, group in groups.items() if group["matrices"]} == set(found)
    assert groups[id(network.projection.weight)]["lr"] == pytest.approx(0.002)
    assert groups[id(named[next(iter(some))])]["lr"] == 0.03


def test_queries_keys_and_values_of_torchs_attention_are_three_matrices():
    backbone = nn.Sequential(nn.Conv2d(3, 8, 4), nn.TransformerEncoderLayer(8, 2, 16))
    found, named = matrices_of(backbone), dict(backbone.named_parameters())
    assert {name: found[id(p)] for name, p in named.items() if id(p) in found} == {
        "1.self_attn.in_proj_weight": 3,
        "1.self_attn.out_proj.weight": 1,
        "1.linear1.weight": 1,
        "1.linear2.weight": 1,
    }


def gradients(parameters, seed):
    generator = torch.Generator().manual_seed(seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator)


def test_steps_are_those_of_a_plain_loop_and_of_torchs_adamw():
    network = embedder("vit_tiny_patch16_224", (32, 16), "token")
    network.backbone.blocks = network.backbone.blocks[:2]
    mixed = nn.ModuleList([network.backbone, embedder("osnet_x0_25").backbone.to(memory_format=torch.channels_last)])
    network.backbone = mixed
    optimizer = made(network)
    found = matrices_of(mixed)
    counts = [(p, found.get(id(p), 0)) for p in network.parameters()]
    plain = [nn.Parameter(p.detach().clone()) for p, _ in counts]
    others = [p for p, (_, count) in zip(plain, counts, strict=True) if not count]
    adamw = torch.optim.AdamW(others, lr=0.002, weight_decay=0.05)
    momenta = [torch.zeros_like(p) for p in plain]
    for step, rate in enumerate([0.03, 0.01, 0.02]):
        gradients(network.parameters(), step)
        gradients(plain, step)
        optimizers.set_rate(optimizer, rate)
        optimizer.step()
        adamw.param_groups[0]["lr"] = rate * 0.002 / 0.03
        adamw.step()
        for p, momentum, (_, count) in zip(plain, momenta, counts, strict=True):
            if count:
                momentum.mul_(0.95).add_(0.05 * p.grad)
                update = (0.05 * p.grad + 0.95 * momentum).flatten(1)
                new = torch.cat([newton_schulz(third) for third in update.chunk(count)])
                new *= max(1, len(new) / count / new.shape[1]) ** 0.5
                p.data = (1 - rate * 0.05) * p.data - rate * new.reshape(p.shape).float()
    for (p, _), wanted in zip(counts, plain, strict=True):
        torch.testing.assert_close(p, wanted, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_a_step_is_torchs_muon_to_the_precision_of_its_bfloat16(precision):
    torch.manual_seed(4)
    layers = nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 40), nn.Linear(40, 16))
    network = embedder("osnet_x0_25")
    network.backbone = layers
    optimizer = made(network, precision=precision)
    plain = [nn.Parameter(layer.weight.detach().clone()) for layer in layers[1:]]
    torchs = torch.optim.Muon(plain, lr=0.03, weight_decay=0.05, momentum=0.95)
    before = [p.detach().clone() for p in plain]
    for step in range(3):
        gradients(plain, step)
        network.zero_grad()
        for layer, p in zip(layers[1:], plain, strict=True):
            layer.weight.grad = p.grad.clone()
        optimizer.step()
        torchs.step()
    for layer, p, old in zip(layers[1:], plain, before, strict=True):
        assert (layer.weight - p).norm() < 0.03 * (p - old).norm()


def test_a_step_leaves_tf32_as_it_is(monkeypatch):
    """A thread changes the next batch meanwhile, and its products must not depend on when they come."""
    seen = []
    monkeypatch.setattr(
        muon, "orthogonalised", lambda m: seen.append(torch.backends.cuda.matmul.allow_tf32) or orthogonalised(m)
    )
    network = embedder("osnet_x0_25")
    gradients(network.parameters(), 1)
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = True
        made(network, precision="bf16").step()
        assert set(seen) == {True}
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def test_learning_rate_by_depth_and_of_biases_and_parameters_without_a_gradient():
    network = embedder("resnet18")
    optimizer = made(network, layer_decay=0.5, bias_scale=64)
    named = dict(network.backbone.named_parameters())
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    last, bias = groups[id(named["layer4.1.conv2.weight"])], groups[id(named["layer4.1.bn2.bias"])]
    assert last["lr"] == pytest.approx(0.015) and bias["lr"] == pytest.approx(0.001 * 64)
    assert bias["lr"] * bias["weight_decay"] == pytest.approx(0.001 * 0.05)  # as much decay as without the scale
    before = {name: p.detach().clone() for name, p in named.items()}
    network.zero_grad()
    named["layer4.1.conv2.weight"].grad = torch.randn_like(named["layer4.1.conv2.weight"])
    optimizer.step()
    assert [name for name, p in named.items() if not torch.equal(p, before[name])] == ["layer4.1.conv2.weight"]


@pytest.mark.parametrize("lookahead", [None, {"steps": 2}])
def test_a_resumed_optimizer_goes_on_to_the_same_bytes(lookahead):
    def steps(optimizer, network, some):
        for step in some:
            gradients(network.parameters(), step)
            optimizers.set_rate(optimizer, 0.01 * (step + 1))
            optimizer.step()

    whole, first, second = (embedder("osnet_x0_25") for _ in range(3))
    steps(made(whole, lookahead=lookahead), whole, range(5))
    optimizer = made(first, lookahead=lookahead)
    steps(optimizer, first, range(3))
    file = io.BytesIO()
    torch.save({"network": first.state_dict(), "optimizer": optimizer.state_dict()}, file)
    kept = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    second.load_state_dict(kept["network"])
    again = made(second, lookahead=lookahead)
    again.load_state_dict(kept["optimizer"])
    steps(again, second, range(3, 5))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_a_training_learns_and_resumes_where_it_was():
    changes = {**CHEAP, "optimizer": {**MUON, "bias_scale": 8}, "loss": {"supcon": {"temperature": 0.1}}, "epochs": 4}
    whole, first, second = (trainer_of(changes) for _ in range(3))
    while whole.progress < 1:
        while not whole.epoch_is_over:
            whole.step()
        whole.end_epoch()
    assert whole.history[-1].losses["loss"] < 0.9 * whole.history[0].losses["loss"]
    for _ in range(2):
        first.step()
    second.restore(first.state())
    while second.progress < 1:
        while not second.epoch_is_over:
            second.step()
        second.end_epoch()
    assert equal(weights(whole.network), weights(second.network))
