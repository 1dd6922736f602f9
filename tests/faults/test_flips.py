"""One flipped byte in any file that a run made is never used in silence: it is refused by name, or reported.

Slow: a small run, 25 places of every kind of file, and a program for each. The mechanism itself is tested in
tests/core/test_checksums.py.
"""

import os
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest

from builders import ROOT, thorough
from builders.clone import Clone
from reid.core.arrays import CheckedArray
from reid.core.checksums import read_verified, verify
from reid.core.errors import ReidError
from reid.core.files import read_json
from reid.core.tables import read_parquet
from reid.data.index import build_index
from reid.lineage.verify import check

pytestmark = [pytest.mark.slow, thorough]
PLACES = 25

INDEX, STORE = "data/index/test.parquet", "data/thumbnails/test.npy"
DISTANCES = "results/distances/test.parquet"
CURVES = [
    *["curves", "--loss", "results/training/small/curves/loss.tsv", "--learning-rate"],
    *["results/training/small/curves/learning_rate.tsv", "--valid", "results/training/small/curves/valid_mAP.tsv"],
    *["--averaged", "results/training/small/curves/valid_mAP_averaged.tsv"],
    *["--summary", "results/training/small/summary.json", "--out", "x.svg"],
]
# a file of each kind that a program reads, and that program
READ = {
    "data/raw/test.zip": ["index", "--split", "test", "--zip", "data/raw/test.zip", "--out", "x.parquet"],
    "data/raw/test.json": [
        *["index", "--split", "test", "--zip", "data/raw/test.zip", "--receipt", "data/raw/test.json"],
        *["--out", "x.parquet"],
    ],
    INDEX: ["rank", "--index", INDEX, "--distances", DISTANCES, "--out", "x.json"],
    STORE: [
        *["embed", "--checkpoint", "results/models/small/model.safetensors", "--thumbnails", STORE, "--out", "x.npy"],
    ],
    "data/weights/small.safetensors": None,  # read by the training alone
    "results/models/small/model.safetensors": [
        *["embed", "--checkpoint", "results/models/small/model.safetensors", "--thumbnails", STORE, "--out", "x.npy"],
    ],
    "results/embeddings/small/test.npy": [
        *["distances", "--index", INDEX, "--embeddings", "results/embeddings/small/test.npy", "--out", "x.parquet"],
    ],
    DISTANCES: ["rank", "--index", INDEX, "--distances", DISTANCES, "--out", "x.json"],
    "results/queries/test.parquet": ["compare", "results/queries/test.parquet", "results/queries/test.parquet"],
    "results/training/small/summary.json": CURVES,
    "results/training/small/curves/loss.tsv": CURVES,
    "results/submission/test.json": ["check_ranking", "results/submission/test.json", "--boxes", INDEX],
}
# kinds that no program reads: `make verify` reports them
WRITTEN = [
    "results/metrics/test.json",
    "results/plots/cmc/test.csv",
    "results/plots/slices/test.csv",
    "results/plots/ap/test.csv",
    "results/description/statistics.json",
    "results/description/statistics.parquet",
    "results/description/contact_sheet.png",
    "results/figures/test.svg",
    "results/figures/test-worst.png",
    "results/browse/test.html",
    "results/browse/test/00.js",
    "results/models/small/last.safetensors",
    "results/submission/challenge.json",
    "results/speed/small/images_per_second.tsv",
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("flips"), {"epochs": 1, "validation": None})
    clone.run("snakemake", "--cores", "8", "submission")
    return clone


@pytest.fixture
def here(clone, monkeypatch):
    monkeypatch.chdir(clone.folder)
    return clone


def flip(path, place, bit):
    """Flip one bit, and keep the file's times: a disk does not tell."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ (1 << bit)]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def read(path):
    """Read a file as the programs do."""
    if path.suffix == ".npy" and "thumbnails" in str(path):
        np.asarray(CheckedArray(path)[:])
    elif path.suffix == ".zip":
        build_index(path, path.stem)
        verify(path)  # the members have checksums of their own, which thumbnails checks
    elif path.suffix == ".parquet":
        read_parquet(path)
    elif path.suffix == ".json":
        read_json(path)
    elif path.suffix in (".npy", ".safetensors"):
        verify(path)
    else:
        read_verified(path)


@pytest.mark.parametrize("name", [*READ, *WRITTEN])
def test_a_flipped_byte_is_refused_where_it_is_read_and_reported_by_verify(here, name):
    path, rng = here.folder / name, random.Random(name)
    assert check(path.relative_to(here.folder), {}) == ""
    read(path)
    size = path.stat().st_size
    for place in [0, size - 1, *(rng.randrange(size) for _ in range(PLACES))]:
        bit = rng.randrange(8)
        flip(path, place, bit)
        assert check(path.relative_to(here.folder), {}), place
        with pytest.raises(ReidError, match=path.name.replace(".", r"\.")):
            read(path)
        flip(path, place, bit)
    assert check(path.relative_to(here.folder), {}) == ""


@pytest.mark.parametrize("name", [name for name, words in READ.items() if words])
def test_the_program_that_reads_it_ends_with_one_error_and_writes_nothing(here, name):
    path, rng = here.folder / name, random.Random(name)
    size = path.stat().st_size
    # of a zip the directory is what the index reads
    place = size - 30 if path.suffix == ".zip" else rng.randrange(size)
    flip(path, place, 3)
    program, *words = READ[name]
    command = [sys.executable, ROOT / f"scripts/{program}.py", *words]
    done = subprocess.run(command, cwd=here.folder, capture_output=True, text=True)
    flip(path, place, 3)
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert name in done.stderr and "Traceback" not in done.stderr, last
    assert not [file for file in here.folder.glob("x.*")]


@pytest.mark.parametrize("engine", ["snakemake", "dvc"])
def test_an_engine_refuses_it_too_and_makes_it_again_once_it_is_removed(here, engine):
    path = here.folder / "results/embeddings/small/valid.npy"
    good = path.read_bytes()
    flip(path, 5000, 0)
    target = here.folder / "results/distances/valid.parquet"
    wanted = target.read_bytes()
    target.unlink()
    run = ["snakemake", "--cores", "8", "results/distances/valid.parquet"]
    said = here.run(*(run if engine == "snakemake" else ["dvc", "repro", "-s", "distances"]), fails=True)
    assert "results/embeddings/small/valid.npy" in said and not target.exists()
    path.unlink()
    here.run(*run)
    assert path.read_bytes() == good and target.read_bytes() == wanted


def test_verify_names_what_differs_and_the_command_that_makes_it_again(here):
    assert " 0 differ" in here.run("python", "-m", "reid.lineage.verify")
    path = here.folder / "results/submission/challenge.json"
    flip(path, 10, 1)
    said = here.run("python", "-m", "reid.lineage.verify", fails=True)
    assert "results/submission/challenge.json" in said and " 1 differ" in said
    command = next(line.strip() for line in said.splitlines() if line.strip().startswith("rm "))
    remove, _, make = command.partition(" && ")
    assert remove == "rm results/submission/challenge.json"
    path.unlink()
    here.run(*make.split())
    assert " 0 differ" in here.run("python", "-m", "reid.lineage.verify")


def test_a_flipped_state_of_a_training_is_not_resumed(here, tmp_path):
    """The training starts anew, and ends in the same bytes."""
    import torch

    from reid.core.files import replacing
    from reid.training.resume import TrainingState

    path = tmp_path / ".training.pt"
    with replacing(path) as partial:
        torch.save({"fingerprint": "one", "state": {"trainer": {"a": torch.zeros(1000)}, "finished": []}}, partial)
    assert TrainingState(path, "one").load() is not None
    rng, size = random.Random(1), path.stat().st_size
    for _ in range(PLACES):
        place = rng.randrange(size)
        flip(path, place, 2)
        assert TrainingState(path, "one").load() is None
        flip(path, place, 2)
    shutil.rmtree(tmp_path)
