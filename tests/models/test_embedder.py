"""Backbones without their classifier, pooling, projection and BNNeck, and the preparation of their input."""

import numpy as np
import pytest
import torch

from builders.model import NETWORK
from reid.core.errors import ReidError
from reid.models.embedder import Embedder
from reid.models.recomputation import batch_norms
from reid.params.schema import section_class

pytestmark = pytest.mark.usefixtures("one_thread")


def build(backbone="resnet18", size=(32, 16), seed=0, **changes):
    torch.manual_seed(seed)
    params = section_class("Network").model_validate({**NETWORK, "backbone": backbone, **changes})
    return Embedder(params, size).eval()


def images(count, size, seed=0):
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
def test_backbone_gives_a_row_of_features_per_image(backbone, width):
    network = build(backbone, (64, 32))
    embeddings = embed(network, images(3, (64, 32)))
    assert embeddings.shape == (3, width)
    assert embeddings.dtype == torch.float32
    assert network.width == width
    assert not torch.equal(embeddings[0], embeddings[1])


@pytest.mark.parametrize(
    "backbone, last_stride, wanted", [("resnet18", 2, (4, 2)), ("resnet18", 1, (8, 4)), ("resnet50", 1, (8, 4))]
)
def test_last_stride_1_doubles_the_last_feature_map(backbone, last_stride, wanted):
    network = build(backbone, (128, 64), last_stride=last_stride)
    sizes = []
    network.backbone.layer4.register_forward_hook(lambda *args: sizes.append(tuple(args[2].shape[2:])))
    network.backbone.layer3.register_forward_hook(lambda *args: sizes.append(tuple(args[2].shape[2:])))
    embed(network, images(1, (128, 64)))
    assert sizes == [(8, 4), wanted]


def test_layer_after_the_pooling_is_linear_norm_relu_as_the_dev_kits():
    network = build(projection={"width": 200, "kind": "relu"})
    linear, norm, relu = network.projection
    assert tuple(linear.weight.shape) == (200, 512)
    assert float(linear.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert not linear.bias.detach().any()
    assert norm.num_features == 200
    assert isinstance(relu, torch.nn.ReLU)
    embeddings = embed(network, images(3, (32, 16)))
    assert embeddings.shape == (3, network.width) == (3, 200)
    assert (embeddings >= 0).all()


def test_bnneck_is_between_the_features_of_the_losses_and_the_embedding():
    network = build(bnneck=True)
    torch.nn.init.normal_(network.bnneck.weight)
    network.bnneck.running_mean.normal_()
    assert not network.bnneck.bias.requires_grad
    x = network.prepare(images(3, (32, 16)))
    with torch.no_grad():
        features = network.features(x)
        norm = network.bnneck
        wanted = (features - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight
        torch.testing.assert_close(network(x), wanted)
    assert not any(name.startswith("bnneck") for name in build().state_dict())


@pytest.mark.parametrize("backbone, place", [("resnet18", "backbone.avgpool"), ("timm/resnet18", "pool")])
@pytest.mark.parametrize("pooling, power", [("gem", 3.0), ({"kind": "gem", "power": 1.5}, 1.5)])
def test_gem_is_the_generalised_mean_of_the_last_map_with_a_trained_power(backbone, place, pooling, power):
    network = build(backbone, (64, 32), pooling=pooling)
    assert network.state_dict()[f"{place}.power"].tolist() == [power]
    maps = []
    network.backbone.layer4.register_forward_hook(lambda *args: maps.append(args[2]))
    embeddings = embed(network, images(2, (64, 32)))
    wanted = (maps[0].clamp(min=1e-6) ** power).mean((2, 3)) ** (1 / power)
    torch.testing.assert_close(embeddings, wanted)
    network(network.prepare(images(2, (64, 32)))).sum().backward()
    assert dict(network.named_parameters())[f"{place}.power"].grad.any()


def test_prepare_normalises_with_imagenets_mean_and_deviation():
    batch = images(2, (32, 16))
    x = build().prepare(batch)
    assert x.shape == (2, 3, 32, 16)
    for channel, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        wanted = (batch.numpy()[..., channel].astype(np.float64) / 255 - mean) / std
        np.testing.assert_allclose(x[:, channel].numpy(), wanted, atol=1e-6)


def test_prepare_resizes_images_of_another_size_without_aliasing():
    network = build(size=(32, 16))
    stripes = torch.zeros(1, 128, 64, 3, dtype=torch.uint8)
    stripes[:, ::2] = 200  # every other line: without a filter the result would be all 0 or all 200
    x = network.prepare(stripes)
    assert x.shape == (1, 3, 32, 16)
    grey = (100 / 255 - 0.485) / 0.229
    np.testing.assert_allclose(x[0, 0, 2:-2].numpy(), grey, atol=0.05)


def drop_paths(network):
    """Shares of the branches of a network of torchvision (``p``) or timm (``drop_prob``) that it leaves out."""
    modules = [module for module in network.modules() if type(module).__name__ in ("StochasticDepth", "DropPath")]
    return [getattr(module, "drop_prob", None) or getattr(module, "p", 0.0) for module in modules]


# each has another share than 0 where nobody asks for one
@pytest.mark.parametrize("backbone", ["convnext_tiny", "efficientnet_b0", "swin_t", "swin_tiny_patch4_window7_224"])
def test_drop_path_is_none_or_rises_with_depth_to_what_is_asked_for(backbone):
    assert not any(drop_paths(build(backbone, (64, 64))))
    shares = drop_paths(build(backbone, (64, 64), drop_path=0.3))
    assert shares == sorted(shares) and shares[0] < 0.1 and shares[-1] == pytest.approx(0.3)


@pytest.mark.parametrize("backbone", ["mobilenet_v3_small", "timm/vgg11"])
def test_drop_path_of_a_network_without_branches_that_it_could_leave_out_is_refused(backbone):
    with pytest.raises(ReidError, match=rf"^network\.drop_path: .*{backbone.split('/')[-1]} has none; leave it out"):
        build(backbone, (64, 32), drop_path=0.1)


@pytest.mark.parametrize(
    "backbone",
    ["efficientnet_b0", "mobilenet_v3_small", "googlenet", "cpubone_t0", "ghostnet_050", "legacy_seresnet18"],
)
def test_no_number_of_an_embedding_is_dropped_in_training(backbone):
    network = build(backbone, (64, 64)).train()
    for norm in batch_norms(network):
        norm.eval()  # their statistics change with each batch
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.features(images), network.features(images))


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
