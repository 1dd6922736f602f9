"""Backbones and poolings that an extension registers."""

import sys

import pytest
import torch

from builders.model import model
from reid.core.errors import ReidError
from reid.models.checkpoint import load, save, set_arrays
from reid.models.embedder import Embedder
from reid.models.pretrained import find_init
from reid.params import extensions
from reid.params.registries import ALL
from reid.params.schema import section_class

pytestmark = pytest.mark.usefixtures("one_thread")

PARTS = '''
import torch
from torch import nn

from reid.params import BACKBONES, POOLINGS, Field, Section


class Strided(Section):
    """One convolution."""

    width: int = Field(6, ge=1)
    lambda_: float = Field(1.0, alias="lambda")
    dropout: float | None = None


@BACKBONES.register("strided", Strided)
class Convolution(nn.Module):
    def __init__(self, params, size):
        super().__init__()
        self.first = nn.Conv2d(3, params.width, 4, 4)
        self.expected = size

    def forward(self, x):
        assert tuple(x.shape[2:]) == self.expected
        return self.first(x)


@BACKBONES.register("flat", Section)
def flat(params, size):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size[0] * size[1], 5))


class Tokens(nn.Module):
    def forward(self, x):
        return x.flatten(2).transpose(1, 2)


@BACKBONES.register("tokens", Section)
def tokens(params, size):
    return Tokens()


class Power(Section):
    """Signed power of the peak."""

    exponent: float = 1.0


@POOLINGS.register("peak", Power)
class Peak(nn.Module):
    def __init__(self, params):
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(params.exponent))

    def forward(self, x):
        return x.amax((2, 3)) * self.exponent


@POOLINGS.register("normed", Section)
def normed(params):
    return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.BatchNorm2d(6))
'''
BROKEN = """
from torch import nn

from reid.params import BACKBONES, POOLINGS, Section


@BACKBONES.register("unbuilt", Section)
def unbuilt(params, size):
    return 1 / 0


@BACKBONES.register("nothing", Section)
def nothing(params, size):
    return None


@BACKBONES.register("wrong_signature", Section)
def wrong_signature(params):
    return nn.Identity()


class Fails(nn.Module):
    def forward(self, x):
        return {}["key"]


@BACKBONES.register("fails", Section)
def fails(params, size):
    return Fails()


@BACKBONES.register("pair", Section)
def pair(params, size):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    return Pair()


@BACKBONES.register("resnet18", Section)
def taken(params, size):
    return nn.Identity()


@POOLINGS.register("unbuilt", Section)
def unbuilt_pooling(params):
    return params.size


@POOLINGS.register("fails", Section)
def failing_pooling(params):
    return Fails()


class Shaped(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(x)


@BACKBONES.register("places_as_rows", Section)
def places_as_rows(params, size):
    return Shaped(lambda x: x.permute(0, 2, 3, 1).reshape(-1, 3))


@BACKBONES.register("one_row", Section)
def one_row(params, size):
    return Shaped(lambda x: x.mean((0, 2, 3))[None])


@BACKBONES.register("places", Section)
def places(params, size):
    return nn.Identity()


@POOLINGS.register("one_row", Section)
def one_row_for_all(params):
    return Shaped(lambda x: x.mean((0, 2, 3)))
"""


@pytest.fixture
def extend(tmp_path):
    """``extend(name, text)`` writes and loads an extension, which is forgotten after the test."""
    registries, modules = [registry.snapshot() for registry in ALL], set(sys.modules)

    def write(name, text):
        folder = tmp_path / "extensions"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(text)
        extensions.load(folder)

    def forget():
        for registry, state in zip(ALL, registries, strict=True):
            registry.restore(state)
        for name in set(sys.modules) - modules:
            if name.startswith("reid_extensions."):
                del sys.modules[name]

    write.forget = forget
    yield write
    forget()


def build(backbone="resnet18", size=(32, 16), **changes):
    torch.manual_seed(0)
    params = section_class("Network").model_validate({"backbone": backbone, **changes})
    return Embedder(params, size).eval()


def images(count, size, seed=0):
    return torch.randint(0, 256, (count, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def embed(network, batch):
    with torch.no_grad():
        return network(network.prepare(batch))


@pytest.mark.parametrize("backbone, width", [("strided", 6), ({"kind": "strided", "width": 9}, 9)])
def test_map_of_a_registered_backbone_is_averaged(extend, backbone, width):
    extend("parts", PARTS)
    network = build(backbone)
    batch = images(3, (64, 32))
    wanted = network.backbone.first(network.prepare(batch)).mean((2, 3))
    assert network.width == width
    torch.testing.assert_close(embed(network, batch), wanted.detach())


def test_vectors_of_a_registered_backbone_stay_as_they_are_and_tokens_give_the_first(extend):
    extend("parts", PARTS)
    batch = images(3, (32, 16))
    flat, tokens = build("flat"), build("tokens", pooling="token")
    assert torch.equal(embed(flat, batch), flat.backbone(flat.prepare(batch)).detach())
    assert torch.equal(embed(tokens, batch), tokens.prepare(batch)[:, :, 0, 0])


@pytest.mark.parametrize(
    "backbone, width", [("strided", 6), ("resnet18", 512), ("convnext_tiny", 768), ("timm/resnet18", 512)]
)
def test_registered_pooling_replaces_that_of_any_backbone_that_has_a_map(extend, backbone, width):
    extend("parts", PARTS)
    one, two = (build(backbone, (64, 32), pooling={"kind": "peak", "exponent": power}) for power in (1.0, 2.0))
    batch = images(2, (64, 32))
    assert one.width == width
    assert embed(one, batch).abs().sum() > 0
    if backbone != "convnext_tiny":  # which has a norm after the pooling
        torch.testing.assert_close(embed(two, batch), 2 * embed(one, batch))
    if "resnet18" in backbone:
        maps = []
        one.backbone.layer4.register_forward_hook(lambda *args: maps.append(args[2]))
        torch.testing.assert_close(embed(one, batch), maps[0].amax((2, 3)))


def test_osnets_layer_after_the_pooling_takes_a_registered_one(extend):
    extend("parts", PARTS)
    network = build("osnet_x0_25", pooling="peak")
    maps = []
    network.backbone.conv5.register_forward_hook(lambda *args: maps.append(args[2]))
    embeddings = embed(network, images(2, (32, 16)))
    torch.testing.assert_close(embeddings, network.backbone.fc(maps[0].amax((2, 3))).detach())


def test_registered_parts_are_trained_with_the_rest(extend):
    extend("parts", PARTS)
    network = build("strided", pooling="peak", projection={"width": 4}, bnneck=True).train()
    network(network.prepare(images(4, (32, 16)))).square().sum().backward()
    names = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert {"backbone.first.weight", "pool.exponent", "projection.weight", "bnneck.weight"} <= names
    assert sum(map(len, network.blocks())) == 2
    assert network.cost()["parameters"] == sum(p.numel() for p in network.parameters())


def test_pooling_with_a_norm_is_tried_without_a_trace(extend):
    extend("parts", PARTS)
    network = build("strided", pooling="normed")
    assert network.width == 6
    assert not network.pool[1].num_batches_tracked


@pytest.mark.parametrize("backbone", ["strided", "resnet18"])
def test_checkpoint_with_registered_parts_is_loaded_as_it_was_saved(extend, tmp_path, backbone):
    extend("parts", PARTS)
    section = {"kind": "strided", "width": 7, "lambda": 0.5} if backbone == "strided" else backbone
    params = model({"network": {"backbone": section, "pooling": {"kind": "peak", "exponent": 3.0}}})
    built = Embedder(params.network, (32, 16)).eval()
    save(tmp_path / "a.safetensors", built, params)
    read = load(tmp_path / "a.safetensors")
    batch = images(2, (32, 16))
    assert torch.equal(embed(read, batch), embed(built, batch))
    save(tmp_path / "b.safetensors", read, params)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize(
    "network, words", [({"backbone": "strided"}, "the backbone strided"), ({"pooling": "peak"}, "the pooling peak")]
)
def test_checkpoint_whose_extension_is_gone_says_what_it_needs(extend, tmp_path, network, words):
    extend("parts", PARTS)
    params = model({f"network.{key}": value for key, value in network.items()})
    save(tmp_path / "m.safetensors", Embedder(params.network, (32, 16)), params)
    extend.forget()
    with pytest.raises(ReidError, match=rf"m\.safetensors: needs {words}, which no file of extensions/ registers"):
        load(tmp_path / "m.safetensors")


def test_pretrained_weights_of_a_registered_backbone_are_those_of_a_file(extend, tmp_path):
    extend("parts", PARTS)
    first = build("strided").backbone.first.state_dict()
    torch.save({f"first.{name}": value + 1 for name, value in first.items()}, tmp_path / "w.pth")
    params = model({"network.backbone": "strided", "network.weights": str(tmp_path / "w.pth")})
    match, _ = find_init(params)
    assert match.share == 1 and match.missing == [] and match.left_out == []
    network = Embedder(params.network, (32, 16))
    set_arrays(network, match.arrays)
    assert torch.equal(network.backbone.first.weight, first["weight"] + 1)
    with pytest.raises(ReidError, match=r"network\.weights: strided has no weights by name; give the path"):
        find_init(model({"network.backbone": "strided", "network.weights": "DEFAULT"}))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"backbone": "flat", "pooling": "gem"}, ["flat", "gem needs a map of places", "not 2 dimensions"]),
        ({"backbone": "flat", "pooling": "peak"}, ["flat (extensions/parts.py)", "peak needs a map of places"]),
        ({"backbone": "strided", "pooling": "token"}, ["strided", "token needs tokens, B x N x D"]),
        ({"backbone": "strided", "last_stride": 1}, ["network.last_stride: is 2 for strided"]),
        ({"backbone": "stridet"}, ["network.backbone", "stridet", "did you mean strided"]),
        ({"pooling": "peak", "backbone": "densenet121"}, ["densenet121 has no pooling that peak could replace"]),
        ({"pooling": "peak", "backbone": "vit_tiny_patch16_224"}, ["vit_tiny_patch16_224", "peak needs a map"]),
    ],
)
def test_parts_that_do_not_go_together_are_one_error(extend, changes, words):
    extend("parts", PARTS)
    with pytest.raises(ReidError) as caught:
        build(**changes)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"backbone": "unbuilt"}, ["network.backbone: unbuilt (extensions/broken.py, line 9)", "ZeroDivisionError"]),
        ({"backbone": "nothing"}, ["network.backbone: nothing (extensions/broken.py)", "gives a NoneType"]),
        ({"backbone": "wrong_signature"}, ["wrong_signature (extensions/broken.py)", "1 positional argument"]),
        ({"backbone": "fails"}, ["network.backbone: fails (extensions/broken.py, line 24)", "32x16", "KeyError"]),
        ({"backbone": "pair"}, ["pair (extensions/broken.py)", "gives a tuple, not a tensor"]),
        ({"backbone": "places_as_rows"}, ["places_as_rows (extensions/broken.py)", "two images give [1024, 3]"]),
        (
            {"backbone": "one_row"},
            ["one_row (extensions/broken.py)", "two images give [1, 3], which is no row for each"],
        ),
        ({"backbone": "resnet34", "pooling": "one_row"}, ["pooling one_row (extensions/broken.py)", "IndexError"]),
        (
            {"backbone": "places", "pooling": "one_row"},
            ["pooling one_row (extensions/broken.py)", "two images give [3]"],
        ),
        ({"backbone": "resnet18"}, ["an extension registers resnet18, which is torchvision's already"]),
        ({"backbone": "resnet34", "pooling": "unbuilt"}, ["network.pooling: unbuilt (extensions/broken.py, line 48)"]),
        ({"backbone": "resnet34", "pooling": "fails"}, ["pooling fails (extensions/broken.py, line 24)", "KeyError"]),
    ],
)
def test_registered_part_that_fails_is_one_error_that_names_its_file(extend, changes, words):
    extend("broken", BROKEN)
    with pytest.raises(ReidError) as caught:
        build(**changes)
    for word in words:
        assert word in str(caught.value)


def test_failure_at_another_size_names_the_parameter_that_asks_for_it(extend):
    extend("parts", PARTS)
    network = build("strided").train()
    with pytest.raises(ReidError, match=r"progressive_resizing: strided \(extensions/parts\.py, line \d+\).*24x12"):
        network.try_size((24, 12), "augmentation.progressive_resizing")
    assert network.training and network.backbone.training
