"""Checkpoint files: the same bytes, arrays and embeddings again, and what is refused."""

import json
import os
import pickle
import time

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from builders.hostile import SECONDS
from builders.model import NETWORK, model
from reid.core.errors import ReidError
from reid.models.checkpoint import load, save, set_arrays
from reid.models.embedder import Embedder
from reid.params.schema import section_class

pytestmark = pytest.mark.usefixtures("one_thread")


def images(count, size, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8))


def embed(network, batch):
    with torch.no_grad():
        return network(network.prepare(batch))


@pytest.mark.parametrize("backbone, last_stride", [("resnet18", 1), ("mnasnet0_5", 2)])
def test_checkpoint_gives_equal_embeddings_to_the_bit_and_equal_bytes(tmp_path, backbone, last_stride):
    changes = {"backbone": backbone, "last_stride": last_stride, "projection": {"width": 24, "kind": "relu"}}
    params = model({"network": {**NETWORK, **changes}})
    built = Embedder(params.network, (32, 16)).to(memory_format=torch.channels_last)
    with torch.no_grad():  # running statistics other than the initial ones
        built(built.prepare(images(8, (32, 16), seed=2)))
    built.eval()
    save(tmp_path / "a.safetensors", built, params)
    save(tmp_path / "b.safetensors", built, params)
    read = load(tmp_path / "a.safetensors")
    assert not read.training
    assert torch.equal(embed(read, images(4, (32, 16))), embed(built, images(4, (32, 16))))
    save(tmp_path / "c.safetensors", read, params)
    first = (tmp_path / "a.safetensors").read_bytes()
    assert (tmp_path / "b.safetensors").read_bytes() == first
    assert (tmp_path / "c.safetensors").read_bytes() == first
    names = [f"{name}.safetensors" for name in "abc"]
    assert sorted(os.listdir(tmp_path)) == sorted([*names, *(f".{name}.sums" for name in names)])


def test_checkpoint_holds_the_parameters_that_built_it(tmp_path):
    params = model()
    save(tmp_path / "m.safetensors", Embedder(params.network, (32, 16)), params)
    with safetensors.safe_open(tmp_path / "m.safetensors", "np") as file:
        content = file.metadata()["model"]
    assert "null" not in content  # what is off is left out
    assert section_class("Model").model_validate(json.loads(content), strict=True) == params
    assert load(tmp_path / "m.safetensors").size == (32, 16)


FILES = {
    "missing": (None, "there is no such file; make it with scripts/train.py"),
    "garbage": (b"\x93NUMPY nothing of the kind", "is a NumPy array, not a safetensors file"),
    "empty": (b"", "is empty, not a safetensors file"),
    "pickle": (pickle.dumps({"network": 1}), "is a pickle, not a safetensors file"),
    "web page": (b"<!DOCTYPE html>", "is a web page"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
}


def fails(path, words):
    """Check that a file is refused in one line that names it."""
    started = time.process_time()
    with pytest.raises(ReidError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") or message.startswith(f"{path}, the parameters in it: ")
    assert words in message and message.isprintable() and len(message) < len(str(path)) + 600, message
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize("kind", FILES)
def test_file_that_is_no_checkpoint_is_called_what_it_is(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    content, words = FILES[kind]
    if content is not None:
        path.write_bytes(content)
    fails(path, words)


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_regular_file_is_not_opened(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    fails(path, "not a file")


@pytest.fixture(scope="module")
def whole():
    """Arrays and parameters of a checkpoint."""
    params = model()
    torch.manual_seed(0)
    arrays = Embedder(params.network, (32, 16)).state_dict()
    return arrays, params.model_dump(by_alias=True, exclude_none=True)


def without(content, key):
    return {name: value for name, value in content.items() if name != key}


def network(**changes):
    """A change of the section ``network`` in the parameters of a checkpoint."""
    return lambda params: {**params, "network": {**params["network"], **changes}}


def size(height):
    """A change of the section ``input``."""
    return lambda params: {**params, "input": {"height": height, "width": 16}}


METADATA = {
    "none": (None, "it has no parameters of a model"),
    "other": ({"other": "x"}, "it has no parameters of a model"),
    "another program's": ({"format": "pt", "model": "resnet18"}, "is not valid JSON"),
    "number": ({"model": "3"}, "it names no network"),
    "list": ({"model": "[]"}, "it names no network"),
    "deep": ({"model": "[" * 5000 + "]" * 5000}, "is nested too deeply"),
    "infinite": ({"model": '{"network": 1e400}'}, "is not a finite number"),
    "twice": ({"model": '{"network": 1, "network": 2}'}, "stands twice"),
    "other parameters": (lambda params: {"a": 1}, "it names no network"),
    "network of text": (lambda params: {**params, "network": "resnet18"}, "it names no network"),
    "no input": (lambda params: without(params, "input"), "Input should be"),
    "input of text": (size("32"), "height: Input should be a valid integer"),
    "input of a fraction": (
        lambda params: {**params, "input": {"height": 32.5, "width": 16}},
        "height: Input should be",
    ),
    "input without bounds": (
        lambda params: {**params, "input": {"height": 10**9, "width": 16}},
        "height: Input should",
    ),
    "no backbone": (lambda params: {**params, "network": {}}, "backbone: Field required); train again"),
    "backbone of a number": (network(backbone=3), "backbone: Input should be a valid string"),
    "backbone of a list": (network(backbone=[]), "backbone: Input should be a valid string"),
    "unknown backbone": (network(backbone="resnet19"), "its network cannot be built: network.backbone: neither"),
    "extension's backbone": (
        network(backbone={"kind": "gone"}),
        "needs the backbone gone, which no file",
    ),
    "extension's pooling": (network(pooling={"kind": "gone"}), "needs the pooling gone, which no file"),
    "pooling of a number": (network(pooling={"kind": 3}), "train again"),
    "key of another version": (network(neck=True), "neck: Extra inputs are not permitted"),
    "bnneck of text": (network(bnneck="yes"), "bnneck: Input should be a valid boolean"),
    "stride of text": (network(last_stride="2"), "last_stride: Input should be a valid integer"),
    "projection without bounds": (network(projection={"width": 10**9}), "projection.width: Input should be less than"),
    "name that steers": (network(backbone={"kind": "\x1b[31m"}), "needs the backbone \\x1b[31m"),
}


@pytest.mark.parametrize("kind", METADATA)
def test_parameters_that_do_not_fit_this_version_are_one_error(tmp_path, whole, kind):
    arrays, params = whole
    change, words = METADATA[kind]
    metadata = {"model": json.dumps(change(params))} if callable(change) else change
    safetensors.torch.save_file(arrays, tmp_path / "model.safetensors", metadata)
    fails(tmp_path / "model.safetensors", words)


ARRAYS = {
    "other arrays": (lambda arrays: {"x": torch.zeros(2)}, "mean is missing in it"),
    "no arrays": (lambda arrays: {}, "mean is missing in it"),
    "one too few": (lambda arrays: without(arrays, "backbone.bn1.bias"), "backbone.bn1.bias is missing in it"),
    "one too many": (lambda arrays: {**arrays, "x": torch.zeros(2)}, "x is none of its network's"),
}
OF_ARRAY = {
    "another shape": (lambda value: value[:1], "backbone.bn1.bias has the shape [1] instead of [64]"),
    "no number": (lambda value: value[:0], "backbone.bn1.bias has the shape [0] instead of [64]"),
    "truth values": (lambda value: value > 0, "backbone.bn1.bias is bool instead of float32"),
    "complex": (lambda value: value.to(torch.complex64), "backbone.bn1.bias is complex64 instead of float32"),
    "whole": (lambda value: value.int(), "backbone.bn1.bias is int32 instead of float32"),
    "double": (lambda value: value.double(), "backbone.bn1.bias is float64 instead of float32"),
    "half": (lambda value: value.half(), "backbone.bn1.bias is float16 instead of float32"),
    "NaN": (lambda value: value * torch.nan, "backbone.bn1.bias holds NaN"),
    "infinite": (lambda value: value + torch.inf, "backbone.bn1.bias holds infinite numbers"),
}


@pytest.mark.parametrize("kind", [*ARRAYS, *OF_ARRAY])
def test_arrays_that_are_not_those_of_the_network_are_refused_by_name(tmp_path, whole, kind):
    arrays, params = whole
    if kind in ARRAYS:
        change, words = ARRAYS[kind]
        arrays = change(arrays)
    else:
        change, words = OF_ARRAY[kind]
        arrays = {**arrays, "backbone.bn1.bias": change(arrays["backbone.bn1.bias"])}
    safetensors.torch.save_file(arrays, tmp_path / "model.safetensors", {"model": json.dumps(params)})
    fails(tmp_path / "model.safetensors", words)


def test_a_small_file_that_asks_for_a_huge_network_is_refused_before_it_takes_memory(tmp_path, whole, monkeypatch):
    registered = []

    def register(module, name, value, own=torch.nn.Module.register_parameter):
        own(module, name, value)
        registered.append(0 if value is None else value.numel())

    monkeypatch.setattr(torch.nn.Module, "register_parameter", register)
    params = network(backbone="vit_h_14", pooling={"kind": "token"})(whole[1])
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, {"model": json.dumps(params)})
    fails(path, "its network cannot be built: it has more than 67,108,868 numbers, and the file holds 1")
    assert sum(registered) < 70e6  # of 632 million
    torch.nn.Linear(10_000, 10_000)  # the limit is that file's


def test_checkpoint_cut_short_is_called_a_part(tmp_path, whole):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(whole[0], path, {"model": json.dumps(whole[1])})
    content = path.read_bytes()
    for end in (len(content) - 1, len(content) // 2, 100):
        path.write_bytes(content[:end])
        fails(path, "is damaged or only a part of the file")


def test_checkpoint_that_is_not_what_was_written_is_refused(tmp_path):
    path, params = tmp_path / "model.safetensors", model()
    save(path, Embedder(params.network, (32, 16)), params)
    content = path.read_bytes()
    for place in (0, 50, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        fails(path, "is not what was written")
    path.write_bytes(content)
    assert load(path).size == (32, 16)


def test_checkpoint_from_elsewhere_has_no_digests(tmp_path):
    params = model()
    save(tmp_path / "a.safetensors", Embedder(params.network, (32, 16)), params)
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes())
    assert load(tmp_path / "b.safetensors").size == (32, 16)


def test_weights_of_another_network_do_not_go_into_one(whole):
    built = Embedder(model().network, (32, 16))
    with pytest.raises(ReidError, match=r"^x, \[2\]: does not go into the network, for it has none of that name"):
        set_arrays(built, {"x": torch.zeros(2)})
    with pytest.raises(ReidError, match=r"^backbone\.bn1\.bias, \[2\]: does not .*, for it has \[64\] there"):
        set_arrays(built, {"backbone.bn1.bias": torch.zeros(2)})
