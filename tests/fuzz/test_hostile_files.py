"""Every file that a program reads, changed at random places: refused by name, or read as something sound."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from builders.hostile import TRIES, attempt, mutated, seeds
from builders.model import model
from builders.scored import make_queries, write_split
from builders.split import TinySplit, write_zip
from reid.core.files import write_csv, write_json
from reid.data.index import build_index, read_index, write_index
from reid.data.thumbnails import build_store, open_store
from reid.evaluation.queries import read_queries, write_queries
from reid.models.checkpoint import load, save
from reid.models.embedder import Embedder
from reid.models.pretrained import find_init, read_init, write_init
from reid.params.data import Thumbnails
from reid.ranking.distances import read_distances
from reid.reports.curves import read_curve, read_summary
from reid.reports.scorecard import read_cmc, read_scores, read_slices
from reid.retrieval.embeddings import read_embeddings, read_external, write_embeddings
from reid.training.resume import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")
NETWORK = {"network.backbone": "osnet_x0_25"}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """One good file of every kind: name to path; and what their readers need."""
    folder = tmp_path_factory.mktemp("good")
    write_split(folder)
    write_queries(folder / "queries.parquet", make_queries(folder), "valid", False)
    table, _ = read_index(folder / "index.parquet")
    write_embeddings(folder / "embeddings.npy", np.random.default_rng(0).normal(size=(len(table), 8)).astype("f4"))
    rows = table.select(["role", "bbox_idx"]).to_pydict()
    boxes = pa.table({**rows, "embedding": pa.array([[0.5, 1.0]] * len(table), pa.list_(pa.float32()))})
    pq.write_table(boxes, folder / "valid.parquet")
    write_zip(folder / "split.zip", TinySplit("valid").members())
    tiny, _ = build_index(folder / "split.zip", "valid")
    build_store(folder / "split.zip", tiny, folder / "store.npy", Thumbnails(height=16, width=8), 1, progress=False)
    section = model(NETWORK)
    network = Embedder(section.network, (32, 16))
    save(folder / "checkpoint.safetensors", network, section)
    write_init(folder / "init.safetensors", None, {"name": None})
    torch.save({"state_dict": network.backbone.state_dict(), "epoch": 3}, folder / "weights.pth")
    save_file({"a": torch.zeros(3)}, folder / "foreign.safetensors")
    write_json(folder / "metrics.json", {"split": "valid", "mAP": 0.5, "rank-1": 0.4, "chance": {"mAP": 0.1}})
    write_json(folder / "summary.json", {"model": "m", "trained_on": ["train"], "seeds": []})
    write_csv(folder / "cmc.csv", ["rank", "share"], [(1, 0.5), (2, 0.75)])
    write_csv(folder / "slices.csv", ["slice", "value", "queries", "mAP", "low", "high", "rank-1"], [])
    (folder / "loss.tsv").write_text("step\tloss\n0\t2.5\n1\t1.5\n")
    torch.save({"fingerprint": "one", "state": {"trainer": {}, "finished": []}}, folder / "state.pt")
    for sums in folder.glob(".*.sums"):
        sums.unlink()  # without digests: what a file from elsewhere is like
    return folder, table, tiny


def readers(folder, table, tiny):
    """Kind of file to (name, reader of a path)."""
    count = len(table)
    return {
        "index": ("index.parquet", read_index),
        "distances": ("distances.parquet", read_distances),
        "queries": ("queries.parquet", lambda path: read_queries(path, path)),
        "embeddings": ("embeddings.npy", lambda path: read_embeddings(path, count)),
        "external": ("valid.parquet", lambda path: read_external(path.parent, "valid", table)),
        "store": ("store.npy", lambda path: np.asarray(open_store(path, len(tiny))[:])),
        "zip": ("split.zip", lambda path: build_index(path, "valid")),
        "checkpoint": ("checkpoint.safetensors", load),
        "init": ("init.safetensors", read_init),
        "foreign weights": ("foreign.safetensors", read_init),
        "weights": ("weights.pth", lambda path: find_init(model({**NETWORK, "network.weights": str(path)}))),
        "metrics": ("metrics.json", read_scores),
        "summary": ("summary.json", read_summary),
        "cmc": ("cmc.csv", read_cmc),
        "slices": ("slices.csv", read_slices),
        "curve": ("loss.tsv", lambda path: read_curve(path, "loss")),
    }


KINDS = sorted(readers(None, (), ()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_one_clear_error_or_sound(good, kind, tmp_path, nothing_left):
    folder, table, tiny = good
    name, read = readers(folder, table, tiny)[kind]
    content = (folder / name).read_bytes()
    for seed in seeds(tries=20 if kind in ("weights", "checkpoint") else TRIES):  # those build a network each time
        path = tmp_path / name
        path.write_bytes(mutated(content, seed))
        attempt(lambda path=path: read(path), name.partition(".")[0] if kind == "external" else name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_one_clear_error(good, kind, tmp_path):
    folder, table, tiny = good
    name, read = readers(folder, table, tiny)[kind]
    others = {
        other: path.read_bytes() for other in KINDS for path in [folder / readers(folder, table, tiny)[other][0]]
    }
    strange = {
        "empty": b"",
        "zeros": bytes(5000),
        "a web page": b"<!DOCTYPE html><html>Sign in</html>",
        "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "brackets": b"[" * 100_000,
        "objects": b'{"a":' * 100_000,
        "a number": b"1e400",
        "text": b"no such thing\n" * 100,
        "utf-16": "rank,share\n".encode("utf-16"),
    }
    for other, content in {**others, **strange}.items():
        if content == others[kind]:
            continue
        path = tmp_path / name
        path.write_bytes(content)
        taken = attempt(lambda path=path: read(path))
        # JSON of any kind may be a summary; a checkpoint of the same network holds weights for it
        assert not taken or other in ("init", "foreign weights", "summary", "metrics", "checkpoint"), other


def test_a_kept_state_that_was_changed_is_never_an_error(good, tmp_path):
    content = (good[0] / "state.pt").read_bytes()
    for seed in seeds():
        path = tmp_path / "state.pt"
        path.write_bytes(mutated(content, seed))
        attempt(lambda path=path: TrainingState(path, "one").load())


@pytest.mark.parametrize("kind", ["index", "embeddings", "checkpoint", "metrics", "weights", "cmc"])
def test_what_is_no_file_is_one_clear_error(good, kind, tmp_path):
    import os

    folder, table, tiny = good
    name, read = readers(folder, table, tiny)[kind]
    path = tmp_path / name
    makers = [
        lambda: None,
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(tmp_path / "nowhere"),
        lambda: path.symlink_to(path),
    ]
    for make in makers:
        make()
        assert not attempt(lambda: read(path), name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def test_metadata_of_another_maker_is_one_clear_error(good, tmp_path):
    folder, table, _ = good
    for text in ("", "[]", "null", "1", '{"split": 3}', '{"split": "valid"}', "{" * 5000, '{"split": "\\ud800"}'):
        for name, read in (("index.parquet", read_index), ("queries.parquet", lambda path: read_queries(path, path))):
            content = pq.read_table(folder / name).replace_schema_metadata({"reid": text})
            pq.write_table(content, tmp_path / name)
            attempt(lambda path=tmp_path / name, read=read: read(path), name)
    write_index(tmp_path / "index.parquet", table, "valid", "0" * 64)
    assert json.loads(pq.read_schema(tmp_path / "index.parquet").metadata[b"reid"])["split"] == "valid"
