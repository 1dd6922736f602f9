"""A killed training resumes and ends in the same bytes; one of other parameters, code or data does not."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from builders import FAULTS, ROOT, thorough
from builders.model import MODEL, changed, model
from builders.training import equal, weights
from builders.whole import MINIMAL, load
from reid.core.checksums import sums_path
from reid.core.errors import ReidError
from reid.core.files import read_json, sha256
from reid.data.index import build_index, write_index
from reid.data.thumbnails import build_store, open_store
from reid.models.pretrained import write_init
from reid.params import extensions
from reid.params.data import Thumbnails
from reid.synthetic.dataset import make_split
from reid.training import trainer as training
from reid.training.dataset import Images, select_identities
from reid.training.fingerprint import fingerprint
from reid.training.resume import TrainingState
from reid.training.train import train
from reid.training.validation import Validator

# what a state must hold beside the weights: a change of rate inside an epoch, averages, random images, gradients
# over two batches, what valid was like, trainings of other seeds
CHANGES = {
    "step": {"schedule": {"kind": "step", "milestones": [1, 2], "gamma": 0.1}},
    "average": {
        "schedule": {"kind": "one_cycle", "warmup": 0.3},
        "averaging": {"kind": "ema", "decay": 0.9},
        "augmentation.crop": {"probability": 0.5, "margin": 0.1},
        "augmentation.random_erasing": {"probability": 0.5, "smallest": 0.02, "largest": 0.4},
        "validation": {"select": "best", "metric": "cosine"},
        "precise_bn": 10,
    },
    "accumulation": {
        "optimizer.accumulation": 2,
        "optimizer.clip_norm": 1.0,
        "averaging": {"kind": "ema", "decay": 0.5},
        "loss.id": {"label_smoothing": 0.1, "over": "action"},
        "loss.supcon": {"temperature": 0.1, "learn_temperature": True},
        "loss.memory": {"size": 12, "start": 1},
        "network.bnneck": True,
        "augmentation.progressive_resizing": {"scale": 0.75, "until": 0.6},
        "max_images": 60,
    },
    "soup": {
        "soup": [7],
        "network.weights": "any.pth",
        "epochs": 2,
        "averaging": {"kind": "epochs", "last": 2},
    },
}
CURVES = ("loss", "learning_rate", "valid_mAP", "valid_mAP_averaged")
SMALL = {
    "network.backbone": "test_resnet",  # a state is kept after every step
    "sampler": {"kind": "actions", "actions": 1, "identities": 4, "instances": 2},
    "loss.negatives": "action",
    "epochs": 3,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Index and store of a few synthetic actions of valid, then of train, and their folder."""
    folder, splits = tmp_path_factory.mktemp("data"), []
    for split in ("valid", "train"):
        make_split(folder / f"{split}.zip", split, 4, 1, progress=False)
        table, _ = build_index(folder / f"{split}.zip", split)
        write_index(folder / f"{split}.parquet", table, split, "0" * 64)
        store = folder / f"{split}.npy"
        build_store(folder / f"{split}.zip", table, store, Thumbnails(height=32, width=16), 1, progress=False)
        splits.append((table, open_store(store)))
    write_init(folder / "init.safetensors", None, {"name": None})
    return splits[0], *splits[1], folder


def arguments(data, params):
    valid, table, store, _ = data
    validator = Validator(*valid, params.validation.metric) if params.validation else None
    return select_identities([table], params.subset), Images([store]), params, None, validator


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", CHANGES)
def test_interrupted_training_ends_in_the_same_arrays(data, name, tmp_path, monkeypatch):
    params, whole, again = model({**SMALL, **CHANGES[name]}), [], []

    def run(epochs, state=None):
        return train(*arguments(data, params), lambda *report: epochs.append(report), state, progress=False)

    wanted = run(whole)
    step, taken, stops = training.Trainer.step, [], {"soup": [3, 12]}.get(name, [2, 7])
    end, ends, at_end = training.Trainer.end_epoch, [], (len(whole) + 1, len(whole))  # of the last epoch, twice

    def interrupted(trainer):
        taken.append(1)
        if len(taken) in stops:
            raise KeyboardInterrupt
        torch.rand(1)  # random numbers drawn elsewhere are restored too
        return step(trainer)

    def interrupted_at_the_end(trainer):
        ends.append(1)
        if len(ends) in at_end:
            raise KeyboardInterrupt
        return end(trainer)

    monkeypatch.setattr(training.Trainer, "step", interrupted)
    monkeypatch.setattr(training.Trainer, "end_epoch", interrupted_at_the_end)
    state = TrainingState(tmp_path / "state.pt", "one", every=0)
    for _ in (*stops, *at_end):
        with pytest.raises(KeyboardInterrupt):
            run([], state)
    ended = run(again, state)
    assert equal(weights(ended.selected), weights(wanted.selected))
    assert equal(weights(ended.last), weights(wanted.last))
    assert ended.summary == wanted.summary

    def timeless(epochs):
        return [(number, epoch._replace(seconds=0, waiting=0)) for number, epoch in epochs]

    assert timeless(again) == timeless(whole)
    once_more = len(stops) * (params.optimizer.accumulation - 1)  # batches whose gradients no state holds
    steps = sum(-(-epoch.images // 8) for _, epoch in whole)
    assert steps + len(stops) <= len(taken) <= steps + len(stops) + once_more


def test_a_wish_to_end_that_comes_as_a_seed_ends_is_heard(data, tmp_path, monkeypatch):
    params, end = model({**SMALL, **CHANGES["soup"]}), training.Trainer.end_epoch
    wanted = train(*arguments(data, params), progress=False)
    ends = []

    def told_at_the_end(trainer):
        ends.append(trainer.params.seed)
        if len(ends) == params.epochs:
            signal.raise_signal(signal.SIGTERM)
        return end(trainer)

    monkeypatch.setattr(training.Trainer, "end_epoch", told_at_the_end)
    state = TrainingState(tmp_path / "state.pt", "one", every=3600)
    with pytest.raises(KeyboardInterrupt):
        train(*arguments(data, params), state=state, progress=False)
    kept = state.load()
    assert (len(kept["finished"]), kept["trainer"]["epoch"], kept["trainer"]["batch"]) == (1, 0, 1)
    ended = train(*arguments(data, params), state=state, progress=False)
    assert ends == [params.seed] * params.epochs + params.soup * params.epochs
    assert equal(weights(ended.last), weights(wanted.last))


def test_state_of_another_fingerprint_or_a_damaged_one_is_not_picked_up(data, tmp_path, caplog):
    caplog.set_level("INFO", "reid")
    path = tmp_path / "state.pt"
    trainer = training.Trainer(*arguments(data, model(SMALL)))
    trainer.step()
    TrainingState(path, "one", every=0).save(trainer)
    assert TrainingState(path, "one").load()["trainer"]["batch"] == 1
    assert TrainingState(path, "other").load() is None
    assert "other parameters" in caplog.text
    path.write_bytes(path.read_bytes()[:1000])
    assert TrainingState(path, "one").load() is None
    assert "cannot be read" in caplog.text
    for content in ({}, {"fingerprint": "one"}, {"fingerprint": "one", "state": 3}, [1]):  # whole, and no state
        torch.save(content, path)
        sums_path(path).unlink(missing_ok=True)
        assert TrainingState(path, "one").load() is None


def test_state_is_kept_only_when_it_is_time(data, tmp_path):
    state = TrainingState(tmp_path / "state.pt", "one", every=3600)
    state.save(training.Trainer(*arguments(data, model(SMALL))))
    assert not state.path.exists()


def test_a_training_that_has_diverged_is_not_kept(data, tmp_path):
    trainer = training.Trainer(*arguments(data, model(SMALL)))
    state = TrainingState(tmp_path / "state.pt", "one", every=0)
    trainer.step()
    trainer.sums["loss"] = torch.tensor(torch.nan)
    with pytest.raises(ReidError, match="epoch 1: the loss is nan"):
        state.save(trainer, at_once=True)
    assert not state.path.exists()


def test_fingerprint_is_that_of_parameters_start_data_and_code(tmp_path, extend, monkeypatch):
    script = tmp_path / "train.py"
    script.write_text("print(1)")
    extension = extend("mine", "# nothing yet")
    monkeypatch.setattr(extensions, "FOLDER", extension.parent)
    about, shape = {"split": "train", "zip_sha256": "0" * 64}, (5, 32, 16, 3)
    inputs = {"model": model(), "thumbnails": Thumbnails(height=32, width=16), "init": "a", "data": [[about, shape]]}

    def made(**changes):
        return fingerprint(**{**inputs, **changes}, script=script)

    first = made()
    assert made() == first
    others = [
        made(model=model({"optimizer.learning_rate": 0.002})),
        made(thumbnails=Thumbnails(height=32, width=16, fit="pad")),
        made(init="b"),
        made(data=[[about, (6, 32, 16, 3)]]),
        made(data=[[{**about, "zip_sha256": "1" * 64}, shape]]),
    ]
    script.write_text("print(2)")
    others.append(made())
    extension.write_text("# something now")
    others.append(made())
    for name in ("helpers/weigh.py", "scale.csv"):  # which it may import and read
        (extension.parent / name).parent.mkdir(exist_ok=True)
        for content in ("1", "2"):
            (extension.parent / name).write_text(content)
            others.append(made())
    assert len({first, *others}) == 1 + len(others)


@thorough
def test_program_that_is_killed_ends_in_the_same_file(data, tmp_path):
    folder = data[-1]
    section = changed(MODEL, {**SMALL, **CHANGES["average"], "epochs": 8})
    without = {key: value for key, value in section.items() if key != "validation"} | {"epochs": 0}
    classes = {"splits": ["train"], "classes": ["player", "goalkeeper"]}
    params = {**load(MINIMAL), "train": classes, "models": {"small": section, "none": without}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))

    def start(name, *more, model="small"):
        paths = {"out": f"{name}/a.safetensors", "last": f"{name}/last.safetensors", "summary": f"{name}/s.json"}
        paths |= {"curves": f"{name}/curves", "speed": f"{name}/speed", "init": folder / "init.safetensors"}
        command = [sys.executable, str(ROOT / "scripts/train.py"), "--model", model, *more]
        command += ["--index", str(folder / "train.parquet"), "--thumbnails", str(folder / "train.npy")]
        command += [str(word) for key, value in paths.items() for word in (f"--{key}", value)]
        if model == "small":
            command += ["--validation", str(folder / "valid.parquet"), str(folder / "valid.npy")]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, **quiet)

    whole = start("whole")
    state, seen, rng = tmp_path / "killed/.training.pt", None, random.Random(5)
    for _ in range(3 if FAULTS else 1):
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
    curves = {path.name: path.read_bytes() for path in (tmp_path / "whole/curves").iterdir()}
    names = [f"{name}.tsv" for name in (*CURVES, "triplet", "id")]
    assert set(curves) == {*names, *(f".{name}.sums" for name in names)}
    assert curves == {path.name: path.read_bytes() for path in (tmp_path / "killed/curves").iterdir()}
    speed = "images_per_second.tsv"
    assert {path.name for path in (tmp_path / "whole/speed").iterdir()} == {speed, f".{speed}.sums"}
    assert not state.exists()
    of_class = [name.startswith(("Player", "Goalkeeper")) for name in data[1]["clazz"].to_pylist()]
    assert read_json(tmp_path / "whole/s.json")["thumbnails"] == sum(of_class) < len(of_class)
    # no epochs: the untrained network, with curves of no points
    assert start("none", model="none").wait() == 0
    assert (tmp_path / "none/a.safetensors").exists()
    for name in CURVES:
        assert (tmp_path / f"none/curves/{name}.tsv").read_text() == f"step\t{name}\n"
