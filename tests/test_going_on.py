"""A killed training goes on and ends in the same bytes; one of other parameters, code or data does not go on."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from reid import training
from reid.files import sha256
from reid.index import build_index, write_index
from reid.params import read_params
from reid.synthetic import make_split
from reid.thumbnails import build_store, open_store
from reid.training import Checkpoint, train

ROOT = Path(__file__).resolve().parents[1]
SCHEDULES = (
    {"kind": "step", "milestones": [1, 2], "gamma": 0.1},
    {"kind": "cosine", "milestones": [], "gamma": 0.1},
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Index and store of a few synthetic actions, in a folder of their own."""
    folder = tmp_path_factory.mktemp("data")
    make_split(folder / "train.zip", "train", 4, 1, progress=False)
    table, _ = build_index(folder / "train.zip", "train")
    write_index(folder / "train.parquet", table, "train", "0" * 64)
    build_store(folder / "train.zip", table, folder / "train.npy", 32, 16, "bilinear", 1, progress=False)
    return folder, table, open_store(folder / "train.npy")


@pytest.fixture
def model():
    model = next(iter(read_params(ROOT / "recipes/demo.yaml").models.values()))
    sampler = model.sampler.model_copy(update={"actions": 1, "people": 4})
    size = model.input.model_copy(update={"height": 32, "width": 16})
    small = {"sampler": sampler, "input": size, "epochs": 3, "precision": "fp32", "threads": 1}
    return model.model_copy(update=small)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize(("stops", "schedule"), [([1, 6], SCHEDULES[0]), ([8, 9, 11], SCHEDULES[1])])
def test_interrupted_training_ends_in_the_same_arrays(data, model, tmp_path, monkeypatch, stops, schedule):
    _, table, store = data
    model = model.model_copy(update={"schedule": type(model.schedule)(**schedule)})
    epochs = []
    whole = train(table, store, model, lambda number, step: epochs.append((number, step[:3])), progress=False)

    step, taken = training.Trainer.step, []

    def interrupted(trainer):
        taken.append(1)
        if len(taken) in stops:
            raise KeyboardInterrupt
        torch.rand(1)  # random numbers drawn elsewhere are restored too
        return step(trainer)

    monkeypatch.setattr(training.Trainer, "step", interrupted)
    checkpoint = Checkpoint(tmp_path / "state.pt", "one", every=0)
    for _ in stops:
        with pytest.raises(KeyboardInterrupt):
            train(table, store, model, checkpoint=checkpoint, progress=False)
    again = []
    network = train(table, store, model, lambda number, step: again.append((number, step[:3])), checkpoint, False)
    assert same(network, whole)
    assert again == epochs and len(epochs) == 3
    assert len(taken) == 3 * 4 + len(stops)  # no batch was trained twice


def test_state_of_another_identity_or_a_damaged_one_is_not_picked_up(data, model, tmp_path, caplog):
    _, table, store = data
    caplog.set_level("INFO", "reid")
    path = tmp_path / "state.pt"
    trainer = training.Trainer(table, store, model)
    trainer.step()
    Checkpoint(path, "one", every=0).save(trainer)
    assert Checkpoint(path, "one").load()["batch"] == 1
    assert Checkpoint(path, "other").load() is None
    assert "other parameters" in caplog.text
    path.write_bytes(path.read_bytes()[:1000])
    assert Checkpoint(path, "one").load() is None
    assert "cannot be read" in caplog.text


def test_state_is_kept_only_when_it_is_time(data, model, tmp_path):
    _, table, store = data
    checkpoint = Checkpoint(tmp_path / "state.pt", "one", every=3600)
    checkpoint.save(training.Trainer(table, store, model))
    assert not checkpoint.path.exists()


@pytest.mark.slow
def test_program_killed_three_times_ends_in_the_same_file(data, model, tmp_path):
    folder, *_ = data
    params = yaml.safe_load((ROOT / "recipes/demo.yaml").read_text())
    params["models"] = {"small": {**model.model_dump(), "epochs": 12}, "none": {**model.model_dump(), "epochs": 0}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))

    def start(name, *more, model="small"):
        paths = {"out": f"{name}/a.safetensors", "curves": f"{name}/curves", "speed": f"{name}/speed"}
        command = [sys.executable, str(ROOT / "scripts/train.py"), "--model", model, *more]
        command += ["--index", str(folder / "train.parquet"), "--thumbnails", str(folder / "train.npy")]
        command += [word for key, value in paths.items() for word in (f"--{key}", value)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, **quiet)

    whole = start("whole")
    state, seen, rng = tmp_path / "killed/.training.pt", b"", random.Random(5)
    for _ in range(3):
        run = start("killed", "--keep-every", "0")
        while run.poll() is None and (not state.exists() or _digest(state) == seen):
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5))
        assert run.poll() is None, "it ended before it was killed"
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert not (tmp_path / "killed/a.safetensors").exists()
        seen = _digest(state)
    assert start("killed", "--keep-every", "0").wait() == 0
    assert whole.wait() == 0
    assert sha256(tmp_path / "killed/a.safetensors") == sha256(tmp_path / "whole/a.safetensors")
    curves = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole/curves").rglob("*.tsv"))
    assert len(curves) >= 2
    for path in curves:
        assert (tmp_path / "killed" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()
    assert not state.exists()
    # no epochs: the untrained network, with curves of no points
    assert start("none", model="none").wait() == 0
    assert (tmp_path / "none/a.safetensors").exists()
    assert (tmp_path / "none/curves/plots/metrics/loss.tsv").read_text() == "step\tloss\n"


def _digest(path):
    """Hash of a file that may be replaced at any moment."""
    return hashlib.sha256(path.read_bytes()).digest()
