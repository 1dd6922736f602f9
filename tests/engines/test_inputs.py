"""Inputs from outside, odd names, and folders that are elsewhere, in both engines.

Slow: the tests share one clone in a folder of an odd name and run in order, on a tiny data set without a training.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
import torch

from builders import thorough
from builders.clone import Clone
from builders.split import TinySplit, split_zip, write_zip
from reid.core.splits import RANKED, SPLITS
from reid.models.embedder import Embedder
from reid.params.schema import section_class

pytestmark = pytest.mark.slow
ODD = 'it\'s $HOME $(touch X) `touch X` "q" b\\s ; & é'
BRACES = "{split} ${HOME} } {"
WEIGHTS, INDEX, EMBEDDINGS = (
    "data/weights/small.safetensors",
    "data/index/test.parquet",
    "results/embeddings/elsewhere/test.npy",
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone in a folder of an odd name, whose zips, weights and embeddings lie in even odder ones."""
    top = tmp_path_factory.mktemp("inputs")
    clone = Clone(top / ODD)
    clone.outside = top / f"outside {ODD} {BRACES}"
    for split in SPLITS:
        split_zip(clone.outside / f"zips {BRACES}" / f"{split}.zip", split)
    (clone.outside / "embeddings").mkdir()
    for split in RANKED:
        np.save(clone.outside / "embeddings" / f"{split}.npy", np.ones((10, 4), np.float32))
    write_weights(clone, 1)
    clone.params["download"] = {"source": "local", "path": str(clone.outside / f"zips {BRACES}")}
    clone.params["models"]["small"]["network"]["weights"] = str(clone.outside / f"w {BRACES}.pth")
    clone.params["external_models"] = {"elsewhere": {"folder": str(clone.outside / "embeddings")}}
    clone.write_params()
    return clone


def write_weights(clone, seed):
    torch.manual_seed(seed)
    network = section_class("Network").model_validate(clone.params["models"]["small"]["network"] | {"weights": None})
    torch.save(Embedder(network, (32, 16)).backbone.state_dict(), clone.outside / f"w {BRACES}.pth")


def snakemake(clone, *targets, **options):
    return clone.run("snakemake", "--cores", "8", *targets, **options)


@contextlib.contextmanager
def moved(path):
    """A file or folder is not where it was."""
    path.rename(path.with_name("gone"))
    try:
        yield
    finally:
        path.with_name("gone").rename(path)


@contextlib.contextmanager
def locked(folder):
    """A folder must not be written to."""
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)


def state(clone):
    """Every file that the pipeline made, with its time."""
    tops = [path for path in (clone.folder / "data", clone.folder / "results") if path.exists()]
    return {str(path): path.stat().st_mtime_ns for top in tops for path in top.rglob("*") if path.is_file()}


def test_data_on_another_disk_by_a_link_works_in_snakemake_and_is_refused_by_dvc_before_any_work(clone):
    disk = clone.outside / "disk"
    disk.mkdir()
    (clone.folder / "data").symlink_to(disk)
    said = clone.run("dvc", "repro", "download", fails=True)
    assert "data is a link to" in said and "mount --bind" in said and not list(disk.iterdir())
    snakemake(clone, WEIGHTS, INDEX, EMBEDDINGS)
    before = state(clone)
    assert "data is a link to" in clone.run("dvc", "repro", fails=True)
    assert state(clone) == before
    (clone.folder / "data").unlink()
    shutil.move(disk, clone.folder / "data")
    assert not list(clone.folder.parent.rglob("X"))


def test_odd_names_work_in_both_engines_and_neither_has_to_do_anything_again(clone):
    clone.run("dvc", "repro", "weights@small", "download")
    assert clone.would_run(WEIGHTS, INDEX, EMBEDDINGS) == {}
    said = clone.run("dvc", "repro", "weights@small", "download")
    assert said.count("Running stage") == 1 and said.count("didn't change") == 2
    assert not list(clone.folder.parent.rglob("X"))


def test_a_replaced_file_is_seen_by_both_engines_and_a_touched_one_is_not(clone):
    os.utime(clone.outside / f"w {BRACES}.pth", (1, 1))
    assert clone.would_run(WEIGHTS) == {}
    write_weights(clone, 2)
    os.utime(clone.outside / f"w {BRACES}.pth", (1, 1))  # an old time does not hide it
    np.save(clone.outside / "embeddings/test.npy", np.zeros((10, 4), np.float32) + 2)
    split = TinySplit("test")
    split.boxes[0]["height"] = 33
    zips = clone.outside / f"zips {BRACES}"
    write_zip(zips / "new", split.members())
    os.replace(zips / "new", zips / "test.zip")
    assert clone.would_run(WEIGHTS, INDEX) == {"weights": 1, "download": 1, "index": 1, "total": 3}
    assert "external" in clone.would_run(EMBEDDINGS)
    assert "Running stage 'weights@small'" in clone.run("dvc", "repro", "weights@small")
    changed = json.loads(clone.run("dvc", "status", "download", "--json"))["download"]
    assert {"changed deps": {"data/inputs/download.json": "modified"}} in changed
    snakemake(clone, INDEX, EMBEDDINGS)
    assert clone.would_run(WEIGHTS, INDEX, EMBEDDINGS) == {}


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        (f"w {BRACES}.pth", WEIGHTS, "models.small.network.weights"),
        (f"zips {BRACES}/test.zip", INDEX, "holds neither test.zip nor test/"),
        pytest.param(f"zips {BRACES}", WEIGHTS, "download.path", marks=thorough),
        pytest.param("embeddings/test.npy", EMBEDDINGS, "holds neither test.npy nor test.parquet", marks=thorough),
    ],
)
def test_what_is_missing_is_told_by_both_engines_although_what_was_made_of_it_is_there(clone, name, target, words):
    before = state(clone)
    with moved(clone.outside / name):
        for said in (
            snakemake(clone, "-n", target, fails=True),
            snakemake(clone, target, fails=True),
            clone.run("dvc", "repro", fails=True),
        ):
            assert words in said and "Traceback" not in said and "Nothing to be done" not in said
    assert state(clone) == before and clone.would_run(target) == {}


@thorough
@pytest.mark.parametrize("path", ["scripts/index.py", "reid/data"])
def test_code_that_is_missing_is_told_although_what_it_made_is_there(clone, path):
    with moved(clone.folder / path):
        said = snakemake(clone, "-n", INDEX, fails=True)
        assert f"{path}" in said and "is missing" in said
    assert clone.would_run(INDEX) == {}


@thorough
def test_raw_data_that_is_missing_is_made_again_as_soon_as_something_needs_it(clone):
    (clone.folder / "data/raw/test.zip").unlink()
    assert clone.would_run("data/thumbnails/test.npy") == {"download": 1, "index": 1, "thumbnails": 1, "total": 3}
    snakemake(clone, "data/raw/test.zip")
    assert clone.would_run(INDEX) == {}


def date_tomorrow(clone, *names):
    for name in names:
        os.utime(clone.folder / name, (time.time() + 86_400,) * 2)


@thorough
def test_files_dated_in_the_future_neither_fail_nor_hide_a_change(clone):
    date_tomorrow(clone, "scripts/index.py", "data/raw/test.zip", INDEX)
    assert clone.would_run(INDEX) == {}
    script = clone.folder / "scripts/index.py"
    text = script.read_text()
    date_tomorrow(clone, INDEX)
    script.write_text(text + "# changed\n")
    assert clone.would_run(INDEX)["index"] == 1
    date_tomorrow(clone, "scripts/index.py", "data/raw/test.json")
    snakemake(clone, INDEX)
    assert clone.would_run(INDEX) == {} and (clone.folder / INDEX).exists()
    script.write_text(text)
    snakemake(clone, INDEX)


def test_a_shell_never_reads_a_models_name(clone):
    text = (clone.folder / "params.yaml").read_text()
    (clone.folder / "params.yaml").write_text(text.replace("small:", '"$(touch X)":'))
    for said in (clone.run("dvc", "repro", fails=True), snakemake(clone, fails=True)):
        assert "params.yaml: " in said and "Traceback" not in said
    (clone.folder / "params.yaml").write_text(text)
    assert not list(clone.folder.parent.rglob("X"))


def without_rights(clone, *words):
    """Run a command as a user who has no more rights than the files give, also as root."""
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root may write everywhere, and there is no setpriv")
        words = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", *clone.command(*words))
    else:
        words = clone.command(*words)
    done = subprocess.run(words, cwd=clone.folder, env=clone.environment, capture_output=True, text=True)
    assert done.returncode != 0
    return done.stdout + done.stderr


@thorough
@pytest.mark.parametrize("folder", [".snakemake/metadata", "data/index", "logs/index"])
def test_a_folder_that_cannot_be_written_to_is_one_clear_error(clone, folder):
    before = state(clone)
    with locked(clone.folder / folder):
        said = without_rights(clone, "snakemake", "--cores", "8", "-f", INDEX)
    assert f"{folder}: this user must not write into this folder" in said and "PermissionError" not in said
    assert state(clone) == before


@thorough
def test_a_project_that_cannot_be_written_to_is_one_clear_error(clone):
    with moved(clone.folder / ".snakemake"), locked(clone.folder):
        said = without_rights(clone, "snakemake", "--cores", "8", INDEX)
    assert "this user must not write into this folder" in said and "PermissionError" not in said


@thorough
def test_the_ledger_without_git_or_beside_dvc_is_one_clear_error(clone):
    from dvc.lock import Lock

    lock = Lock(str(clone.folder / ".dvc/tmp/lock"))
    lock.lock()
    for command in ("record", "adopt"):
        said = clone.run("python", "-m", "reid.engines.ledger", command, fails=True)
        assert "is at work in this folder" in said and "Traceback" not in said
    lock.unlock()
    with moved(clone.folder / ".git"):
        for command in ("record", "adopt"):
            said = clone.run("python", "-m", "reid.engines.ledger", command, fails=True)
            assert said.startswith("error: DVC: ") and "Traceback" not in said


@thorough
def test_braces_in_the_folders_own_name_are_no_wildcards(clone, tmp_path):
    folder = tmp_path / "a {split} } b"
    shutil.move(clone.folder, folder)
    clone.folder = folder
    snakemake(clone, "-f", INDEX)
    assert "DVC cannot work in a folder with" in clone.run("dvc", "repro", fails=True)
    shutil.move(folder, tmp_path / "{0}")
    clone.folder = tmp_path / "{0}"
    assert "Snakemake cannot take the braces" in snakemake(clone, INDEX, fails=True)
    assert json.loads((clone.folder / "data/inputs/weights/small.json").read_text())["file"]["bytes"] > 0
