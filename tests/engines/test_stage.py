"""What DVC's stages run is said without a shell, and what cannot go well is refused before any work."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml

from builders import ROOT
from builders.model import changed
from builders.whole import MINIMAL, load
from reid.core.errors import ReidError
from reid.core.splits import RANKED, SPLITS
from reid.engines import rights, stage
from reid.params import check_params

HOSTILE = ["$(touch X)", "`touch X`", "a; touch X", "a' touch X", "../../up", "a b", "{key}", "${key}", "-n", "a\nb"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with dvc.yaml alone, to work in."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "dvc.yaml", folder)
    monkeypatch.chdir(folder)
    return folder


def test_every_command_is_the_same_constant():
    files = [yaml.safe_load((ROOT / name).read_text())["stages"] for name in ("dvc.yaml", "workflow/inputs/dvc.yaml")]
    commands = {stage.get("do", stage)["cmd"] for stages in files for stage in stages.values()}
    assert commands == {"python -m reid.engines.stage"}


def test_a_stage_asks_for_its_outputs(folder):
    run = ["snakemake", "--cores", "8", "--allowed-rules"]
    assert stage.command("index") == [*run, "index", "--", *(f"data/index/{split}.parquet" for split in SPLITS)]
    assert stage.command("embed", "m") == [*run, "embed", "--", *(f"results/embeddings/m/{s}.npy" for s in RANKED)]
    assert stage.command("browse")[6:] == [f"results/browse/{split}.html" for split in RANKED]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_one_word_whatever_is_in_it(folder, name):
    words = stage.command("weights", name)
    assert words[-1] == f"data/weights/{name}.safetensors" and len(words) == 7


@pytest.mark.parametrize("name", HOSTILE)
def test_a_stage_of_an_unknown_name_is_one_clear_error(folder, name):
    with pytest.raises(ReidError, match="dvc.yaml has no stage"):
        stage.command(name)


@pytest.mark.parametrize("name", ["", *HOSTILE])
def test_the_program_refuses_a_parameter_file_with_such_a_name_and_runs_nothing(folder, name):
    content = load(MINIMAL)
    content["models"] = {name: content["models"]["one"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": f"train@{name}"}
    command = [sys.executable, "-m", "reid.engines.stage"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "params.yaml: 1 problem" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["dvc.yaml", "params.yaml"]


@pytest.mark.parametrize("link", ["data", "results", "data/raw", "data/inputs", "results/browse/valid"])
def test_outputs_behind_a_link_are_refused_with_what_to_do(folder, tmp_path, link):
    (folder / link).parent.mkdir(parents=True, exist_ok=True)
    stage.refuse_links()
    (tmp_path / "big disk").mkdir()
    (folder / link).symlink_to(tmp_path / "big disk")
    if link == "results/browse/valid":  # an output itself, of which DVC makes what it likes
        return
    with pytest.raises(ReidError, match=f"{link} is a link to .*big disk.*mount --bind"):
        stage.refuse_links()


def test_what_dvc_cannot_order_is_refused(folder):
    content = changed(load(MINIMAL), {"models.two": load(MINIMAL)["models"]["one"]})
    stage.check(check_params(content))
    content = changed(content, {"models.two.network.weights": "results/models/one/model.safetensors"})
    with pytest.raises(
        ReidError, match=r"models.two.network.weights: results/models/one/model.safetensors is made by"
    ):
        stage.check(check_params(content))


@pytest.mark.parametrize("name", ["a{b}", "a}b"])
def test_a_folder_whose_name_dvc_cannot_take_is_refused(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    with pytest.raises(ReidError, match="DVC cannot work in a folder with"):
        stage.check(check_params(load(MINIMAL)))


def test_folders_that_cannot_be_written_to_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/raw/deep").mkdir(parents=True)
    locked = set()
    monkeypatch.setattr(os, "access", lambda path, mode: os.path.abspath(path) not in locked)
    rights.require(*map(rights.Path, ("data", "results/new")))
    for folder, asked in (
        (tmp_path / "data/raw/deep", "data"),
        (tmp_path, "results/new"),
        (tmp_path / "data", "data"),
    ):
        locked = {str(folder)}
        with pytest.raises(ReidError, match=f"{folder.name}: this user must not write into this folder"):
            rights.require(rights.Path(asked))
