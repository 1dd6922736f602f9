"""A study asks for rows as it learns what stays, passes over what failed, and stops when it was stopped."""

import shutil
import time

import pytest

from builders.program import run_here
from builders.study import STUDY, Skills, read
from reid.core.errors import ReidError
from reid.core.files import read_json, sha256
from reid.engines import studies
from reid.studies import side_by_side
from reid.studies.jobs import RESULTS, score_path, training_path
from reid.studies.plan import expand, read_base


class Engine:
    """In place of Snakemake: scores for each planned row by its skill.

    None: its training fails; "killed": it ends without a word; "open": it does not begin.

    Attributes:
        asked: names of the rows of each call.
    """

    def __init__(self, folder, skill, monkeypatch):
        self.skills, self.asked = Skills(folder / "out", skill, folder / "work"), []
        monkeypatch.setattr(studies, "_make_data", lambda targets, options: 0)
        monkeypatch.setattr(studies, "_make_rows", self.make)
        monkeypatch.setattr(studies.os, "environ", {})

    def make(self, folder, plan, options):
        self.asked.append(list(dict.fromkeys(row.name for row, _ in plan.runs())))
        shutil.rmtree(folder / "logs", ignore_errors=True)  # jobs write theirs anew
        status = 0
        for row, seed in plan.runs():
            skill = self.skills.skill[row.name]
            if skill is None or skill == "killed":
                status = 1
                log = folder / "logs/train" / f"{row.jobs(seed).training}.log"
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text("388 thumbnails\nerror: too wide\n" if skill is None else "388 thumbnails\n")
            elif skill != "open":
                for split in ("valid", "test"):
                    self.skills.scores(row, [seed], split)
                    score_path(folder, row, seed, split, "distances.parquet").touch()
                    made = folder / "embeddings" / row.jobs(seed).embedding / f"{split}.npy"
                    made.parent.mkdir(parents=True, exist_ok=True)
                    made.touch()
                training_path(folder, row, seed, "model.safetensors").touch()
                (folder / "weights").mkdir(exist_ok=True)
                (folder / "weights" / f"{row.jobs(seed).weights}.safetensors").touch()
        return status


def ran(folder, skill, monkeypatch, **changes):
    monkeypatch.chdir(folder)
    study, path = read(folder, {"seeds": [1], **changes})
    engine = Engine(folder, skill, monkeypatch)
    return engine, lambda: studies.run(study, path, folder / "out", "2", 0)


def kept(plan):
    return [part.kept.name for part in plan.axes]


def test_an_axis_is_asked_for_when_it_is_known_what_it_is_put_on_top_of(tmp_path, monkeypatch):
    skills = {"base": 0.3, "wide": 0.0, "supcon": 0.8, "metric": 0.9}
    engine, run = ran(tmp_path, skills, monkeypatch)
    plan, _ = run()
    assert kept(plan) == ["supcon", "metric"]
    assert engine.asked == [["base", "wide", "supcon"], ["base", "wide", "supcon", "metric"]]
    plan, _ = run()  # all is there: one call, to see that it is still right
    assert kept(plan) == ["supcon", "metric"] and engine.asked[2:] == [["base", "wide", "supcon", "metric"]]


def test_axes_that_do_not_wait_for_each_other_run_together(tmp_path, monkeypatch):
    axes = [{**STUDY["axes"][0], "stays": "never"}, {**STUDY["axes"][1], "stays": "always"}]
    engine, run = ran(tmp_path, {"base": 0.3, "wide": 0.9, "supcon": 0.8, "metric": 0.1}, monkeypatch, axes=axes)
    plan, _ = run()
    assert kept(plan) == ["base", "metric"] and len(engine.asked) == 1


def test_a_failed_row_is_told_with_its_error_and_tried_again_by_the_next_run(tmp_path, monkeypatch):
    skills = {"base": 0.3, "wide": None, "supcon": "killed", "metric": 0.9}
    _, run = ran(tmp_path, skills, monkeypatch)
    plan, results = run()
    assert kept(plan) == ["base", "metric"]
    wide, supcon = plan.axes[0].rows
    assert results.problem(wide, [1]).startswith("too wide (") and "memory" in results.problem(supcon, [1])
    skills |= {"wide": 0.8, "supcon": 0.7}
    plan, results = run()
    assert kept(plan) == ["wide", "metric"] and not results.problems


@pytest.mark.parametrize("others", [0.8, None])
@pytest.mark.parametrize("stays", ["mean", "interval", "always", "never"])
def test_without_the_scores_of_what_rows_are_compared_with_there_is_no_study(tmp_path, monkeypatch, stays, others):
    skills = {"base": None, "wide": others, "supcon": others, "metric": others}
    engine, run = ran(tmp_path, skills, monkeypatch, axes=[{**axis, "stays": stays} for axis in STUDY["axes"]])
    with pytest.raises(ReidError, match="base, which loss is compared with, has no scores: too wide"):
        run()
    assert len(engine.asked) == 1  # nothing is made on top of it


def test_a_run_that_ended_early_decides_nothing(tmp_path, monkeypatch):
    engine, run = ran(tmp_path, {"base": 0.3, "wide": "open", "supcon": 0.8, "metric": 0.9}, monkeypatch)
    with pytest.raises(ReidError, match="goes on from here"):
        run()
    assert len(engine.asked) == 1


def test_what_was_told_to_end_has_not_failed(tmp_path):
    log, made = tmp_path / "a.log", tmp_path / "made"
    since = time.time() - 10
    log.write_text("some\ninterrupted\n")
    assert studies._failure(log, made, since) is None
    log.write_text("this is a bug in the pipeline, please report it\nTraceback\nValueError: x\n")
    assert studies._failure(log, made, since) == f"ValueError: x ({log})"
    assert studies._failure(log, made, since + 100) is None  # of an earlier run
    log.write_text("error: params.yaml: 2 problems\n  - a\n  - b\n")
    assert studies._failure(log, made, since) == f"params.yaml: 2 problems\n  - a\n  - b ({log})"  # all of it
    log.write_text("epoch 1\n")
    made.touch()
    assert studies._failure(log, made, since) is None


@pytest.mark.parametrize(("words", "count"), [(["gpu=3"], 3), (["gpu=0"], 0)])
def test_gpus_are_those_of_the_command(words, count):
    assert studies.gpus(words) == count


@pytest.mark.parametrize(
    ("visible", "count"), [(None, 3), ("1", 1), ("2, 0", 2), ("0,1,2,3", 3), ("", 0), ("-1", 0), ("0,-1,2", 1)]
)
def test_gpus_are_else_those_that_cuda_shows(tmp_path, monkeypatch, visible, count):
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(studies, "_DEV", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert studies.gpus([]) == count


@pytest.mark.parametrize(
    "words", [["gpu"], ["gpu=two"], ["mem=3"], ["3"], ["gpu=²"], ["gpu=" + 5000 * "1"], ["gpu=1", "mem=7"]]
)
def test_other_resources_are_refused(words):
    with pytest.raises(ReidError, match="must be gpu=N with a whole number from 0 to 1,024, not ") as caught:
        studies.gpus(words)
    assert len(str(caught.value)) < 150


def test_provenance_is_of_the_files_that_the_study_began_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study, path = read(tmp_path)
    files = {"study": path, "base": tmp_path / "base.yaml"}
    began = {name: sha256(file) for name, file in files.items()}
    skills = Skills(RESULTS / "some", {"base": 0.3, "wide": 0.0, "supcon": 0.8, "metric": 0.9}, tmp_path / "work")

    def run(*_):
        plan = expand(study, path, read_base(study, path), skills)
        for file in files.values():
            file.write_text("# edited while the study ran\n")
        return plan, skills

    monkeypatch.setattr(studies, "run", run)
    monkeypatch.setattr(side_by_side, "add_images", lambda *_: None)
    assert run_here("study.py", [path]) == 0
    found = read_json(RESULTS / "some/provenance.json")
    assert {name: found[name]["sha256"] for name in files} == began


def test_a_page_without_a_place_for_the_table_is_refused_before_any_work(tmp_path, monkeypatch, caplog):
    _, path = read(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("no place\n")
    monkeypatch.setattr(studies, "run", lambda *_: pytest.fail("work"))
    assert run_here("study.py", [path, "--into", page]) == 1
    assert "page.md: has no place for the table, <!-- some --> and <!-- end -->" in caplog.text
