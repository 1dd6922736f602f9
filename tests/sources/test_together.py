"""Zips, stores and weights of a team: each is made once, and taken by everybody else as the same bytes."""

import argparse
import json
import logging
import runpy

import pytest
import safetensors.torch
import torch
import yaml

from builders import ROOT
from builders.model import MODEL, changed
from builders.split import digest, split_zip
from builders.whole import MINIMAL, load
from reid.core.checksums import difference, read_sums
from reid.core.errors import ReidError
from reid.data.index import build_index, write_index
from reid.params.reading import read_params
from reid.sources import together

BASE = changed(load(MINIMAL), {f"download.synthetic.actions.{split}": 1 for split in ("valid", "challenge")})


@pytest.fixture
def team(tmp_path, monkeypatch, caplog):
    """A shared place, and ``team(program, who, **arguments)``, which runs a program and returns its output."""
    caplog.set_level(logging.INFO, "reid")
    (tmp_path / "place").mkdir()
    monkeypatch.setenv("REID_SHARED", str(tmp_path / "place"))

    def run(program, out, **arguments):
        caplog.clear()
        path = tmp_path / out
        given = {"out": path, "params": tmp_path / "params.yaml", "threads": 1, **arguments}
        runpy.run_path(str(ROOT / "scripts" / f"{program}.py"))["main"](argparse.Namespace(**given))
        return path

    run.root, run.text = tmp_path, lambda: caplog.text
    run.params = lambda changes: (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed(BASE, changes)))
    run.params({})
    return run


def taken(team):
    return "taken from" in team.text()


def download(team, folder, split="valid"):
    work = team.root / folder / "work"
    receipt = team.root / folder / f"{split}.json"
    return team("download", f"{folder}/{split}.zip", split=split, receipt=receipt, work=work)


def forbid(monkeypatch, *names):
    """Let a fetching or drawing function fail: what is taken from the place needs none."""

    def refused(*_, **__):
        raise AssertionError("made once more")

    for name in names:
        monkeypatch.setattr(name, refused)


@pytest.mark.parametrize("split", ["valid", "challenge"])
def test_matches_are_drawn_once(team, monkeypatch, split):
    first = download(team, "a", split)
    assert not taken(team)
    forbid(monkeypatch, "reid.synthetic.dataset.make_split")
    second = download(team, "b", split)
    assert taken(team) and "WARNING" not in team.text()
    names = [f"{split}.zip", f"{split}.json", *(["challenge_bbox_info.json"] if split == "challenge" else [])]
    for name in names:
        assert (first.parent / name).read_bytes() == (second.parent / name).read_bytes()
    assert difference(second, read_sums(second)) is None


def test_other_matches_are_others(team):
    def key(split="valid", **changes):
        team.params({f"download.{place}": value for place, value in changes.items()})
        return together._key(read_params(team.root / "params.yaml").download, split)

    others = [
        key(),
        key("test"),
        key(**{"synthetic.seed": 2}),
        key(**{"synthetic.actions.valid": 3}),
        key(source="soccernet"),
    ]
    assert len(set(others)) == 5 and None not in others
    assert key(**{"synthetic.actions.train": 9}) == key(), "another split's"
    assert key(source="local", path=str(team.root)) is None


@pytest.fixture
def fetched(team):
    """A zip that the downloader of SoccerNet has brought already, to folder ``a``."""
    kept = team.root / "a/work/reid/valid.zip"
    kept.parent.mkdir(parents=True)
    split_zip(kept)
    team.params({"download.source": "soccernet"})


def test_the_soccernet_download_comes_from_a_team_mate(team, fetched, monkeypatch):
    first = download(team, "a")
    forbid(monkeypatch, "reid.sources.soccernet._download")
    second = download(team, "b")
    assert taken(team) and first.read_bytes() == second.read_bytes()
    receipts = [json.loads(path.with_suffix(".json").read_text()) for path in (first, second)]
    assert receipts[0] == receipts[1] and receipts[0]["source"] == "soccernet"


def test_a_pin_finds_a_zip_whatever_its_source(team, monkeypatch):
    download(team, "a")
    mine = digest(team.root / "a/valid.zip")
    forbid(monkeypatch, "reid.sources.soccernet._download")
    team.params({"download.source": "soccernet", "download.sha256": {"valid": mine}})
    assert digest(download(team, "b")) == mine
    folder = team.root / "own"
    folder.mkdir()
    other = split_zip(folder / "valid.zip")
    pin = {"download.sha256": {"valid": digest(other)}}
    team.params({"download.source": "local", "download.path": str(folder), **pin})
    assert digest(download(team, "c")) == digest(other) and not taken(team)
    assert digest(download(team, "d")) == digest(other) and taken(team)
    other.unlink()
    team.params({"download.source": "local", "download.path": str(folder)})
    with pytest.raises(ReidError, match="holds no valid split"):
        download(team, "e")  # without a pin nothing says that it is this one


def test_a_zip_of_another_split_is_told_and_not_taken(team, fetched):
    first = download(team, "a")
    (key,) = (team.root / "place/keys").iterdir()
    wrong = split_zip(team.root / "train.zip", "train")
    key.write_text(json.dumps({"sha256": digest(wrong)}))
    wrong.rename(team.root / "place/objects" / digest(wrong))
    second = download(team, "a")
    assert "is not the valid split" in team.text() and not taken(team)
    assert second == first and json.loads(key.read_text())["sha256"] == digest(first), "mended"


@pytest.fixture
def index(team):
    zip_path = split_zip(team.root / "valid.zip")
    out = team.root / "valid.parquet"
    write_index(out, build_index(zip_path, "valid")[0], "valid", digest(zip_path))
    return zip_path, out


def test_images_are_decoded_once(team, index, monkeypatch):
    zip_path, table = index
    first = team("thumbnails", "a.npy", zip=zip_path, index=table)
    assert not taken(team)
    forbid(monkeypatch, "reid.data.thumbnails.build_store")
    second = team("thumbnails", "b.npy", zip=zip_path, index=table)
    assert taken(team) and first.read_bytes() == second.read_bytes()
    assert read_sums(first) == read_sums(second), "the same blocks"


@pytest.mark.parametrize(
    "change", [{"thumbnails.height": 40}, {"thumbnails.fit": "pad"}, {"thumbnails.interpolation": "bicubic"}]
)
def test_other_thumbnails_are_others(team, index, change):
    zip_path, table = index
    team("thumbnails", "a.npy", zip=zip_path, index=table)
    team.params(change)
    team("thumbnails", "b.npy", zip=zip_path, index=table)
    assert not taken(team)


def test_weights_are_fetched_once(team, monkeypatch):
    from reid.models.embedder import Embedder

    small = changed(MODEL, {"network.backbone": "osnet_x0_25", "network.weights": str(team.root / "w.safetensors")})
    team.params({"models.one": small})
    network = read_params(team.root / "params.yaml").models["one"].network
    state = Embedder(network, (32, 16)).state_dict()
    state = {name: value.contiguous() for name, value in state.items() if name != "backbone.conv1.bn.weight"}
    safetensors.torch.save_file({**state, "other": torch.ones(1)}, team.root / "w.safetensors")
    first = team("weights", "a.safetensors", model="one")
    assert not taken(team)
    forbid(monkeypatch, "reid.models.pretrained.find_init")
    second = team("weights", "b.safetensors", model="one")
    assert taken(team) and first.read_bytes() == second.read_bytes()
    assert "left out: other" in team.text() and "starts at random: backbone.conv1.bn.weight" in team.text()
    monkeypatch.undo()
    monkeypatch.setenv("REID_SHARED", str(team.root / "place"))
    safetensors.torch.save_file({**state, "another": torch.ones(1)}, team.root / "w.safetensors")
    team("weights", "c.safetensors", model="one")
    assert not taken(team), "of another file"
