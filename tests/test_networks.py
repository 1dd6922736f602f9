"""Backbones without their classifier, pooling, neck, input preparation and checkpoints."""

import json
import os
import pickle

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from small import MODEL, NETWORK, model

from reid import networks
from reid.errors import ReidError
from reid.params import Network

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = "shufflenet_v2_x0_5"


def build(backbone="resnet18", size=(32, 16), seed=0, **changes):
    torch.manual_seed(seed)
    params = Network.model_validate({**NETWORK, "backbone": backbone, **changes})
    return networks.Embedder(params, size).eval()


def pictures(count, size, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8))


def embed(network, batch):
    with torch.no_grad():
        return network(network.prepare(batch))


@pytest.mark.parametrize(
    "backbone, width",
    [
        ("resnet18", 512),
        ("mobilenet_v3_small", 1024),
        ("efficientnet_b0", 1280),
        ("convnext_tiny", 768),
        ("densenet121", 1024),
        ("regnet_x_400mf", 400),
        ("shufflenet_v2_x0_5", 1024),
        ("googlenet", 1024),
    ],
)
def test_backbone_gives_a_row_of_features_per_picture(backbone, width):
    network = build(backbone, (64, 32))
    found = embed(network, pictures(3, (64, 32)))
    assert found.shape == (3, width)
    assert found.dtype == torch.float32
    assert network.width == width
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize(
    "backbone, last_stride, wanted", [("resnet18", 2, (4, 2)), ("resnet18", 1, (8, 4)), ("resnet50", 1, (8, 4))]
)
def test_last_stride_1_doubles_the_last_feature_map(backbone, last_stride, wanted):
    network = build(backbone, (128, 64), last_stride=last_stride)
    sizes = []
    network.backbone.layer4.register_forward_hook(lambda *args: sizes.append(tuple(args[2].shape[2:])))
    network.backbone.layer3.register_forward_hook(lambda *args: sizes.append(tuple(args[2].shape[2:])))
    embed(network, pictures(1, (128, 64)))
    assert sizes == [(8, 4), wanted]


def test_layer_after_the_pooling_is_linear_norm_relu_as_the_dev_kits():
    network = build(projection={"width": 200, "kind": "relu"})
    linear, norm, relu = network.projection
    assert tuple(linear.weight.shape) == (200, 512)
    assert float(linear.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert not linear.bias.detach().any()
    assert norm.num_features == 200
    assert isinstance(relu, torch.nn.ReLU)
    found = embed(network, pictures(3, (32, 16)))
    assert found.shape == (3, network.width) == (3, 200)
    assert (found >= 0).all()


def test_prepare_normalises_with_imagenets_mean_and_deviation():
    batch = pictures(2, (32, 16))
    found = build().prepare(batch)
    assert found.shape == (2, 3, 32, 16)
    for channel, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        wanted = (batch.numpy()[..., channel].astype(np.float64) / 255 - mean) / std
        np.testing.assert_allclose(found[:, channel].numpy(), wanted, atol=1e-6)


def test_prepare_resizes_pictures_of_another_size_without_aliasing():
    network = build(size=(32, 16))
    stripes = torch.zeros(1, 128, 64, 3, dtype=torch.uint8)
    stripes[:, ::2] = 200  # every other line: without a filter the result would be all 0 or all 200
    found = network.prepare(stripes)
    assert found.shape == (1, 3, 32, 16)
    grey = (100 / 255 - 0.485) / 0.229
    np.testing.assert_allclose(found[0, 0, 2:-2].numpy(), grey, atol=0.05)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"backbone": "resnet19"}, ["network.backbone", "resnet19", "resnet18"]),
        ({"backbone": "fcn_resnet50"}, ["network.backbone", "fcn_resnet50"]),
        ({"backbone": "timm/resnet50", "last_stride": 1}, ["network.last_stride", "timm/resnet50"]),
        ({"backbone": "vit_b_16"}, ["network.pooling", "vit_b_16", "token"]),
        ({"pooling": "token"}, ["network.pooling", "resnet18", "average or gem"]),
        ({"backbone": "densenet121", "pooling": "gem"}, ["network.pooling", "densenet121", "gem"]),
        ({"backbone": "vit_tiny_patch16_224", "pooling": "gem"}, ["vit_tiny_patch16_224", "gem", "32x16"]),
        ({"backbone": "timm/resnet18", "pooling": "token"}, ["timm's resnet18", "token"]),
        ({"backbone": "squeezenet1_0", "size": (64, 64)}, ["network.backbone", "squeezenet1_0", "linear classifier"]),
        ({"backbone": "shufflenet_v2_x0_5", "last_stride": 1}, ["network.last_stride", "shufflenet_v2_x0_5"]),
        ({"backbone": "vit_b_16", "pooling": "token", "size": (128, 64)}, ["vit_b_16", "128x64", "224"]),
        ({"backbone": "densenet121", "size": (16, 8)}, ["densenet121", "16x8"]),
    ],
)
def test_backbone_that_cannot_be_had_is_one_clear_error(changes, words):
    with pytest.raises(ReidError) as caught:
        build(**changes)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("backbone, last_stride", [("resnet18", 1), ("mnasnet0_5", 2)])
def test_checkpoint_gives_equal_embeddings_to_the_bit_and_equal_bytes(tmp_path, backbone, last_stride):
    changes = {"backbone": backbone, "last_stride": last_stride, "projection": {"width": 24, "kind": "relu"}}
    params = model({"network": {**NETWORK, **changes}})
    built = networks.Embedder(params.network, (32, 16)).to(memory_format=torch.channels_last)
    with torch.no_grad():  # running statistics other than the initial ones
        built(built.prepare(pictures(8, (32, 16), seed=2)))
    built.eval()
    networks.save(tmp_path / "a.safetensors", built, params)
    networks.save(tmp_path / "b.safetensors", built, params)
    read = networks.load(tmp_path / "a.safetensors")
    assert not read.training
    assert torch.equal(embed(read, pictures(4, (32, 16))), embed(built, pictures(4, (32, 16))))
    networks.save(tmp_path / "c.safetensors", read, params)
    first = (tmp_path / "a.safetensors").read_bytes()
    assert (tmp_path / "b.safetensors").read_bytes() == first
    assert (tmp_path / "c.safetensors").read_bytes() == first
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "b.safetensors", "c.safetensors"]


def test_checkpoint_holds_the_parameters_that_built_it(tmp_path):
    params = model()
    networks.save(tmp_path / "m.safetensors", networks.Embedder(params.network, (32, 16)), params)
    with safetensors.safe_open(tmp_path / "m.safetensors", "np") as file:
        assert json.loads(file.metadata()["model"]) == MODEL
    assert networks.load(tmp_path / "m.safetensors").size == (32, 16)


def _foreign_checkpoint(path, kind):
    arrays = {"x": torch.zeros(2)}
    if kind == "garbage":
        path.write_bytes(b"\x93NUMPY nothing of the kind")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"network": 1}))
    elif kind == "no metadata":
        safetensors.torch.save_file(arrays, path)
    elif kind == "other metadata":
        safetensors.torch.save_file(arrays, path, {"model": json.dumps({"a": 1})})
    elif kind == "no object":
        safetensors.torch.save_file(arrays, path, {"model": "3"})
    elif kind == "other arrays":
        safetensors.torch.save_file(arrays, path, {"model": json.dumps(MODEL)})
    elif kind == "cut short":
        params = model()
        networks.save(path, networks.Embedder(params.network, (32, 16)), params)
        path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "garbage",
        "empty",
        "pickle",
        "no metadata",
        "other metadata",
        "no object",
        "other arrays",
        "cut short",
    ],
)
def test_file_that_is_no_checkpoint_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    _foreign_checkpoint(path, kind)
    with pytest.raises(ReidError, match=r"model\.safetensors"):
        networks.load(path)
