"""A killed training goes on and ends in the same bytes; one of other parameters, code or data does not go on."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from builders import ROOT
from builders.model import model
from reid.core.files import sha256
from reid.data.index import build_index, write_index
from reid.data.thumbnails import build_store, open_store
from reid.models.pretrained import write_start
from reid.synthetic.dataset import make_split
from reid.training import trainer as training
from reid.training.dataset import Pictures, select_people
from reid.training.trainer import Checkpoint, train
from reid.training.validation import Watcher

# what a state must hold beside the weights: a change of rate inside an epoch, averages, random pictures, gradients
# over two batches, what valid was like, trainings of other seeds
CHANGES = {
    "step": {"schedule": {"kind": "step", "milestones": [1, 2], "gamma": 0.1}},
    "average": {
        "schedule": {"kind": "one_cycle", "warm_up": 0.3},
        "averaging": {"kind": "ema", "decay": 0.9},
        "pictures.crop": {"probability": 0.5, "margin": 0.1},
        "pictures.erasing": {"probability": 0.5, "smallest": 0.02, "largest": 0.4},
        "watch": {"every": 1, "choose": "best", "patience": None, "metric": "cosine"},
    },
    "accumulate": {
        "optimiser.accumulate": 2,
        "optimiser.clip": 1.0,
        "averaging": {"kind": "ema", "decay": 0.5},
        "loss.softmax": {"weight": 1.0, "label_smoothing": 0.1, "over": "action"},
        "network.neck": "batch_norm",
        "pictures.progressive": {"scale": 0.75, "until": 0.6},
        "budget": 60,
    },
    "soup": {
        "soup": [7],
        "network.weights": "any.pth",
        "epochs": 2,
        "averaging": {"kind": "epochs", "last": 2},
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Index and store of a few synthetic actions of valid, then of train, and their folder."""
    folder, found = tmp_path_factory.mktemp("data"), []
    for split in ("valid", "train"):
        make_split(folder / f"{split}.zip", split, 4, 1, progress=False)
        table, _ = build_index(folder / f"{split}.zip", split)
        write_index(folder / f"{split}.parquet", table, split, "0" * 64)
        store = folder / f"{split}.npy"
        build_store(folder / f"{split}.zip", table, store, 32, 16, "bilinear", 1, progress=False)
        found.append((table, open_store(store)))
    write_start(folder / "start.safetensors", None, {"name": None})
    return found[0], *found[1], folder


def small(changes=None):
    sampler = {"kind": "actions", "actions": 1, "people": 4, "images": 2, "neighbours": "any"}
    return model({"sampler": sampler, "loss.negatives": "action", "epochs": 3, **(changes or {})})


def arguments(data, params):
    _, table, store, _ = data
    watcher = Watcher(*data[0], "cosine") if params.watch else None
    return select_people([table], params.subset), Pictures([store]), params, None, watcher


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", CHANGES)
def test_interrupted_training_ends_in_the_same_arrays(data, name, tmp_path, monkeypatch):
    params, epochs = small(CHANGES[name]), []
    whole = train(*arguments(data, params), lambda number, step: epochs.append((number, step)), progress=False)

    step, taken, stops = training.Trainer.step, [], {"soup": [3, 12]}.get(name, [2, 7])

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
            train(*arguments(data, params), checkpoint=checkpoint, progress=False)
    again = []
    found = train(
        *arguments(data, params), lambda number, step: again.append((number, step)), checkpoint, progress=False
    )
    assert same(found.chosen, whole.chosen) and same(found.last, whole.last)
    assert found.summary == whole.summary
    timeless = [(number, step._replace(seconds=0, waiting=0)) for number, step in epochs]
    assert [(number, step._replace(seconds=0, waiting=0)) for number, step in again] == timeless
    once_more = len(stops) * (params.optimiser.accumulate - 1)  # batches whose gradients no state holds
    steps = sum(-(-step.pictures // 8) for _, step in epochs)
    assert steps + len(stops) <= len(taken) <= steps + len(stops) + once_more


def test_state_of_another_identity_or_a_damaged_one_is_not_picked_up(data, tmp_path, caplog):
    caplog.set_level("INFO", "reid")
    path = tmp_path / "state.pt"
    trainer = training.Trainer(*arguments(data, small()))
    trainer.step()
    Checkpoint(path, "one", every=0).save(trainer)
    assert Checkpoint(path, "one").load()["trainer"]["batch"] == 1
    assert Checkpoint(path, "other").load() is None
    assert "other parameters" in caplog.text
    path.write_bytes(path.read_bytes()[:1000])
    assert Checkpoint(path, "one").load() is None
    assert "cannot be read" in caplog.text


def test_state_is_kept_only_when_it_is_time(data, tmp_path):
    checkpoint = Checkpoint(tmp_path / "state.pt", "one", every=3600)
    checkpoint.save(training.Trainer(*arguments(data, small())))
    assert not checkpoint.path.exists()


@pytest.mark.slow
def test_program_killed_three_times_ends_in_the_same_file(data, tmp_path):
    folder = data[-1]
    params = yaml.safe_load((ROOT / "recipes/demo.yaml").read_text())
    section = small({**CHANGES["average"], "epochs": 12}).model_dump()
    params["models"] = {"small": section, "none": {**section, "watch": None, "epochs": 0}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))

    def start(name, *more, model="small"):
        paths = {"out": f"{name}/a.safetensors", "last": f"{name}/last.safetensors", "summary": f"{name}/s.json"}
        paths |= {"curves": f"{name}/curves", "speed": f"{name}/speed", "start": folder / "start.safetensors"}
        command = [sys.executable, str(ROOT / "scripts/train.py"), "--model", model, *more]
        command += ["--index", str(folder / "train.parquet"), "--thumbnails", str(folder / "train.npy")]
        command += [str(word) for key, value in paths.items() for word in (f"--{key}", value)]
        if model == "small":
            command += ["--watch", str(folder / "valid.parquet"), str(folder / "valid.npy")]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, **quiet)

    whole = start("whole")
    state, seen, rng = tmp_path / "killed/.training.pt", None, random.Random(5)
    for _ in range(3):
        run = start("killed", "--keep-every", "0")
        while run.poll() is None and (not state.exists() or state.stat().st_mtime_ns == seen):
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5))
        assert run.poll() is None, "it ended before it was killed"
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert not (tmp_path / "killed/a.safetensors").exists()
        seen = state.stat().st_mtime_ns
    assert start("killed").wait() == 0
    assert whole.wait() == 0
    for file in ("a.safetensors", "last.safetensors", "s.json"):
        assert sha256(tmp_path / "killed" / file) == sha256(tmp_path / "whole" / file)
    curves = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole/curves").rglob("*.tsv"))
    assert len(curves) >= 4
    for path in curves:
        assert (tmp_path / "killed" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()
    assert not state.exists()
    # no epochs: the untrained network, with curves of no points
    assert start("none", model="none").wait() == 0
    assert (tmp_path / "none/a.safetensors").exists()
    for name in ("loss", "learning_rate", "valid_mAP"):
        assert (tmp_path / f"none/curves/plots/metrics/{name}.tsv").read_text() == f"step\t{name}\n"
