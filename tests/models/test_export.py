"""Models outside of the pipeline: the same embeddings in onnxruntime and in PyTorch's exported programs."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from builders import thorough
from builders.model import model
from builders.training import league
from reid.core.errors import ReidError
from reid.models import export as module
from reid.models.checkpoint import load, save
from reid.models.embedder import Embedder
from reid.models.embedding import embed
from reid.models.export import Export, require_extra
from reid.params.ranking import Embed

pytestmark = pytest.mark.usefixtures("torch_as_it_was", "cpu", "one_thread")
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="needs envs/export.txt",
)
SIZE = 32, 16


def checkpoint_of(folder, backbone, size=SIZE):
    """A checkpoint whose running statistics are not those of a new network."""
    params = model({"network.backbone": backbone, "network.bnneck": True, "input.height": size[0]})
    torch.manual_seed(0)
    network = Embedder(params.network, size).train()
    with torch.no_grad():
        network(network.prepare(torch.from_numpy(league()[1])))
    save(folder / "model.safetensors", network, params)
    return folder / "model.safetensors"


def of_pipeline(checkpoint, images, flip_test):
    return embed(load(checkpoint), images, Embed(batch_size=64, flip_test=flip_test), progress=False)


@needs_onnx
@thorough
@pytest.mark.parametrize("backbone", ["resnet18", "osnet_x0_25", "vit_small_patch16_224"])
@pytest.mark.parametrize("flip_test", [False, True])
def test_onnx_agrees_with_the_pipeline_for_any_batch(backbone, flip_test, tmp_path):
    import onnxruntime

    images = league()[1]
    checkpoint = checkpoint_of(tmp_path, backbone)
    difference = Export(checkpoint, images[:5], flip_test).onnx(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    expected = of_pipeline(checkpoint, images, flip_test)
    for count in (1, 7, 40):
        found = session.run(None, {"images": images[:count]})[0]
        np.testing.assert_allclose(found, expected[:count], atol=1e-4 * max(1, np.abs(expected).max()))
    assert difference < 1e-4
    assert session.get_inputs()[0].shape == ["batch", *SIZE, 3]
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["model"])["network"]["backbone"] == backbone
    assert said["flip_test"] == str(flip_test).lower()
    content = (tmp_path / "m.onnx").read_bytes()
    assert module.__file__.encode() not in content  # nor any other path of this machine
    Export(checkpoint, images[:5], flip_test).onnx(tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == content


@needs_onnx
@thorough
def test_images_of_another_size_are_resized_inside(tmp_path):
    images = np.kron(league()[1][:6], np.ones((1, 2, 2, 1), np.uint8))
    checkpoint = checkpoint_of(tmp_path, "resnet18")
    assert Export(checkpoint, images).onnx(tmp_path / "m.onnx") < 1e-4


@thorough
def test_an_exported_program_agrees_with_the_pipeline_and_says_what_it_is(tmp_path):
    images = league()[1]
    checkpoint = checkpoint_of(tmp_path, "osnet_x0_25")
    assert Export(checkpoint, images[:5], flip_test=True).pt2(tmp_path / "m.pt2") < 1e-4
    extra = {"reid.json": ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=extra).module()
    found = program(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(found, of_pipeline(checkpoint, images, True), atol=1e-5)
    assert "batch x 32 x 16 x 3" in json.loads(extra["reid.json"])["input"]


def test_what_differs_from_pytorch_is_refused(tmp_path):
    export = Export(checkpoint_of(tmp_path, "osnet_x0_25"))
    assert export.images.shape == (16, *SIZE, 3)
    assert export.compare(export.expected, "m.onnx") < 1e-6
    scale = max(1, np.abs(export.expected(export.images)).max())
    for wrong in (2e-4 * scale, np.nan):
        with pytest.raises(
            ReidError, match=r"^m\.onnx: differs from PyTorch by (2\.0e-04|nan), and 1e-04 is the most"
        ):
            export.compare(lambda images, wrong=wrong: export.expected(images) + np.float32(wrong), "m.onnx")


@thorough
def test_a_network_that_cannot_be_exported_is_named(tmp_path, monkeypatch):
    export = Export(checkpoint_of(tmp_path, "osnet_x0_25"))
    monkeypatch.setattr(torch.export, "export", lambda *_, **__: 1 / 0)
    with pytest.raises(ReidError, match=r"model\.safetensors: its network cannot be exported \(division by zero\)"):
        export.pt2(tmp_path / "m.pt2")
    assert not (tmp_path / "m.pt2").exists()


def test_missing_requirements_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnxs") else name)
    with pytest.raises(ReidError, match=r"ONNX needs onnxscript, which .*install.* -r envs/export\.txt$"):
        require_extra()
