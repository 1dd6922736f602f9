"""A study runs the pipeline's own programs on the code that its rules name; DVC knows the studies that are named."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from builders import ROOT
from builders.clone import Clone
from builders.study import STUDY, read
from reid.engines import outside, stage, studies
from reid.studies.jobs import write_jobs
from reid.studies.plan import check
from reid.studies.study import FOLDER

OWN = {"study"}
NAMES = ("study.json", "table.md", "table.csv", "index.html", "provenance.json")


def bodies(text):
    """Name of each rule to its text."""
    return dict(zip(*[iter(re.split(r"^rule (\w+):", text, flags=re.MULTILINE)[1:])] * 2, strict=True))


PIPELINE = bodies("".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk"))))
STUDIES = bodies((ROOT / "workflow/studies.smk").read_text())


def code(body):
    return re.findall(r'"(\w+)"', re.search(r"engine\.code\((.*?)\)", body, re.DOTALL)[1]), "extended=True" in body


def options(body):
    return set(re.findall(r"--[a-z-]+", body[body.index("shell:") :]))


def needs(body):
    """How long and with how much memory a job runs, and where: here, in a group, or by itself."""
    return set(re.findall(r"runtime=\d+|mem_mb=\d+|localrule: True|group:\s+\S+", body))


@pytest.mark.parametrize("rule", sorted(set(STUDIES) - OWN))
def test_a_rule_of_studies_is_the_pipelines_of_its_name(rule):
    assert code(STUDIES[rule]) == code(PIPELINE[rule])
    assert needs(STUDIES[rule]) == needs(PIPELINE[rule]) != set()
    left_out = {"--slices", "--ap"}  # curves and slices are of the pipeline's pages
    # with the parameters of the row, where the program reads any
    assert options(STUDIES[rule]) - {"--params"} == options(PIPELINE[rule]) - left_out
    program = (ROOT / f"scripts/{rule}.py").read_text()
    assert ('"--params"' in program) == ("--params" in options(STUDIES[rule]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A clone whose DVC keeps a study."""
    clone = Clone(tmp_path_factory.mktemp("study"))
    path = clone.folder / "dvc.yaml"
    path.write_text(path.read_text().replace("studies: []", "studies: [ablation]"))
    return clone.folder


def test_a_study_that_is_named_is_a_stage_and_no_other(folder):
    stages = {one.name: one for one in Repo(str(folder)).index.stages}
    assert [name for name in stages if name.startswith("study")] == ["study@ablation"]
    found = stages["study@ablation"]
    made = {f"results/studies/ablation/{name}" for name in NAMES}
    assert {out.def_path for out in found.outs if out.persist} == made  # a study that is refused leaves its tables
    deps = {dep.def_path for dep in found.deps}
    assert {"reid", "scripts", "recipes", "workflow/studies.smk", f"{FOLDER}/ablation.yaml"} <= deps
    assert f"{outside.STUDIES}/ablation.json" in deps
    assert str(outside.STUDIES) in {out.def_path for out in stages[stage.INPUTS].outs}
    assert not [name for name in Repo(str(ROOT)).index.stages if name.name.startswith("study")]


def test_its_stage_runs_the_study(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_STAGE", "study@ablation")
    ran = []
    monkeypatch.setattr(stage.os, "execve", lambda program, words, environment: ran.append(words[1:]))
    stage.main()
    assert ran == [["scripts/study.py", "ablation"]]


def test_what_it_is_made_of_is_recorded_before_all_stages(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_STAGE", "workflow/inputs/dvc.yaml:inputs")
    monkeypatch.setattr(stage.holder, "claim", lambda: None)
    stage.main()
    assert [path.name for path in outside.STUDIES.glob("*.json")] == ["ablation.json"]


def test_a_study_needs_its_own_program(folder):
    words = ["snakemake", "--snakefile", "workflow/studies.smk", "-n", "--cores", "1"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode and "is run by `python scripts/study.py NAME`" in done.stderr + done.stdout


@pytest.fixture
def planned(folder, tmp_path, monkeypatch):
    """The jobs of a study in the clone, what a dry run of Snakemake says of them, and its count for each rule."""
    monkeypatch.chdir(folder)

    def plan_and_run(content=None):
        study, path = read(tmp_path, content)
        out = Path("results/studies/some")
        jobs = write_jobs(out, check(study, path), None, True)
        words = ["snakemake", "--snakefile", "workflow/studies.smk", "--workflow-profile", "profiles/default"]
        words += ["--dry-run", "--cores", "8", "--resources", "gpu=4", "--config", f"plan={out}/plan.json"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said = done.stdout + done.stderr
        table = said.split("Job stats:")[-1].split("\n\n")[0].splitlines()
        counts = {row.split()[0]: int(row.split()[1]) for row in table if row and row.split()[-1].isdigit()}
        assert counts.pop("total") == sum(counts.values())
        return jobs, said, counts

    return plan_and_run


def test_snakemake_runs_the_jobs_of_a_plan_spread_over_gpus(planned):
    jobs, said, counts = planned()
    scores, embeddings = len(jobs["scores"]), len(jobs["embeddings"])
    assert counts == {
        "study": 1, "download": 3, "index": 3, "thumbnails": 3, "weights": 1, "train": 6,
        "embed": 2 * embeddings, "distances": 2 * scores, "evaluate": 2 * scores,
    }  # fmt: skip
    training = said[said.index("rule train:") :].split("\n\n")[0]
    assert "threads: 2\n" in training and "gpu=1" in training  # eight cores for four at a time


def test_a_row_that_is_used_as_its_weights_come_needs_no_split_to_train_on(planned):
    jobs, said, counts = planned({"change": {"epochs": 0, "network.weights": "DEFAULT"}, "axes": [STUDY["axes"][1]]})
    assert counts["train"] == 2 and counts["index"] == counts["thumbnails"] == 2
    assert "/index/train.parquet" not in said
    jobs["data"] = {name: {"root": "data", "source": "data"} for name in jobs["data"]}
    made = {f"data/{file}" for s in ("valid", "test") for file in (f"index/{s}.parquet", f"thumbnails/{s}.npy")}
    assert studies._data(jobs, ["valid", "test"]) == made


def test_dvc_keeps_the_names_of_the_program(folder):
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["study"]["do"]["outs"]
    program = (ROOT / "scripts/study.py").read_text()
    names = [next(iter(out)) if isinstance(out, dict) else out for out in declared]
    assert [name.rpartition("/")[2] for name in names] == list(NAMES)
    for out in names:
        assert f'"{out.rpartition("/")[2]}"' in program
