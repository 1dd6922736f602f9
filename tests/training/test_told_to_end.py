"""A training that is told to end keeps its state at once, and resumes to the same bytes."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml

from builders import FAULTS, ROOT
from builders.model import MODEL, changed
from builders.whole import MINIMAL, load
from reid.core.files import sha256
from reid.core.processes import told_to_end
from reid.data.index import build_index, write_index
from reid.data.thumbnails import build_store
from reid.models.pretrained import write_init
from reid.params.data import Thumbnails
from reid.synthetic.dataset import make_split

SMALL = {
    "network.backbone": "osnet_x0_25",
    "sampler": {"kind": "actions", "actions": 1, "identities": 4, "instances": 2},
    "loss.negatives": "action",
    "optimizer.accumulation": 2,  # a state between two updates cannot be kept
    "epochs": 12,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with index, store and initial weights of a few synthetic actions, and the parameters."""
    folder = tmp_path_factory.mktemp("data")
    make_split(folder / "train.zip", "train", 4, 1, progress=False)
    table, _ = build_index(folder / "train.zip", "train")
    write_index(folder / "train.parquet", table, "train", "0" * 64)
    build_store(folder / "train.zip", table, folder / "train.npy", Thumbnails(height=32, width=16), 1, progress=False)
    write_init(folder / "init.safetensors", None, {"name": None})
    params = {**load(MINIMAL), "models": {"small": changed(MODEL, SMALL)}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


@pytest.fixture
def start(data):
    """``start(name)`` starts a training whose results go to the folder ``name``."""
    started = []

    def run(name, *more):
        paths = {"out": "a.safetensors", "last": "last.safetensors", "summary": "s.json", "curves": "c", "speed": "sp"}
        command = [sys.executable, str(ROOT / "scripts/train.py"), "--model", "small", *more]
        command += ["--index", "train.parquet", "--thumbnails", "train.npy", "--init", "init.safetensors"]
        command += [word for key, value in paths.items() for word in (f"--{key}", f"{name}/{value}")]
        log = open(data / f"{name}.log", "a")  # noqa: SIM115 - the process writes it
        process = subprocess.Popen(command, cwd=data, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=log)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_training_that_is_told_to_end_resumes_where_it_was(data, start):
    told = {signal.SIGTERM: "epoch 1 of"} | ({signal.SIGINT: "epoch 3 of"} if FAULTS else {})
    for number, words in told.items():
        run = start("told")  # the state is kept once a minute, and it does not last as long
        while words not in (data / "told.log").read_text():
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(number)
        assert run.wait(timeout=600) == 130
        assert (data / "told/.training.pt").exists() and not (data / "told/a.safetensors").exists()
    assert start("told").wait() == 0
    said = (data / "told.log").read_text()
    assert said.count("told to end after batch") == said.count("resumes in epoch") == len(told)
    assert start("whole").wait() == 0
    for file in ("a.safetensors", "last.safetensors", "s.json", "c/loss.tsv"):
        assert sha256(data / "told" / file) == sha256(data / "whole" / file)


def test_signals_set_a_flag_inside_alone_and_the_second_interrupt_is_obeyed():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with told_to_end() as told:
        assert not told.is_set()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert told.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_outside_the_main_thread_signals_are_left_as_they_are():
    found = []

    def look():
        with told_to_end() as told:
            found.append((signal.getsignal(signal.SIGTERM), told.is_set()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [(signal.SIG_DFL, False)]
