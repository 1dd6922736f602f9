"""Backbones without their classifier, input preparation, checkpoints and weights from elsewhere."""

import json
import os
import pickle
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
import torchvision

from reid import networks
from reid.errors import ReidError
from reid.params import Model, Network

MODEL = {
    "seed": 1,
    "subset": 1.0,
    "network": {"backbone": "resnet18", "weights": None, "last_stride": 1, "embedding": 24},
    "input": {"height": 32, "width": 16},
    "pictures": {"flip": 0.5},
    "sampler": {"kind": "actions", "actions": 2, "people": 4, "images": 2},
    "loss": {"triplet": {"weight": 1.0, "margin": 0.3}, "softmax": None},
    "optimiser": {"kind": "adam", "learning_rate": 0.001, "weight_decay": 0.0},
    "schedule": {"kind": "step", "milestones": [], "gamma": 0.1},
    "epochs": 1,
    "precision": "fp32",
    "threads": 1,
}

SMALL = "shufflenet_v2_x0_5"


def build(backbone="resnet18", size=(32, 16), weights=None, last_stride=2, embedding=None, seed=0):
    torch.manual_seed(seed)
    params = Network(backbone=backbone, weights=weights and str(weights), last_stride=last_stride, embedding=embedding)
    return networks.Embedder(params, size).eval()


def pictures(count, size, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8))


def embed(network, batch):
    with torch.no_grad():
        return network(network.prepare(batch))


def torchvision_state(backbone, seed=5):
    torch.manual_seed(seed)
    state = torchvision.models.get_model(backbone, weights=None).state_dict()
    for key, value in state.items():  # layers that start at 0 and 1 would match by chance
        if value.is_floating_point():
            state[key] = value + 0.01 * torch.rand(value.shape)
    return state


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def resnet18_state():
    return torchvision_state("resnet18")


@pytest.fixture(scope="module")
def small_state():
    return torchvision_state(SMALL)


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


def test_embedding_is_the_pooled_features_of_torchvisions_network(resnet18_state, tmp_path):
    safetensors.torch.save_file(resnet18_state, tmp_path / "w.safetensors")
    whole = torchvision.models.resnet18(weights=None).eval()
    whole.load_state_dict(resnet18_state)
    features = []
    whole.avgpool.register_forward_hook(lambda *args: features.append(args[2].flatten(1)))
    own = build(weights=tmp_path / "w.safetensors")
    x = own.prepare(pictures(4, (32, 16)))
    with torch.no_grad():
        whole(x)
        torch.testing.assert_close(own(x), features[0])


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
    network = build(embedding=200)
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
        ({"backbone": "squeezenet1_0", "size": (64, 64)}, ["network.backbone", "squeezenet1_0", "linear classifier"]),
        ({"backbone": "shufflenet_v2_x0_5", "last_stride": 1}, ["network.last_stride", "shufflenet_v2_x0_5"]),
        ({"backbone": "vit_b_16", "size": (128, 64)}, ["vit_b_16", "128x64", "224"]),
        ({"backbone": "densenet121", "size": (16, 8)}, ["densenet121", "16x8"]),
    ],
)
def test_backbone_that_cannot_be_had_is_one_clear_error(changes, words):
    with pytest.raises(ReidError) as caught:
        build(**changes)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("backbone, last_stride", [("resnet18", 1), ("mnasnet0_5", 2)])
def test_checkpoint_gives_equal_embeddings_to_the_bit_and_equal_bytes(tmp_path, backbone, last_stride):
    network = {"backbone": backbone, "weights": None, "last_stride": last_stride, "embedding": 24}
    params = Model.model_validate({**MODEL, "network": network})
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
    params = Model.model_validate(MODEL)
    networks.save(tmp_path / "m.safetensors", networks.Embedder(params.network, (32, 16)), params)
    with safetensors.safe_open(tmp_path / "m.safetensors", "np") as file:
        assert json.loads(file.metadata()["model"]) == MODEL
    assert networks.load(tmp_path / "m.safetensors").size == (32, 16)


def test_checkpoint_trained_from_weights_is_loaded_without_them(tmp_path, resnet18_state):
    torch.save(resnet18_state, tmp_path / "start.pth")
    network = {**MODEL["network"], "weights": str(tmp_path / "start.pth")}
    params = Model.model_validate({**MODEL, "network": network})
    built = networks.Embedder(params.network, (32, 16)).eval()
    networks.save(tmp_path / "m.safetensors", built, params)
    (tmp_path / "start.pth").unlink()
    read = networks.load(tmp_path / "m.safetensors")
    assert torch.equal(embed(read, pictures(2, (32, 16))), embed(built, pictures(2, (32, 16))))


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
        params = Model.model_validate(MODEL)
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


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_weights_of_a_file_become_the_backbones(tmp_path, small_state, suffix):
    path = tmp_path / f"w{suffix}"
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(small_state, path)
    own = build(SMALL, weights=path).backbone.state_dict()
    assert set(own) == {key for key in small_state if not key.startswith("fc.")}
    assert all(torch.equal(value, small_state[key]) for key, value in own.items())


def test_weights_cover_the_layers_of_the_head_that_stay(tmp_path):
    state = torchvision_state("mobilenet_v3_small")
    torch.save(state, tmp_path / "w.pth")
    own = build("mobilenet_v3_small", (64, 32), weights=tmp_path / "w.pth").backbone.state_dict()
    stay = [key for key in own if key.startswith("classifier")]
    assert stay
    assert all(torch.equal(value, state[key]) for key, value in own.items())


def test_weights_with_a_classifier_of_other_width_or_none_are_taken(tmp_path, small_state):
    state = {key: value for key, value in small_state.items() if not key.startswith("fc.")}
    torch.save(state, tmp_path / "none.pth")
    torch.save({**state, "fc.weight": torch.zeros(7, 1024), "fc.bias": torch.zeros(7)}, tmp_path / "seven.pth")
    batch = pictures(2, (32, 16))
    assert torch.equal(
        embed(build(SMALL, weights=tmp_path / "none.pth"), batch),
        embed(build(SMALL, weights=tmp_path / "seven.pth"), batch),
    )


def test_weights_of_another_network_are_refused_with_the_first_array(tmp_path, small_state):
    path = tmp_path / "w.pth"
    torch.save(small_state, path)
    with pytest.raises(
        ReidError, match=r"w\.pth is not of mobilenet_v3_small.*first features\.0\.0\.weight: is missing"
    ):
        build("mobilenet_v3_small", weights=path)
    torch.save({**small_state, "stage2.0.branch1.0.weight": torch.zeros(3, 5)}, path)
    with pytest.raises(
        ReidError, match=r"w\.pth is not of shufflenet_v2_x0_5.*1 array.*stage2\.0\.branch1\.0\.weight.*\[3, 5\]"
    ):
        build(SMALL, weights=path)


def test_weights_of_a_deeper_network_of_the_family_are_refused(tmp_path, small_state):
    path = tmp_path / "w.pth"  # as resnet34 has every array of resnet18, in its shape, and more
    torch.save({**small_state, "stage2.4.branch1.0.weight": torch.zeros(3)}, path)
    with pytest.raises(ReidError, match=r"w\.pth is not of shufflenet_v2_x0_5.*stage2\.4\.branch1\.0\.weight"):
        build(SMALL, weights=path)


class _Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("writer", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_weights_that_would_run_code_are_refused_and_nothing_runs(tmp_path, writer):
    path, mark = tmp_path / "w.pth", tmp_path / "was run"
    writer({"conv1.weight": _Evil(mark)}, path)
    with pytest.raises(ReidError, match=r"w\.pth"):
        build(SMALL, weights=path)
    assert not mark.exists()
    if writer is torch.save:  # the file is as bad as this test believes
        torch.load(path, weights_only=False)
        assert mark.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [None, b"", b"\x80\x04garbage"])
def test_weights_file_that_is_missing_or_garbage_is_one_clear_error(tmp_path, suffix, content):
    path = tmp_path / f"w{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        ReidError, match=rf"network\.weights: .*w\{suffix}.*{'no such file' if content is None else ''}"
    ):
        build(SMALL, weights=path)


@pytest.mark.parametrize(
    "content", [torch.zeros(3), [torch.zeros(3)], {"epoch": 3, "state_dict": {}}, {"conv1.weight": 1}]
)
def test_weights_file_that_holds_something_else_is_one_clear_error(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ReidError, match=r"network\.weights: .*w\.pth"):
        build(SMALL, weights=tmp_path / "w.pth")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch.hub, and no network."""

    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    (tmp_path / "home/hub/checkpoints").mkdir(parents=True)
    return tmp_path / "home/hub/checkpoints"


def test_unknown_name_of_weights_names_those_that_exist():
    with pytest.raises(
        ReidError, match=r"network\.weights: shufflenet_v2_x0_5 has no weights IMAGENET2K.*IMAGENET1K_V1"
    ):
        build(SMALL, weights="IMAGENET2K")


@pytest.mark.parametrize("name", ["IMAGENET1K_V1", "DEFAULT"])
def test_weights_that_cannot_be_fetched_give_one_error_that_says_how_to_go_on(hub, name):
    with pytest.raises(ReidError) as caught:
        build(SMALL, weights=name)
    file = torchvision.models.ShuffleNet_V2_X0_5_Weights[name].url.rsplit("/", 1)[1]
    for word in (name, SMALL, "no route to host", str(hub), file, "network.weights: null"):
        assert word in str(caught.value)


def test_weights_by_name_are_taken_from_where_the_error_says_to_put_them(hub, small_state):
    file = torchvision.models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    torch.save(small_state, hub / file)
    own = build(SMALL, weights="IMAGENET1K_V1").backbone.state_dict()
    assert all(torch.equal(value, small_state[key]) for key, value in own.items())


def test_weights_of_densenet_are_read_under_the_old_names_of_torchvisions_file(hub):
    state = torchvision_state("densenet121")
    old = {}
    for key, value in state.items():
        for part in ("norm", "conv"):
            for number in "12":
                if "denselayer" in key:
                    key = key.replace(f".{part}{number}.", f".{part}.{number}.")
        old[key] = value
    assert set(old) != set(state)
    torch.save(old, hub / torchvision.models.DenseNet121_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1])
    own = build("densenet121", (64, 32), weights="IMAGENET1K_V1").backbone.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in own.items())
