"""Checkpoint files: the same bytes, arrays and embeddings again, and what is refused."""

import json
import os
import pickle

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from builders.model import MODEL, NETWORK, model
from reid.core.errors import ReidError
from reid.models.checkpoint import load, save
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
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "b.safetensors", "c.safetensors"]


def test_checkpoint_holds_the_parameters_that_built_it(tmp_path):
    params = model()
    save(tmp_path / "m.safetensors", Embedder(params.network, (32, 16)), params)
    with safetensors.safe_open(tmp_path / "m.safetensors", "np") as file:
        content = file.metadata()["model"]
    assert "null" not in content  # what is off is left out
    assert section_class("Model").model_validate(json.loads(content), strict=True) == params
    assert load(tmp_path / "m.safetensors").size == (32, 16)


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
        save(path, Embedder(params.network, (32, 16)), params)
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
        load(path)
