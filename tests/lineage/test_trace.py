"""A file that comes back under another name is traced to the commit and parameters that made it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import yaml

from builders import ROOT
from reid.core.errors import ReidError
from reid.core.files import replacing, write_json
from reid.lineage.provenance import checkpoint, commit, content, provenance
from reid.lineage.trace import trace

STAGES = {
    "stages": {
        "rank": {
            "cmd": "python make.py",
            "params": ["seed"],
            "outs": ["results/submission/test.json"],
            "metrics": [{"results/metrics/test.json": {"cache": False}}],
        }
    }
}
MAKE = """
import json, pathlib, yaml
seed = yaml.safe_load(open("params.yaml"))["seed"]
for kind in ("submission", "metrics"):
    path = pathlib.Path(f"results/{kind}/test.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({kind: list(range(100, 100 + seed))}))
"""


class Project:
    """A toy project of one stage, run and committed with two seeds, then with a third that was not committed."""

    def __init__(self, folder):
        self.folder, self.commits = folder, {}
        (folder / "make.py").write_text(MAKE)
        (folder / "dvc.yaml").write_text(yaml.safe_dump(STAGES))
        (folder / ".gitignore").write_text("/results/submission/test.json\n")
        self.run("git", "init", "-q")
        self.run("dvc", "init", "-q")
        for seed in (3, 5):
            self.make(seed)
            self.run("git", "add", "-A")
            self.run("git", "commit", "-qm", f"seed {seed}")
            self.commits[seed] = self.run("git", "rev-parse", "HEAD").strip()

    def make(self, seed):
        (self.folder / "params.yaml").write_text(f"seed: {seed}\n")
        self.run("dvc", "repro", "-q")
        for kind in ("submission", "metrics"):
            shutil.copy(self.folder / f"results/{kind}/test.json", self.folder.parent / f"{kind}-{seed}")

    def run(self, *words):
        program = str(Path(sys.executable).parent / words[0]) if words[0] == "dvc" else words[0]
        who = ("user.name", "user.email")
        config = [word for key in who for word in ("-c", f"{key}=t@example.org")] if words[0] == "git" else []
        done = subprocess.run(
            [program, *config, *words[1:]], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lineage") / "project"
    folder.mkdir()
    made = Project(folder)
    made.make(7)
    return made


@pytest.mark.parametrize("seed", [3, 5])
@pytest.mark.parametrize("kind", ["submission", "metrics"])
def test_a_renamed_result_of_an_earlier_commit_names_that_commit_and_its_parameters(
    project, kind, seed, monkeypatch, tmp_path
):
    monkeypatch.chdir(project.folder)
    mailed = shutil.copy(project.folder.parent / f"{kind}-{seed}", tmp_path / "final_FINAL2.json")
    origins = trace(Path(mailed))
    assert origins and origins[0].commit == project.commits[seed]
    assert origins[0].parameters == {"seed": seed}
    assert origins[0].path == f"results/{kind}/test.json"
    assert any(project.commits[seed][:10] in line for line in origins[0].get_back)


def test_the_command_that_is_named_brings_the_file_back(project, monkeypatch, tmp_path):
    monkeypatch.chdir(project.folder)
    wanted = project.folder.parent / "submission-3"
    command = next(line for o in trace(wanted) for line in o.get_back if line.startswith("dvc get"))
    project.run(*command.replace("COPY", str(tmp_path / "back.json")).split())
    assert (tmp_path / "back.json").read_bytes() == wanted.read_bytes()


def test_nothing_is_said_of_a_changed_file(project, tmp_path):
    changed = tmp_path / "changed.json"
    changed.write_bytes((project.folder.parent / "submission-3").read_bytes().replace(b"101", b"107"))
    command = [sys.executable, ROOT / "scripts/trace.py", changed]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nothing here knows this content" in done.stderr and "Traceback" not in done.stderr


def test_a_result_of_this_folder_that_is_not_committed_is_found_here(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    (origin,) = trace(project.folder.parent / "submission-7")
    assert origin.path == "results/submission/test.json" and origin.commit is None


def test_a_provenance_record_knows_its_submission_and_what_went_into_it(project, monkeypatch, tmp_path):
    monkeypatch.chdir(project.folder)
    ranking, weights = Path("results/submission/test.json"), Path("results/weights.bin")
    weights.write_bytes(b"weights")
    receipt = Path("results/receipt.json")
    write_json(receipt, {"sha256": "0" * 64})
    record = provenance("test", ranking, {"seed": 7}, [receipt], [weights], [])
    path = Path("results/submission/test.provenance.json")
    write_json(path, record)
    for name in (ranking, weights):
        mailed = shutil.copy(name, tmp_path / "x")
        origin = trace(Path(mailed))[0]
        assert origin.path == str(name) and origin.parameters == {"seed": 7}
        assert origin.commit == project.commits[5]  # what the code is of
    path.unlink()
    weights.unlink()
    receipt.unlink()


def test_a_folder_without_git_knows_what_lies_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/a.json").write_text("{}")
    shutil.copy("results/a.json", "b.json")
    assert [origin.path for origin in trace(Path("b.json"))] == ["results/a.json"]
    assert commit(tmp_path) == {"commit": None, "clean": None, "changed": []}


def test_a_changed_program_makes_the_tree_unclean_and_a_run_does_not(project):
    assert not commit(project.folder)["clean"]  # params.yaml has another seed than the commit
    assert commit(project.folder)["changed"] == ["params.yaml"]


def git(folder, *words):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True)


def test_a_changed_file_whose_name_is_no_text_is_named(tmp_path):
    for words in (["init", "-q"], ["config", "core.quotePath", "false"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (tmp_path / os.fsdecode(b"\xff.py")).touch()
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    assert [name.strip('"') for name in commit(tmp_path)["changed"]] == ["\udcff.py"]


@pytest.mark.parametrize("text", ["a\u2028b", "a\x0cb", "a\x85b", "a\x1cb", "caf\xe9"])
@pytest.mark.parametrize("of", ["subject", "file"])
def test_any_subject_and_any_name_is_taken_whole(tmp_path, monkeypatch, text, of):
    monkeypatch.chdir(tmp_path)
    name = f"results/{text if of == 'file' else 'a'}.json"
    Path("results").mkdir()
    Path(name).write_text("{}")
    for words in (["init", "-q"], ["config", "core.quotePath", "false"], ["add", "-A"]):
        git(tmp_path, *words)
    git(tmp_path, "commit", "-qm", text if of == "subject" else "one")
    shutil.copy(name, "renamed.json")
    (origin,) = [origin for origin in trace(Path("renamed.json")) if origin.commit]
    assert origin.path == name and (of == "file" or f" {text})" in origin.where)
    done = subprocess.run([sys.executable, ROOT / "scripts/trace.py", "renamed.json"], capture_output=True, text=True)
    assert done.returncode == 0 and all(line.isprintable() for line in done.stdout.split("\n"))
    Path("renamed.json").rename(f"{text}.py")
    assert len(commit(tmp_path)["changed"]) == 1


@pytest.mark.parametrize("name", ["--stdin", "-x.json"])
def test_a_file_whose_name_looks_like_an_option_is_a_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("results/a.json").write_text("{}")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        git(tmp_path, *words)
    Path("results/a.json").rename(name)
    assert [origin.path for origin in trace(Path(name))] == ["results/a.json"]


def test_a_store_is_known_by_the_digests_of_its_blocks(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 2), np.float32))
    first = content(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.ones((3, 2), np.float32))
    second = content(tmp_path / "a.npy")
    assert "sha256" not in first and first["sha256_of_digests"] != second["sha256_of_digests"]
    assert json.loads(json.dumps(first)) == first


@pytest.mark.parametrize("name", ["a.json", "a.safetensors"])
def test_what_is_not_what_was_written_is_not_recorded(tmp_path, name):
    with replacing(tmp_path / name) as partial:
        safetensors.numpy.save_file({"a": np.zeros(2)}, partial, {"model": "{}"})
    assert content(tmp_path / name) and checkpoint(tmp_path / name)
    with open(tmp_path / name, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    for read in (content, checkpoint):
        with pytest.raises(ReidError, match=f"{name}: is not what was written"):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.json", "a.safetensors"])
@pytest.mark.parametrize("kind, words", [("pipe", "is a named pipe"), ("gone", "there is no such file")])
def test_what_is_no_file_is_refused_at_once(tmp_path, name, kind, words):
    if kind == "pipe":
        os.mkfifo(tmp_path / name)
    for read in (content, checkpoint):
        with pytest.raises(ReidError, match=f"{name}: {words}"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "metadata, words",
    [
        (None, "is not a checkpoint of this pipeline"),
        ({"init": "{}"}, "is not a checkpoint of this pipeline"),
        ({"model": "["}, "the parameters in it: is not valid JSON"),
        ({"model": "[" * 100_000}, "the parameters in it: is nested too deeply"),
        ({"model": '{"seed": NaN}'}, "the parameters in it: NaN is not a finite number"),
    ],
)
def test_a_checkpoint_with_odd_parameters_in_it_is_refused(tmp_path, metadata, words):
    safetensors.numpy.save_file({"a": np.zeros(2)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(ReidError, match=rf"a\.safetensors(:|,) {words}"):
        checkpoint(tmp_path / "a.safetensors")


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A folder with the results a.json and b.provenance.json, a record that knows of the first."""
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("results/a.json").write_text("{}")
    known = {**content(Path("results/a.json")), "path": "known"}
    record = {"submission": known, "inputs": [], "checkpoints": [], "time": "then", "parameters": {"seed": 1}}
    write_json("results/b.provenance.json", {**record, "code": {"commit": None, "clean": True}})
    shutil.copy("results/a.json", "renamed.json")


@pytest.mark.parametrize(
    "kind, words", [("pipe", "is a named pipe"), ("nested", "is nested too deeply"), ("list", "")]
)
def test_a_record_that_is_none_is_told_and_the_next_one_read(beside, kind, words, caplog):
    bad = Path("results/a.provenance.json")
    os.mkfifo(bad) if kind == "pipe" else bad.write_text("[]" if kind == "list" else "[" * 100_000)
    assert [origin.path for origin in trace(Path("renamed.json"))] == ["known", "results/a.json"]
    assert ("passed over: results/a.provenance.json: " + words in caplog.text) == bool(words)


@pytest.mark.parametrize("text", ["[" * 100_000, "seed: 2024-99-99", "- seed", "seed: 1", "\0"])
def test_what_lies_in_history_is_read_with_care(beside, text):
    """A record and parameters of a commit may be anything."""
    Path("results/a.provenance.json").write_text(text)
    Path("params.yaml").write_text(text)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *who, *words], check=True)
    origins = {origin.where.split(",")[0]: origin for origin in trace(Path("renamed.json"))}
    assert origins["in Git"].parameters == ({"seed": 1} if text == "seed: 1" else None)
    assert len(origins) == 4  # the record and the file, each here and in the commit
