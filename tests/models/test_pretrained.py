"""Pretrained weights: which arrays fit, from files and by name, and what is refused."""

import argparse
import pickle
import re
import socket
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision

from builders import ROOT
from builders.model import NETWORK, model
from builders.torchscript import torchscript
from builders.whole import MINIMAL
from reid.core.errors import ReidError
from reid.core.files import sha256
from reid.models.checkpoint import load, save, set_arrays
from reid.models.embedder import Embedder
from reid.models.init_file import read_about
from reid.models.osnet import osnet
from reid.models.pretrained import Match, find_init, read_init, write_init

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = "shufflenet_v2_x0_5"


def torchvision_state(backbone, seed=5):
    torch.manual_seed(seed)
    state = torchvision.models.get_model(backbone, weights=None).state_dict()
    for key, value in state.items():  # layers that start at 0 and 1 would match anyway
        if value.is_floating_point():
            state[key] = value + 0.01 * torch.rand(value.shape)
    return state


@pytest.fixture(scope="module")
def small_state():
    return torchvision_state(SMALL)


def params_of(backbone=SMALL, size=(32, 16), weights=None, **changes):
    network = {**NETWORK, "backbone": backbone, "weights": weights and str(weights), **changes}
    return model({"network": network, "input": {"height": size[0], "width": size[1]}})


def build(backbone=SMALL, size=(32, 16), weights=None, **changes):
    """A network that begins with ``weights``."""
    params = params_of(backbone, size, weights, **changes)
    match, _ = find_init(params)
    built = Embedder(params.network, size).eval()
    set_arrays(built, match.arrays)
    return built


def images(count, size, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8))


def embed(network, batch):
    with torch.no_grad():
        return network(network.prepare(batch))


def test_embedding_is_the_pooled_features_of_torchvisions_network(tmp_path):
    resnet18_state = torchvision_state("resnet18")
    safetensors.torch.save_file(resnet18_state, tmp_path / "w.safetensors")
    whole = torchvision.models.resnet18(weights=None).eval()
    whole.load_state_dict(resnet18_state)
    features = []
    whole.avgpool.register_forward_hook(lambda *args: features.append(args[2].flatten(1)))
    own = build("resnet18", weights=tmp_path / "w.safetensors")
    x = own.prepare(images(4, (32, 16)))
    with torch.no_grad():
        whole(x)
        torch.testing.assert_close(own(x), features[0])


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


def renamed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def others(state):
    return {name: value + 1 for name, value in state.items()}


WRAPPED = {
    "kept by a key": ("net_dict.", lambda s: {"net_dict": s}),
    "of any key": ("student_weights_v2.", lambda s: {"epoch": 3, "student_weights_v2": s}),
    "of timm": ("state_dict_ema.", lambda s: {"state_dict": others(s), "state_dict_ema": s}),
    "of BasicSR": ("params_ema.", lambda s: {"params": others(s), "params_ema": s}),
    "DataParallel": ("state_dict.module.", lambda s: {"state_dict": renamed(s, "module.")}),
    "compiled": ("", lambda s: renamed(s, "_orig_mod.")),
    "compiled and shared": ("model.module.", lambda s: {"model": renamed(s, "module._orig_mod.")}),
    "block by block": ("", lambda s: {n.replace("stage2.0.", "stage2._orig_mod.0."): v for n, v in s.items()}),
    "reid-strong-baseline": ("base.", lambda s: {**renamed(s, "base."), "classifier.weight": torch.zeros(9, 9)}),
    "fast-reid": ("model.backbone.", lambda s: {"model": {**renamed(s, "backbone."), "heads.w": torch.zeros(9)}}),
    "Lightning": (
        "state_dict.model.net.",
        lambda s: {"state_dict": renamed(s, "model.net."), "hyper_parameters": {"args": argparse.Namespace(lr=0.1)}},
    ),
    "MoCo": (
        "state_dict.module.encoder_q.",
        lambda s: {
            "state_dict": {
                **renamed(others(s), "module.encoder_k."),
                **renamed(s, "module.encoder_q."),
                "module.queue": torch.zeros(128, 300),
            },
            "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(9)}}, "param_groups": []},
        },
    ),
    "DINO": (
        "teacher.backbone.",
        lambda s: {
            "student": renamed(others(s), "module.backbone."),
            "teacher": {**renamed(s, "backbone."), "head.mlp.0.weight": torch.zeros(300, 300)},
            "args": argparse.Namespace(arch="x"),
            "cmc": np.zeros(3),
        },
    ),
    "NumPy": ("model.", lambda s: {"model": {n: v.numpy() if v.ndim else v for n, v in s.items()}}),
}


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize("name", ["w.pth", "w.bin"])
def test_names_behind_wrappers_are_found(tmp_path, small_state, kind, name):
    prefix, wrap = WRAPPED[kind]
    torch.save(wrap(small_state), tmp_path / name)
    match, about = find_init(params_of(weights=tmp_path / name))
    wanted = {f"backbone.{n}": value for n, value in small_state.items() if not n.startswith("fc.")}
    counters = {n for n in wanted if kind == "NumPy" and n.endswith("num_batches_tracked")}
    assert match.arrays.keys() == wanted.keys() and match.share == 1
    assert all(torch.equal(value, wanted[n]) for n, value in match.arrays.items() if n not in counters)
    assert about.get("prefix", "") == prefix


def test_what_else_may_be_meant_is_told(tmp_path, small_state):
    torch.save(WRAPPED["DINO"][1](small_state), tmp_path / "w.pth")
    assert find_init(params_of(weights=tmp_path / "w.pth"))[1]["also"] == ["student.module.backbone."]
    safetensors.torch.save_file(renamed(small_state, "teacher."), tmp_path / "w.pth")
    about = find_init(params_of(weights=tmp_path / "w.pth"))[1]
    assert about["prefix"] == "teacher." and "also" not in about


def clip(width=256, layers=10, patch=16, size=32, seed=6):
    """OpenAI's vision tower by its names, and a text tower beside it."""
    torch.manual_seed(seed)
    block = {
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "mlp.c_fc.weight": (4 * width, width),
        "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (width, 4 * width),
        "mlp.c_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
    }
    shapes = {
        "class_embedding": (width,),
        "positional_embedding": ((size // patch) ** 2 + 1, width),
        "proj": (width, 64),
        "conv1.weight": (width, 3, patch, patch),
        **{f"ln_{place}.{part}": (width,) for place in ("pre", "post") for part in ("weight", "bias")},
        **{f"transformer.resblocks.{i}.{name}": shape for i in range(layers) for name, shape in block.items()},
    }
    state = {f"visual.{name}": 0.1 * torch.randn(shape) for name, shape in shapes.items()}
    text = {f"transformer.resblocks.0.{name}": torch.zeros(shape) for name, shape in block.items()}
    return {**state, **text, "token_embedding.weight": torch.zeros(4000, width), "logit_scale": torch.tensor(1.0)}


def clip_forward(state, x, patch=16, heads=4):
    """OpenAI's vision tower up to its class token, with plain functions."""
    functional = torch.nn.functional
    state = {name.removeprefix("visual."): value for name, value in state.items() if name.startswith("visual.")}
    width = len(state["class_embedding"])

    def norm(x, name):
        return functional.layer_norm(x, (width,), state[f"{name}.weight"], state[f"{name}.bias"])

    x = functional.conv2d(x, state["conv1.weight"], stride=patch).flatten(2).transpose(1, 2)
    x = torch.cat([state["class_embedding"].expand(len(x), 1, width), x], 1) + state["positional_embedding"]
    x = norm(x, "ln_pre")
    for i in range(sum(name.endswith("ln_1.bias") for name in state)):
        block = f"transformer.resblocks.{i}."
        y = norm(x, f"{block}ln_1") @ state[f"{block}attn.in_proj_weight"].T + state[f"{block}attn.in_proj_bias"]
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in y.chunk(3, 2))
        y = torch.softmax(q @ k.transpose(2, 3) / (width // heads) ** 0.5, 3) @ v
        y = y.transpose(1, 2).flatten(2)
        x = x + y @ state[f"{block}attn.out_proj.weight"].T + state[f"{block}attn.out_proj.bias"]
        y = norm(x, f"{block}ln_2") @ state[f"{block}mlp.c_fc.weight"].T + state[f"{block}mlp.c_fc.bias"]
        x = x + functional.gelu(y) @ state[f"{block}mlp.c_proj.weight"].T + state[f"{block}mlp.c_proj.bias"]
    return norm(x[:, 0], "ln_post")


CLIPS = {"archive": "", "state_dict": "", "open_clip": "state_dict.module."}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", CLIPS)
def test_vision_tower_of_clip_is_timms_network(tmp_path, kind):
    state, path = clip(), tmp_path / "ViT-S-16.pt"
    if kind == "archive":
        torchscript(path, state)
    else:
        torch.save(state if kind == "state_dict" else {"state_dict": renamed(state, "module.")}, path)
    params = params_of("vit_xsmall_patch16_clip_224", (32, 32), path, pooling="token")
    match, about = find_init(params)
    assert match.share == 1 and match.missing == [] and about.get("prefix", "") == CLIPS[kind]
    assert {name for name, _ in match.left_out} == {"head.weight", "head.bias"}
    own = Embedder(params.network, (32, 32)).eval()
    set_arrays(own, match.arrays)
    x = own.prepare(images(2, (32, 32)))
    with torch.no_grad():
        torch.testing.assert_close(own(x), clip_forward(state, x), atol=1e-4, rtol=1e-4)


def test_clips_of_openai_have_the_names_of_those_without_quickgelu():
    import timm

    with torch.device("meta"):
        plain, quick = (
            timm.create_model(f"vit_base_patch16_clip_{kind}224", num_classes=0) for kind in ("", "quickgelu_")
        )
    assert {k: v.shape for k, v in quick.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    assert type(quick.blocks[0].mlp.act).__name__ == "QuickGELU"


def test_mean_and_deviation_of_a_files_images_can_be_given(tmp_path, small_state):
    torch.save({**small_state, "mean": torch.zeros(1, 3, 1, 1)}, tmp_path / "w.pth")
    own = build(weights=tmp_path / "w.pth", mean=[0.5, 0.4, 0.3], std=[0.25, 0.5, 1.0])
    x = own.prepare(torch.full((1, 32, 16, 3), 255, dtype=torch.uint8))
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([2.0, 1.2, 0.7]))
    assert build(weights=tmp_path / "w.pth").mean.flatten().tolist() == [0, 0, 0]


def test_weights_with_a_classifier_of_other_width_or_none_are_taken(tmp_path, small_state):
    state = {key: value for key, value in small_state.items() if not key.startswith("fc.")}
    torch.save(state, tmp_path / "none.pth")
    torch.save({**state, "fc.weight": torch.zeros(7, 1024), "fc.bias": torch.zeros(7)}, tmp_path / "seven.pth")
    batch = images(2, (32, 16))
    assert torch.equal(
        embed(build(SMALL, weights=tmp_path / "none.pth"), batch),
        embed(build(SMALL, weights=tmp_path / "seven.pth"), batch),
    )


def test_weights_of_another_network_are_refused_with_the_first_array(tmp_path, small_state):
    path = tmp_path / "w.pth"
    torch.save(small_state, path)
    with pytest.raises(
        ReidError,
        match=r"w\.pth is not of mobilenet_v3_small: 0 % .*first backbone\.features\.0\.0\.weight \[16, 3, 3, 3\], "
        r".*, \.\.\. are not in it; it has conv1\.0\.weight \[24, 3, 3, 3\], .*, \.\.\. instead$",
    ):
        build("mobilenet_v3_small", weights=path)


def test_weights_of_a_deeper_network_of_the_family_are_refused(tmp_path):
    path = tmp_path / "w.pth"  # resnet34 has every array of resnet18, in its shape, and more
    torch.save(torchvision_state("resnet34"), path)
    with pytest.raises(ReidError, match=r"w\.pth is not of resnet18: 100 % .*left out.*layer1\.2\..*not part of"):
        build("resnet18", weights=path)


def test_what_matched_and_what_did_not_is_told(tmp_path, small_state):
    state = {**small_state, "stage2.0.branch1.0.weight": torch.zeros(3, 5), "more": torch.zeros(2)}
    del state["conv1.1.bias"]
    torch.save(state, tmp_path / "w.pth")
    match, about = find_init(params_of(weights=tmp_path / "w.pth"))
    own = {f"backbone.{name}" for name in small_state if not name.startswith("fc.")}
    assert set(match.arrays) == own - {"backbone.conv1.1.bias", "backbone.stage2.0.branch1.0.weight"}
    assert set(match.missing) == {"backbone.conv1.1.bias", "backbone.stage2.0.branch1.0.weight"}
    left = dict(match.left_out)
    assert set(left) == {"fc.weight", "fc.bias", "more", "stage2.0.branch1.0.weight"}
    assert (
        left["fc.weight"] == "classifier"
        and "has the shape [3, 5] instead of [24, 1, 3, 3]" in left["stage2.0.branch1.0.weight"]
    )
    parameters = dict(Embedder(params_of().network, (32, 16)).backbone.named_parameters())
    lost = parameters["conv1.1.bias"].numel() + parameters["stage2.0.branch1.0.weight"].numel()
    assert match.share == pytest.approx(1 - lost / sum(p.numel() for p in parameters.values()))
    assert about == {"file": "w.pth", "sha256": sha256(tmp_path / "w.pth")}


@pytest.mark.parametrize(
    "of, into, name, shapes",
    [
        ("resnet50", "resnet18", "layer1.0.conv1.weight", "[64, 64, 1, 1] instead of [64, 64, 3, 3]"),
        ("shufflenet_v2_x1_0", SMALL, "stage2.0.branch1.2.weight", "[58, 24, 1, 1] instead of [24, 24, 1, 1]"),
    ],
)
def test_weights_of_another_width_are_refused_with_both_shapes(tmp_path, of, into, name, shapes):
    torch.save(torchvision_state(of), tmp_path / "w.pth")
    line = re.escape(f"first {name} has the shape {shapes}")
    with pytest.raises(ReidError, match=rf"w\.pth is not of {into}: .*{line}$") as caught:
        build(into, weights=tmp_path / "w.pth")
    assert "is not in it" not in str(caught.value)


def _nan(value):
    value[0] = torch.nan
    return value


@pytest.mark.parametrize(
    "change, words",
    [
        (_nan, "holds NaN"),
        (lambda value: value / 0, "holds (NaN|infinite numbers)"),
        (lambda value: value > 0, "holds truth values instead of floating numbers"),
        (lambda value: value.to(torch.complex64), "holds complex numbers instead of floating numbers"),
        (lambda value: value.int(), "holds whole numbers instead of floating numbers"),
        (lambda value: value.double() * 1e300, "holds numbers beyond the range of float32"),
        (lambda value: value[:0], r"has the shape \[0, .*\], which holds no number"),
        (lambda value: value[:1].expand(10**9, *value.shape[1:]), r"has the shape \[1000000000, .*for which the file"),
        (lambda value: value.to_sparse(), "is a sparse array"),
    ],
)
def test_array_of_other_numbers_is_refused_by_its_name(tmp_path, small_state, change, words):
    name = "stage2.0.branch1.2.weight"
    torch.save({**small_state, name: change(small_state[name].clone())}, tmp_path / "w.pth")
    with pytest.raises(ReidError, match=rf"^network\.weights: .*w\.pth: {re.escape(name)} {words}"):
        build(weights=tmp_path / "w.pth")


def test_arrays_that_are_not_taken_may_hold_anything(tmp_path, small_state):
    state = {**small_state, "fc.weight": torch.full((7, 1024), torch.nan), "mask": torch.tensor([True])}
    torch.save(state, tmp_path / "w.pth")
    assert find_init(params_of(weights=tmp_path / "w.pth"))[0].share == 1


@pytest.mark.parametrize("name", ["w.bin", "w.ckpt", "w.pth.tar-60", "with spaces", "weights"])
def test_weights_in_the_home_folder_or_here_are_found_whatever_their_name(tmp_path, monkeypatch, small_state, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": small_state, "args": argparse.Namespace(lr=0.1), "cmc": np.zeros(3)}, name)
    for weights in (f"~/{name}", f"./{name}", name):
        match, about = find_init(params_of(weights=weights))
        assert match.share == 1 and about["file"] == name


@pytest.mark.parametrize("name", ["w.bin", "w.ckpt", "w.onnx", "./w", "models/w", "~/w"])
def test_missing_file_of_weights_is_called_missing(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReidError, match=r"^network\.weights: .*w[a-z.]*: there is no such file$"):
        find_init(params_of(weights=name))


def test_enough_must_match(tmp_path):
    state = torchvision_state("resnet18")
    torch.save({name: v for name, v in state.items() if not name.startswith("layer4.1.conv2")}, tmp_path / "w.pth")
    with pytest.raises(ReidError, match=r"79 % of the backbone found, 1 arrays missing"):
        build("resnet18", weights=tmp_path / "w.pth")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_torchreids_checkpoint_of_the_kits_resnet_fills_the_projection_too(tmp_path, prefix):
    state = torchvision_state("resnet18")
    del state["fc.weight"], state["fc.bias"]
    layer = torch.nn.Sequential(torch.nn.Linear(512, 20), torch.nn.BatchNorm1d(20), torch.nn.ReLU())
    state |= {f"fc.{name}": value for name, value in layer.state_dict().items()}
    state |= {"classifier.weight": torch.zeros(7, 20), "classifier.bias": torch.zeros(7)}
    whole = {
        "state_dict": {prefix + name: value for name, value in state.items()},
        "epoch": 3,
        "rank1": np.float32(0.5),
        "optimizer": {"state": {}, "param_groups": []},
        "scheduler": {"milestones": [20]},
    }
    torch.save(whole, tmp_path / "model.pth.tar-3")
    changes = {"weights": str(tmp_path / "model.pth.tar-3"), "projection": {"width": 20, "kind": "relu"}}
    match, _ = find_init(params_of("resnet18", **changes))
    assert match.missing == [] and match.share == 1
    assert {name for name, _ in match.left_out} == {"classifier.weight", "classifier.bias"}
    assert torch.equal(match.arrays["projection.0.weight"], layer[0].weight)
    assert torch.equal(match.arrays["backbone.conv1.weight"], state["conv1.weight"])


def test_layer_after_the_pooling_that_the_network_has_no_place_for_is_not_called_a_classifier(tmp_path):
    state = torchvision_state("resnet18")
    del state["fc.weight"], state["fc.bias"]
    state |= {"fc.0.weight": torch.zeros(9000, 512), "classifier.weight": torch.zeros(7, 9000)}
    torch.save(state, tmp_path / "w.pth")
    match, _ = find_init(params_of("resnet18", weights=tmp_path / "w.pth"))
    assert match.left_out == [("fc.0.weight", "layer after the pooling"), ("classifier.weight", "classifier")]


def test_weights_may_be_a_checkpoint_of_this_pipeline(tmp_path):
    params = params_of(projection={"width": 8, "kind": "linear"})
    torch.manual_seed(9)
    trained = Embedder(params.network, (32, 16)).eval()
    save(tmp_path / "m.safetensors", trained, params)
    again = build(weights=tmp_path / "m.safetensors", projection={"width": 8, "kind": "linear"})
    assert torch.equal(embed(again, images(2, (32, 16))), embed(trained, images(2, (32, 16))))
    # a trained network is read without the file that it began with
    params = params_of(weights=tmp_path / "m.safetensors", projection={"width": 8, "kind": "linear"})
    save(tmp_path / "n.safetensors", again, params)
    (tmp_path / "m.safetensors").unlink()
    read = load(tmp_path / "n.safetensors")
    assert torch.equal(embed(read, images(2, (32, 16))), embed(again, images(2, (32, 16))))


def test_osnets_own_layer_after_the_pooling_is_part_of_it(tmp_path):
    torch.manual_seed(4)
    state = osnet("osnet_x0_25").state_dict() | {"classifier.weight": torch.zeros(3, 512)}
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    match, _ = find_init(params_of("osnet_x0_25", weights=tmp_path / "w.pth"))
    assert match.share == 1 and match.missing == []
    assert "backbone.fc.0.weight" in match.arrays


@pytest.mark.filterwarnings("ignore")
def test_places_of_a_timm_transformer_are_resampled_for_another_size(tmp_path):
    import timm

    torch.manual_seed(2)
    square = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    torch.nn.init.normal_(square.pos_embed)
    safetensors.torch.save_file(square.state_dict(), tmp_path / "w.safetensors")
    changes = {"weights": tmp_path / "w.safetensors", "pooling": "token"}
    match, _ = find_init(params_of("vit_tiny_patch16_224", (64, 32), **changes))
    assert match.share == 1 and match.missing == []
    places = match.arrays["backbone.pos_embed"]
    assert places.shape == (1, 1 + 4 * 2, 192)
    assert torch.equal(places[:, 0], square.pos_embed[:, 0].detach())  # the token's own place
    wanted = square.pos_embed[:, 1:].detach().reshape(1, 14, 14, 192).permute(0, 3, 1, 2)
    wanted = torch.nn.functional.interpolate(wanted, (4, 2), mode="bicubic", antialias=True)
    torch.testing.assert_close(places[:, 1:], wanted.permute(0, 2, 3, 1).reshape(1, 8, 192), atol=1e-5, rtol=0)


def timm_state(backbone="test_vit", **options):
    """timm's own network of a name, and its arrays, none of which is what another begins with."""
    import timm

    torch.manual_seed(3)
    network = timm.create_model(backbone, img_size=(32, 32), **options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.rand_like(parameter))
    return network, network.state_dict()


@pytest.fixture
def hub_of_timm(tmp_path, monkeypatch):
    """``hub_of_timm(name, state)`` puts the file of a name of weights into the cache of the hub's client."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(name, state):
        folder = tmp_path / f"hub/models--timm--{name}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs/main").write_text(40 * "a")
        (folder / "snapshots" / (40 * "a")).mkdir(parents=True)
        safetensors.torch.save_file(state, folder / "snapshots" / (40 * "a") / "model.safetensors")

    return put


@pytest.mark.parametrize("options", [{}, {"global_pool": "avg"}], ids=["before the pooling", "after it"])
@pytest.mark.parametrize("pooling", ["average", "token"])
def test_trained_norm_of_a_transformer_stays_where_it_was_trained(tmp_path, options, pooling):
    network, state = timm_state(**options)
    place = "fc_norm" if options else "norm"
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    changes = {"weights": str(tmp_path / "w.safetensors"), "pooling": pooling}
    match, _ = find_init(params_of("test_vit", (32, 32), **changes))
    assert match.missing == [] and {why for _, why in match.left_out} == {"classifier"}
    assert torch.equal(match.arrays[f"backbone.{place}.weight"], state[f"{place}.weight"])
    own = build("test_vit", (32, 32), **changes)
    save(tmp_path / "m.safetensors", own, params_of("test_vit", (32, 32), **changes))
    x = own.prepare(images(2, (32, 32)))
    with torch.no_grad():
        tokens = network.forward_features(x)
        pooled = tokens[:, 1:].mean(1) if pooling == "average" else tokens[:, 0]
        for whole in (own, load(tmp_path / "m.safetensors")):
            torch.testing.assert_close(whole(x), network.fc_norm(pooled))


def test_weights_of_timm_by_name_are_those_of_their_file(tmp_path, hub_of_timm):
    _, state = timm_state()
    hub_of_timm("test_vit.r160_in1k", state)
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    by_name, by_path = (
        find_init(params_of("test_vit", (64, 32), weights=weights))[0]
        for weights in ("r160_in1k", tmp_path / "w.safetensors")
    )
    assert by_name.share == 1 and by_name.missing == []
    assert by_name.arrays.keys() == by_path.arrays.keys() and sorted(by_name.left_out) == sorted(by_path.left_out)
    assert all(torch.equal(value, by_path.arrays[name]) for name, value in by_name.arrays.items())


def test_init_is_read_as_it_was_written_and_from_scratch_it_is_empty(tmp_path, small_state):
    torch.save(small_state, tmp_path / "w.pth")
    match, about = find_init(params_of(weights=tmp_path / "w.pth"))
    write_init(tmp_path / "a.safetensors", match, about)
    write_init(tmp_path / "b.safetensors", match, about)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    read = read_init(tmp_path / "a.safetensors")
    assert set(read) == set(match.arrays) and all(torch.equal(read[name], match.arrays[name]) for name in read)
    write_init(tmp_path / "none.safetensors", None, {"name": None})
    assert read_init(tmp_path / "none.safetensors") == {}
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, words in (
        ("other.safetensors", "holds no weights to start from, but other arrays"),
        ("missing.safetensors", "there is no such file"),
        ("w.pth", "is a zip archive .*, not a safetensors file"),
    ):
        with pytest.raises(ReidError, match=rf"{name}: {words}; make it with scripts/weights\.py$"):
            read_init(tmp_path / name)


def test_init_that_is_not_what_was_written_is_refused(tmp_path, small_state):
    path = tmp_path / "init.safetensors"
    torch.save(small_state, tmp_path / "w.pth")
    write_init(path, *find_init(params_of(weights=tmp_path / "w.pth")))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ReidError, match=r"init\.safetensors: is not what was written"):
        read_init(path)


@pytest.mark.parametrize(
    "text, words",
    [
        ("x", "is not valid JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ("{}", "missing is missing"),
        ("[]", r"it: \[\] is not an object"),
        ('{"missing": [1], "left_out": []}', r"missing\[0\]: 1 is not a text"),
        ('{"missing": [], "left_out": null}', "left_out: null is not a list"),
    ],
)
def test_init_that_says_something_else_of_itself_is_refused(tmp_path, text, words):
    safetensors.torch.save_file({"backbone.a": torch.zeros(2)}, tmp_path / "init.safetensors", {"init": text})
    with pytest.raises(ReidError, match=rf"init\.safetensors: its metadata: {words}"):
        read_init(tmp_path / "init.safetensors")


def test_what_init_says_of_itself_is_read_and_from_scratch_nothing_is_missing(tmp_path):
    write_init(tmp_path / "a.safetensors", Match({}, ["b"], [("c", "classifier")], 1.0), {"name": "DEFAULT"})
    assert read_about(tmp_path / "a.safetensors") == {"name": "DEFAULT", "missing": ["b"], "left_out": ["c"]}
    write_init(tmp_path / "none.safetensors", None, {"name": None})
    assert read_about(tmp_path / "none.safetensors") == {"name": None, "missing": [], "left_out": []}


@pytest.mark.parametrize("value, words", [(torch.nan, "NaN"), (torch.inf, "infinite numbers")])
def test_init_of_no_numbers_is_refused_by_the_name_of_the_array(tmp_path, value, words):
    arrays = {"backbone.a": torch.zeros(2), "backbone.b": torch.tensor([1.0, value])}
    safetensors.torch.save_file(arrays, tmp_path / "init.safetensors", {"init": '{"missing": [], "left_out": []}'})
    with pytest.raises(ReidError, match=rf"init\.safetensors: backbone\.b holds {words}"):
        read_init(tmp_path / "init.safetensors")


@pytest.mark.parametrize(
    "backbone, weights, words",
    [
        ("osnet_x0_25", "DEFAULT", ["osnet_x0_25 has no weights by name", "Torchreid"]),
        ("vit_tiny_patch16_224", "laion9b", ["timm's vit_tiny_patch16_224 has no weights laion9b", "augreg_in21k"]),
    ],
)
def test_names_of_weights_that_do_not_exist(backbone, weights, words):
    with pytest.raises(ReidError) as caught:
        find_init(params_of(backbone, weights=weights))
    assert all(word in str(caught.value) for word in words)


def test_weights_of_timm_that_cannot_be_fetched_give_one_error(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ReidError, match=r"timm's vit_tiny_patch16_224.* cannot be fetched.*model\.safetensors"):
        find_init(params_of("vit_tiny_patch16_224", (224, 224), weights="DEFAULT", pooling="token"))


def test_where_the_hub_cannot_be_named_its_client_does_not_try_again_for_a_minute(monkeypatch):
    import huggingface_hub.constants

    def nobody_knows(*_):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", nobody_knows)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    begun = time.monotonic()
    with pytest.raises(ReidError, match=r"timm's vit_tiny_patch16_224.* cannot be fetched"):
        find_init(params_of("vit_tiny_patch16_224", (224, 224), weights="DEFAULT", pooling="token"))
    assert huggingface_hub.constants.HF_HUB_OFFLINE and time.monotonic() - begun < 30


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
def test_weights_that_cannot_be_fetched_give_one_error_that_says_what_to_do(hub, name):
    with pytest.raises(ReidError) as caught:
        build(SMALL, weights=name)
    file = torchvision.models.ShuffleNet_V2_X0_5_Weights[name].url.rsplit("/", 1)[1]
    for word in (name, SMALL, "no route to host", str(hub), file, "leave network.weights out"):
        assert word in str(caught.value)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html></html>", b"", b"PK\x03\x04", b"\x80\x02garbage"])
def test_bad_file_in_the_cache_of_weights_by_name_is_called_what_it_is(hub, content):
    file = hub / torchvision.models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    file.write_bytes(content)
    with pytest.raises(ReidError, match=rf"^network\.weights: {file}: is ") as caught:
        build(SMALL, weights="IMAGENET1K_V1")
    assert "weights_only" not in str(caught.value)


def test_weights_by_name_are_taken_from_where_the_error_says_to_put_them(hub, small_state):
    file = torchvision.models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    torch.save(small_state, hub / file)
    own = build(SMALL, weights="IMAGENET1K_V1").backbone.state_dict()
    assert all(torch.equal(value, small_state[key]) for key, value in own.items())


def test_weights_of_torchvision_bring_the_mean_and_deviation_of_their_images(hub, monkeypatch, small_state):
    large = torchvision.models.EfficientNet_V2_L_Weights.DEFAULT
    assert large.transforms.keywords["mean"] == (0.5, 0.5, 0.5)  # such weights exist
    url = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url
    other = argparse.Namespace(url=url, transforms=large.transforms)
    torch.save(small_state, hub / url.rsplit("/", 1)[1])
    means = [build(weights="DEFAULT", **changes).mean.flatten() for changes in ({}, {"mean": [0.1, 0.2, 0.3]})]
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: {"DEFAULT": other})
    means += [build(weights="DEFAULT", **changes).mean.flatten() for changes in ({}, {"mean": [0.1, 0.2, 0.3]})]
    wanted = [[0.485, 0.456, 0.406], [0.1, 0.2, 0.3], [0.5, 0.5, 0.5], [0.1, 0.2, 0.3]]
    torch.testing.assert_close(torch.stack(means), torch.tensor(wanted))
    assert build(weights="DEFAULT").std.flatten().tolist() == [0.5, 0.5, 0.5]


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


def test_program_says_in_one_line_why_there_are_no_weights(tmp_path):
    text = MINIMAL.replace("{backbone: resnet18}", "{backbone: resnet18, weights: none.pth}")
    (tmp_path / "params.yaml").write_text(text)
    call = [sys.executable, ROOT / "scripts/weights.py", "--model", "one", "--out", "out.safetensors"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: network.weights: none.pth: there is no such file\n")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
