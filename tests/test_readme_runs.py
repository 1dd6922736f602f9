"""The README's blocks, as they stand and in their order, in a fresh clone with less data and a smaller network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders import thorough
from builders.clone import Clone
from builders.readme import blocks

pytestmark = [pytest.mark.slow, thorough]

# what a block needs of its reader: another clone, embeddings of one's own
BEFORE = {
    "../other/results": "mkdir -p ../other && cp -r results ../other/",
    "results/mine.npy": "cp results/embeddings/resnet18/valid.npy results/mine.npy",
}
LEFT_OUT = {"make test": "is what runs this"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("readme"), {"epochs": 3})
    clone.params["models"] = {"resnet18": clone.params["models"]["small"]}
    clone.params["download"]["synthetic"]["actions"] = {"train": 8, "valid": 5, "test": 5, "challenge": 5}
    clone.write_params()
    environment = clone.folder / ".venv"
    environment.mkdir()
    (environment / "bin").symlink_to(Path(sys.executable).parent)  # what `make` would install
    (environment / "ready").touch()
    clone.run("git", "commit", "-qam", "smaller")
    return clone


def test_the_blocks_run_in_order(clone):
    for number, block in enumerate(blocks("bash"), start=1):
        lines = [line for line in block.splitlines() if not line.startswith(tuple(LEFT_OUT))]
        before = [command for words, command in BEFORE.items() if words in block]
        script = "\n".join(["set -e", *before, *lines])
        environment = {**clone.environment, "VIRTUAL_ENV": str(clone.folder / ".venv")}
        done = subprocess.run(
            ["bash", "-c", script], cwd=clone.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"block {number}:\n{block}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        if number == 1:
            assert "To submit: results/submission/test.json" in done.stderr
            assert (clone.folder / "results/browse/valid.html").exists()


def test_nothing_that_the_blocks_made_waits_for_git_add(clone):
    untracked = clone.run("git", "ls-files", "--others", "--exclude-standard").splitlines()
    assert [name for name in untracked if not name.startswith("results/")] == []


def test_the_notebook_reads_what_the_blocks_made(clone):
    for block in blocks("python"):
        clone.run("python", "-c", block)


def test_the_model_made_elsewhere_is_taken(clone):
    folder = clone.folder.parent / "clip-embeddings"
    shutil.copytree(clone.folder / "results/embeddings/resnet18", folder)
    with open(clone.folder / "params.yaml", "a", encoding="utf-8") as file:
        file.write("".join(blocks("yaml")))
    clone.run("snakemake", "--cores", "2", "results/metrics/valid.json")
    assert os.path.exists(clone.folder / "results/embeddings/clip/valid.npy")
