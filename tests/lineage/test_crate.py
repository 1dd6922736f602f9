"""The RO-Crate of a run says of every stage what it took and made, by content, and passes its profile's validator."""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from typing import ClassVar

import pytest
import yaml

from reid.core.errors import ReidError
from reid.lineage.lock import read_lock

pytest.importorskip("rocrate", reason="needs envs/export.txt")
from reid.lineage import crate as module
from reid.lineage.crate import write_crate

VALIDATOR = os.environ.get("ROCRATE_VALIDATOR") or shutil.which("rocrate-validator")
PROFILE = "provenance-run-crate-0.5"
RECORD = {
    "split": "test",
    "time": "2026-01-02T03:04:05Z",
    "code": {"commit": "c0ffee"},
    "machine": {"processor": "any", "system": "Linux", "python": "3.11"},
}

STAGES = """
vars: [{models: {}, studies: [one]}]
stages:
  download: {outs: [data/raw/train.zip]}
  train: {foreach: "${models}", do: {outs: [results/curve.csv, results/scores.json]}}
  study: {foreach: "${studies}", do: {outs: ["results/studies/${item}/table.md"]}}
"""


def md5(content):
    return hashlib.md5(content).hexdigest()


class Run:
    """A run of two stages, download and train@small, of which the second made a large table and small scores."""

    FILES: ClassVar = {"data/raw/train.zip": b"zip", "results/curve.csv": b"m" * 100, "results/scores.json": b"{}"}

    def __init__(self, folder):
        self.folder = folder
        for name, content in self.FILES.items():
            self.write(name, content)
        for name in ("README.md", "LICENSE", "Snakefile", "workflow/rules/data.smk"):
            self.write(name, f"{name}\n".encode())
        self.write("dvc.yaml", STAGES.encode())
        self.write("params.yaml", b"models: {small: {}}\n")
        for rule in ("download", "train"):
            self.write(f"scripts/{rule}.py", f"# {rule}\n".encode())
        self.write("results/submission/test.provenance.json", json.dumps(RECORD).encode())
        code = {"path": "reid/core", "md5": "0" * 32 + ".dir", "size": 5, "nfiles": 1}
        self.lock = {
            "inputs": {"outs": [self.entry("data/raw/train.zip")]},
            "download": {"deps": [code], "outs": [self.entry("data/raw/train.zip")]},
            "train@small": {
                "deps": [code, self.entry("data/raw/train.zip"), {**code, "path": "data/more"}],
                "params": {"params.yaml": {"models.small": {"epochs": 3}}},
                "outs": [self.entry("results/curve.csv"), self.entry("results/scores.json")],
            },
        }
        self.write_lock()

    def write(self, name, content):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)

    def write_lock(self):
        self.write("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": self.lock}).encode())

    def entry(self, name):
        return {"path": name, "hash": "md5", "md5": md5(self.FILES[name]), "size": len(self.FILES[name])}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 50)
    return Run(tmp_path / "run")


def entities(path):
    with zipfile.ZipFile(path) as archive:
        graph = json.loads(archive.read("ro-crate-metadata.json"))["@graph"]
    return {entity["@id"]: entity for entity in graph}


def named(entity, key, known):
    found = entity[key] if isinstance(entity[key], list) else [entity[key]]
    return {known[item["@id"]]["name"] for item in found}


def test_each_stage_says_what_it_took_and_made_by_content(run, tmp_path):
    assert write_crate(tmp_path / "crate.zip", run.folder) == (11, 3)
    known = entities(tmp_path / "crate.zip")
    train = known["#run/train@small"]
    assert train["instrument"] == {"@id": "scripts/train.py"}
    assert named(train, "object", known) == {"data/raw/train.zip", "data/more", "models.small"}
    assert named(train, "result", known) == {"results/curve.csv", "results/scores.json"}
    assert named(known["#run"], "object", known) == {"params.yaml", "data/more"}
    assert named(known["#run"], "result", known) == {"results/curve.csv", "results/scores.json"}
    assert json.loads(known["#parameter/train@small/models.small"]["value"]) == {"epochs": 3}
    assert known["Snakefile"]["version"] == "c0ffee"
    large = next(entity for entity in known.values() if entity.get("name") == "results/curve.csv")
    assert large["@id"].startswith("arcp://uuid,")
    assert large["md5"] == md5(b"m" * 100)
    with zipfile.ZipFile(tmp_path / "crate.zip") as archive:
        for name in set(archive.namelist()) - {"ro-crate-metadata.json"}:
            content = archive.read(name)
            assert content == (run.folder / name).read_bytes()
            assert known[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert not {"results/curve.csv", "data/raw/train.zip"} & set(archive.namelist())


def test_stages_that_there_are_no_more_and_studies_are_no_part_of_the_run(run, tmp_path):
    write_crate(tmp_path / "a.zip", run.folder)
    before = set(entities(tmp_path / "a.zip"))
    for name, path in (("train@gone", "results/gone.json"), ("study@one", "results/studies/one/table.md")):
        run.lock[name] = {"outs": [{"path": path, "md5": "0" * 32, "size": 9}]}
    run.write_lock()
    write_crate(tmp_path / "b.zip", run.folder)
    assert {entity for entity in entities(tmp_path / "b.zip") if not entity.startswith("arcp:")} == {
        entity for entity in before if not entity.startswith("arcp:")
    }


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    for name in ("a.zip", "b.zip"):
        write_crate(tmp_path / name, run.folder)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_run_that_is_not_recorded_is_refused(run, tmp_path):
    run.write("results/scores.json", b"[]")
    with pytest.raises(ReidError, match=r"scores\.json: is not what dvc\.lock records; .*make record"):
        write_crate(tmp_path / "crate.zip", run.folder)
    (run.folder / "results/submission/test.provenance.json").unlink()
    with pytest.raises(ReidError, match=r"submission: holds no provenance"):
        write_crate(tmp_path / "crate.zip", run.folder)
    (run.folder / "dvc.lock").unlink()
    with pytest.raises(ReidError, match=r"dvc\.lock: there is no such file; `make record`"):
        write_crate(tmp_path / "crate.zip", run.folder)
    assert not (tmp_path / "crate.zip").exists()


@pytest.mark.parametrize("content", ["stages: [1]", "{", "stages: {a: {outs: [{path: x}]}}", ""])
def test_a_damaged_ledger_is_one_error(content, tmp_path):
    (tmp_path / "dvc.lock").write_text(content)
    with pytest.raises(ReidError, match=r"dvc\.lock: is not a ledger of DVC"):
        read_lock(tmp_path / "dvc.lock")


@pytest.mark.skipif(not VALIDATOR, reason="roc-validator is not here: uv tool install roc-validator")
def test_the_crate_passes_the_validator(run, tmp_path):
    write_crate(tmp_path / "crate.zip", run.folder)
    words = [VALIDATOR, "-y", "validate", "-p", PROFILE, "--no-paging", tmp_path / "crate.zip"]
    done = subprocess.run(words, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if "URLError" in said or "ConnectionError" in said:
        pytest.skip("the validator fetches JSON-LD contexts, and there is no network")
    assert done.returncode == 0, said
