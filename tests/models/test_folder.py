"""Embeddings of a folder: those of the same images in a store, with their names, whole or not at all."""

import hashlib
import json
import logging
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from builders.model import model
from builders.split import png
from reid.core.errors import ReidError
from reid.core.tables import read_parquet
from reid.data.thumbnails import decode
from reid.models import folder as module
from reid.models.checkpoint import load, save
from reid.models.embedder import Embedder
from reid.models.embedding import embed
from reid.models.folder import embed_folder
from reid.params.data import Thumbnails
from reid.params.ranking import Embed

pytestmark = pytest.mark.usefixtures("torch_as_it_was", "one_thread")
THUMBNAILS = Thumbnails(height=32, width=16)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    params = model({"network.backbone": "osnet_x0_25"})
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    save(path, Embedder(params.network, (32, 16)), params)
    return path


@pytest.fixture
def images(tmp_path):
    """Name to content of ten images in two folders."""
    contents = {f"{'ab'[i % 2]}/{i:02}.png": png(30 + i, 12 + i, i) for i in range(10)}
    for name, content in contents.items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(content)
    return contents


def run(checkpoint, tmp_path, name="e.parquet", batch_size=4, **more):
    params = Embed(batch_size=batch_size, flip_test=True)
    counts = embed_folder(checkpoint, tmp_path / "images", tmp_path / name, THUMBNAILS, params, progress=False, **more)
    return counts, pq.read_table(tmp_path / name)


def matrix(table):
    return np.array(table["embedding"].to_pylist(), np.float32)


@pytest.mark.usefixtures("cpu")
def test_embeddings_are_those_of_a_store_of_the_same_images_to_the_bit(checkpoint, images, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_GROUP", 7)  # rows are written in several pieces
    counts, table = run(checkpoint, tmp_path)
    names = sorted(images)
    store = np.stack([decode(images[n], 32, 16, (30 + int(n[2:4]), 12 + int(n[2:4]))) for n in names])
    expected = embed(load(checkpoint), store, Embed(batch_size=4, flip_test=True), progress=False)
    assert counts == (10, 0)
    assert table["name"].to_pylist() == names
    np.testing.assert_array_equal(matrix(table), expected)
    about = json.loads(table.schema.metadata[b"reid"])
    assert about["checkpoint"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert about["thumbnails"]["height"] == 32
    first = (tmp_path / "e.parquet").read_bytes()
    run(checkpoint, tmp_path)
    assert (tmp_path / "e.parquet").read_bytes() == first


def test_a_table_is_made_under_a_name_that_is_no_text(checkpoint, images, tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.parquet")
    embed_folder(
        checkpoint, tmp_path / "images", path, THUMBNAILS, Embed(batch_size=4, flip_test=True), progress=False
    )
    assert read_parquet(path).equals(run(checkpoint, tmp_path)[1])


def test_all_broken_images_are_named_in_one_error_and_nothing_is_written(checkpoint, images, tmp_path):
    for name in ("a/02.png", "b/09.png"):  # in the first batch, and behind the one that is embedded last
        (tmp_path / "images" / name).write_bytes(images[name][:50])
    with pytest.raises(ReidError, match=r"(?s)2 problems\n.*a/02\.png: .*cut short.*b/09\.png: .*--skip-broken"):
        run(checkpoint, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_broken_images_are_left_out_when_asked_for_with_a_warning(checkpoint, images, tmp_path, caplog):
    _, whole = run(checkpoint, tmp_path)
    (tmp_path / "images/a/02.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "reid"):
        counts, table = run(checkpoint, tmp_path, "rest.parquet", skip_broken=True)
    assert counts == (9, 1)
    assert "a/02.png" in caplog.text
    assert table["name"].to_pylist() == [name for name in sorted(images) if name != "a/02.png"]
    np.testing.assert_array_equal(matrix(table), np.delete(matrix(whole), 1, 0))


def test_a_folder_without_images_is_refused_with_what_it_holds(checkpoint, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.tiff").write_bytes(b"x")
    with pytest.raises(ReidError, match=r"images: holds no \.png, \.jpg or \.jpeg file; it holds 1 \.tiff"):
        run(checkpoint, tmp_path)
