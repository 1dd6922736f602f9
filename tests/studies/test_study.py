"""A study file becomes rows: what they change, what they share, what is refused and in which words."""

import os
import time
from pathlib import Path

import pytest
import yaml

from builders import ROOT
from builders.study import read, write_study
from builders.whole import MINIMAL, load
from reid.core.checksums import sums_path
from reid.core.errors import ReidError
from reid.params import check_params, read_params
from reid.studies.changes import changed, difference
from reid.studies.jobs import write_jobs
from reid.studies.plan import check, check_files, expand, read_base
from reid.studies.study import read_study, study_path

AS_IT_COMES = {"network.weights": "DEFAULT"}


def rows(plan):
    return [(part.axis.axis, row.name) for part in plan.axes for row in part.rows]


def test_rows_are_put_on_top_of_the_base_one_axis_after_the_other(tmp_path):
    study, path = read(tmp_path)
    plan = check(study, path)
    assert rows(plan) == [("loss", "wide"), ("loss", "supcon"), ("metric", "metric")]
    wide, supcon, metric = [row for part in plan.axes for row in part.rows]
    assert wide.model.loss.triplet.margin == 0.5 and supcon.model.loss.triplet is None
    assert metric.params.distances.metric == "cosine" and metric.model.loss.triplet.margin == 0.3
    assert plan.base.content == load((tmp_path / "base.yaml").read_text())  # no row leaves a trace


def test_rows_that_differ_after_the_training_share_it(tmp_path):
    study, path = read(tmp_path)
    plan = check(study, path)
    wide, _, metric = [row for part in plan.axes for row in part.rows]
    base = plan.base.jobs(1)
    assert metric.jobs(1).training == base.training and metric.jobs(1).embedding == base.embedding
    assert metric.jobs(1).score != base.score
    assert wide.jobs(1).training != base.training and wide.jobs(1).data == base.data
    assert base.training != plan.base.jobs(2).training and base.weights == plan.base.jobs(2).weights
    assert len(plan.trainings()) == 6 and len(plan.scores()) == 8  # base, wide and supcon with two seeds; the metric


@pytest.mark.parametrize(
    ("place", "value", "first"),
    [
        ("download.synthetic.actions.train", 5, "source"),
        ("thumbnails.fit", "pad", "data"),
        ("network.weights", "DEFAULT", "weights"),
        ("input.height", 64, "weights"),
        ("train.classes", ["player"], "training"),
        ("epochs", 3, "training"),
        ("embed.flip_test", True, "embedding"),
        ("distances.metric", "cosine", "score"),
        ("evaluate.resamples", 200, "score"),
    ],
)
def test_what_a_row_changes_names_the_first_job_that_it_decides_about_and_all_that_follow(
    tmp_path, place, value, first
):
    study, path = read(tmp_path, {"axes": [{"axis": "a", "change": {place: value}}]})
    plan = check(study, path)
    jobs, base = plan.axes[0].rows[0].jobs(1), plan.base.jobs(1)
    changed_jobs = [name for name in jobs._fields if getattr(jobs, name) != getattr(base, name)]
    following = list(jobs._fields[jobs._fields.index(first) :])
    if first in ("source", "data"):
        following.remove("weights")
    assert changed_jobs == following


def test_a_training_keeps_its_name_when_defaults_are_written_out_and_rows_come_and_go(tmp_path):
    study, path = read(tmp_path)
    before = check(study, path)
    content = load(MINIMAL)
    content["models"]["one"] |= {
        "subset": 1.0,
        "validation": None,
        "loss": {"triplet": {"weight": 1.0, "margin": 0.3}},
    }
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(content))
    assert check(study, path).trainings() == before.trainings()
    axes = [{"axis": "first", "stays": "never", "change": {"epochs": 3}}, *(a.model_dump() for a in study.axes)]
    study, path = read(tmp_path, {"axes": axes})
    assert before.trainings() < check(study, path).trainings()


def test_crossed_factors_give_every_combination(tmp_path):
    cross = {
        "margin": {"m3": {}, "m5": {"loss.triplet.margin": 0.5}},
        "size": {"a": {"epochs": 1}, "b": {"epochs": 4}},
    }
    study, path = read(tmp_path, {"axes": [{"axis": "both", "cross": cross}]})
    plan = check(study, path)
    assert rows(plan) == [("both", name) for name in ("m3, a", "m3, b", "m5, a", "m5, b")]
    assert [(row.model.loss.triplet.margin, row.model.epochs) for row in plan.axes[0].rows] == [
        (0.3, 1), (0.3, 4), (0.5, 1), (0.5, 4),
    ]  # fmt: skip


def test_a_section_and_then_a_place_in_it_may_be_changed_by_a_row_and_by_two_factors(tmp_path):
    kinds = {"adam": {"kind": "adamw", "learning_rate": 1.0e-3}, "sgd": {"kind": "sgd", "learning_rate": 1.0e-2}}
    cross = {
        "optimizer": {name: {"optimizer": section} for name, section in kinds.items()},
        "rate": {"as it is": {}, "high": {"optimizer.learning_rate": 0.1}},
    }
    row = {"optimizer": kinds["sgd"], "optimizer.learning_rate": 0.2}
    study, path = read(tmp_path, {"axes": [{"axis": "grid", "cross": cross}, {"axis": "row", "change": row}]})
    found = [row.model.optimizer for part in check(study, path).axes for row in part.rows]
    assert [(one.kind, one.learning_rate) for one in found] == [
        ("adamw", 1e-3), ("adamw", 0.1), ("sgd", 1e-2), ("sgd", 0.1), ("sgd", 0.2),
    ]  # fmt: skip


def test_rows_may_differ_in_how_much_is_drawn_to_train_on(tmp_path):
    """A learning curve: their valid and test are the same to the byte."""
    rows = {f"{n}": {"download.synthetic.actions.train": n, "download.sha256.train": f"{n:064}"} for n in (12, 24)}
    few, more = check(*read(tmp_path, {"axes": [{"axis": "actions", "rows": rows}]})).axes[0].rows
    assert few.jobs(1).source != more.jobs(1).source and few.jobs(1).training != more.jobs(1).training


def test_null_takes_away_and_missing_sections_are_made():
    base = load(MINIMAL)
    row = changed(base, {"loss.triplet": None, "loss.id.label_smoothing": 0.1, "train.classes": ["player"]})
    assert row["models"]["one"]["loss"] == {"id": {"label_smoothing": 0.1}}
    assert row["train"] == {"splits": ["train"], "classes": ["player"]}
    assert base == load(MINIMAL)


@pytest.mark.parametrize(
    "place", ["averaging", "augmentation.crop.margin", "optimizer.momentum", "network.projection", "train.classes",
              "download.sha256.train", "distances.models.one", "distances.postprocessing.sinkhorn.iterations"]
)  # fmt: skip
def test_what_is_not_there_can_be_taken_away(place):
    base = load(MINIMAL)
    row = changed(base, {place: None})
    assert check_params(row) == check_params(base) and difference(base, row) == ""


def test_difference_pasted_over_the_base_is_the_row():
    base = changed(load(MINIMAL), {"averaging": {"kind": "ema", "decay": 0.9}})
    changes = {"loss": {"supcon": {"temperature": 1e-3}}, "averaging": None, "embed.flip_test": True}
    row = changed(base, changes)
    text = difference(base, row)
    assert "# without models.one.averaging\n" in text and text.count("\n") < 8
    pasted, content = load(text), changed(base, {"averaging": None})
    content["models"]["one"] |= pasted.pop("models")["one"]
    assert check_params({**content, **pasted}) == check_params(row)
    assert difference(base, base) == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"axis": "a", "rows": {"good": {}, "bad": {"loss.triplet.margn": 1}}}], ["a: bad", "margn", "margin?"]),
        ([{"axis": "a", "change": {"los.triplet": {}}}], ["a: los.triplet", "did you mean loss?"]),
        ([{"axis": "a", "change": {"epochs.x": 1}}], ["a: epochs.x", "epochs is 2 here"]),
        ([{"axis": "a", "change": {"train.splits": ["train", "valid"]}}], ["a: train.splits", "chosen on valid"]),
        ([{"axis": "a", "change": {"sampler.instances": 1}}], ["a: 1 problem", "sampler.instances: must be 2"]),
        ([{"axis": "a", "change": {**AS_IT_COMES, "soup": [2]}}], ["a: with seed 2: ", "must hold each seed once"]),
        ([{"axis": "a", "stays": "always", "change": {**AS_IT_COMES, "soup": [9]}},
          {"axis": "b", "change": {}, "seeds": [9]}], ["a: with seed 9: ", "soup: must hold each seed once"]),
        ([{"axis": "a", "change": {"seed": 5}}], ["a: changes seed, which every row has from seeds"]),
        ([{"axis": "a", "cross": {"x": {"p": {"seed": 5}}}}], ["a: changes seed, which every row has from seeds"]),
        ({"change": {"seed": 5}}, ["change: changes seed, which every row has from seeds"]),
        ([{"axis": "a", "change": {}}, {"axis": "a", "change": {}}], ["a stands twice"]),
        ([{"axis": "a"}], ["a: must have one of change, rows and cross"]),
        ([{"axis": "a", "change": {}, "row": {}}], ["row: is not part of a study; did you mean rows?"]),
        ([{"axis": "a", "change": {}, "stays": "best"}], ["axes[0].stays", "'mean', 'interval'"]),
        ([{"axis": "a", "cross": {"x": {"p": {"epochs": 1}}, "y": {"q": {"epochs": 2}}}}], ["epochs is changed"]),
        ([{"axis": "a", "cross": {"x": {"p": {"loss.supcon.weight": 2}}, "y": {"q": {"loss": {"id": {}}}}}}],
         ["a: loss.supcon.weight is changed by one", "then all of loss by another; put that of loss first"]),
        ([{"axis": "a", "cross": {"x": {"p": {"loss.id": None}, "q": {}}, "y": {"r": {"loss.id.weight": 2}}}}],
         ["a: loss.id is taken away by one of its factors, and loss.id.weight changed by another"]),
        ([{"axis": "a", "cross": {"x": {"p": {"loss.id.weight": 2, "loss.id": {}}}}}],
         ["a: p: changes loss.id and loss.id.weight in it", "write all into loss.id"]),
        ([{"axis": "a", "change": {"loss.id.weight": 2, "loss": {"id": {}}}}],
         ["a: changes loss and loss.id.weight in it"]),
        ({"change": {"loss.id": None, "loss.id.weight": 2}}, ["change: changes loss.id and loss.id.weight in it"]),
        ([{"axis": "a", "rows": {"b": {"download.synthetic.seed": 2}}}], ["a: b: download: must be the base's"]),
        ([{"axis": "a", "rows": {"b": {"download.synthetic.actions.valid": 9}}}], ["b: download: must be the base's"]),
        ([{"axis": "a", "change": {"download.sha256.test": "0" * 64}}], ["a: download: must be the base's"]),
        ([{"axis": "a", "change": {"download": {"source": "local", "path": "x"}}}], ["download: must be the base's"]),
        ([{"axis": "a", "change": {"augmentation.flipp": None}}], ["a: augmentation.flipp: ", "did you mean flip?"]),
        ([{"axis": "a", "change": {"loss.tripplet.margin": None}}], ["tripplet is not", "did you mean triplet?"]),
        ([{"axis": "a", "change": {"embed.flip_tst": None}}], ["a: embed.flip_tst: ", "did you mean flip_test?"]),
        ({"change": {"optimizer.momentumm": None}}, ["change: optimizer.momentumm", "did you mean momentum?"]),
        ([{"axis": "a", "cross": {"x": {"p, q": {}, "p": {}}, "y": {"r": {}, "q, r": {}}}}], ["2 combin", "p, q, r"]),
        ([{"axis": "a", "cross": {f"f{i}": {"p": {}, "q": {}, "r": {}} for i in range(99)}}], ["more than 1,000"]),
        ([], ["axes"]),
        ({"splits": ["test"]}, ["splits: must be [valid, test], or [valid]"]),
        ({"change": {"epochs": -1}}, ["change: 1 problem", "models.one.epochs"]),
        ({"seeds": [1, 1]}, ["seeds: a seed stands twice"]),
        ({"seeds": None}, ["seeds"]),
        ({"base": "nowhere.yaml"}, ["nowhere.yaml"]),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_error_that_names_file_and_row(tmp_path, content, words):
    path = write_study(tmp_path, content if isinstance(content, dict) else {"axes": content})
    with pytest.raises(ReidError) as caught:
        check(read_study(path), path)
    for word in [*words, *([] if "nowhere.yaml" in words else ["some.yaml"])]:
        assert word in str(caught.value)


def test_files_that_rows_name_are_there_before_any_work(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    rows = {name: {"network.weights": f"{tmp_path}/{name}.pth"} for name in ("gone", "pipe", "there")}
    study, path = read(tmp_path, {"axes": [{"axis": "a", "rows": rows}, {"axis": "b", "change": rows["gone"]}]})
    plan = check(study, path)
    with pytest.raises(ReidError) as caught:
        check_files(plan, path)
    told = str(caught.value)
    assert "some.yaml: 3 problems" in told and told.count("gone.pth") == 1
    assert "gone: models.one.network.weights" in told and "pipe.pth: is a named pipe" in told
    for row in plan.axes[0].rows:
        path = Path(row.model.network.weights)
        path.unlink(missing_ok=True)
        path.touch()
    check_files(plan, path)


def test_a_base_has_one_model(tmp_path):
    content = load(MINIMAL)
    content["models"]["two"] = content["models"]["one"]
    path = write_study(tmp_path, base=yaml.safe_dump(content))
    with pytest.raises(ReidError, match="must have one model"):
        check(read_study(path), path)
    content = {**load(MINIMAL), "external_models": {"two": {"folder": "elsewhere"}}}
    path = write_study(tmp_path, base=yaml.safe_dump(content))
    with pytest.raises(ReidError, match="and none in external_models"):
        check(read_study(path), path)


def test_a_row_that_is_wrong_on_top_of_what_stays_does_not_stop_the_others(tmp_path):
    axes = [
        {"axis": "sampler", "stays": "always", "change": {"sampler": {"kind": "actions", "actions": 1}}},
        {"axis": "negatives", "rows": {"good": {}, "bad": {"loss.negatives": "action+games"}}},
    ]
    study, path = read(tmp_path, {"axes": axes})
    plan = expand(study, path, read_base(study, path))
    assert [row.name for row in plan.axes[1].rows] == ["good"]
    assert "bad" in plan.axes[1].problems["bad"] and "sampler.actions" in plan.axes[1].problems["bad"]


def test_jobs_have_the_parameters_of_their_row_and_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study, path = read(tmp_path)
    plan = check(study, path)
    jobs = write_jobs(tmp_path / "out", plan, plan.base.params, True)
    assert {len(jobs[kind]) for kind in ("sources", "data", "weights")} == {1}
    assert (len(jobs["trainings"]), len(jobs["embeddings"]), len(jobs["scores"])) == (6, 6, 8)
    for row, seed in plan.runs():
        for kind, name in (("trainings", row.jobs(seed).training), ("scores", row.jobs(seed).score)):
            written = check_params(load(Path(jobs[kind][name]["params"]).read_text()))
            assert written.models["one"] == row.model.model_copy(update={"seed": seed})
            assert kind == "trainings" or written.distances == row.params.distances
    (data,) = jobs["data"].values()
    assert (data["root"], data["source"]) == ("data", "data")  # those of params.yaml
    (data,) = write_jobs(tmp_path / "out", plan, None, False)["data"].values()
    assert data["root"].startswith("data/studies/") and data["source"].startswith("data/studies/")


def shared_jobs(folder, plan, project):
    jobs = write_jobs(folder, plan, project, False)
    return {kind: jobs[kind] for kind in ("sources", "data")}


def test_jobs_that_studies_share_have_the_same_parameters_in_each(tmp_path, monkeypatch):
    """All of these are parameters of Snakemake's rules, and a file of another name would make the data again."""
    monkeypatch.chdir(tmp_path)
    one = shared_jobs(tmp_path / "one", check(*read(tmp_path, {"seeds": [1]})), None)
    other = check(*read(tmp_path, {"seeds": [2], "change": {"epochs": 7}}))
    assert shared_jobs(tmp_path / "two", other, None) == one
    for jobs in one.values():
        for job in jobs.values():
            assert check_params(load(Path(job["params"]).read_text())).download.source


def test_a_study_stays_with_the_data_that_it_has_begun_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study, path = read(tmp_path)
    plan = check(study, path)
    own = plan.base.params
    begun = shared_jobs(tmp_path / "one", plan, None)
    assert shared_jobs(tmp_path / "one", plan, own) == begun
    other = shared_jobs(tmp_path / "two", plan, own)
    assert {job["root"] for jobs in other.values() for job in jobs.values()} == {"data"}
    plan = check(*read(tmp_path, {"change": {"thumbnails.fit": "pad"}}))
    (data,) = shared_jobs(tmp_path / "one", plan, plan.base.params)["data"].values()  # its index lies with its zip
    assert data["source"].startswith("data/studies/") and data["root"].startswith("data/studies/")


@pytest.mark.parametrize("text", ["[]", '{"data": []}', '{"data": {"x": 1}}', '{"data": {"x": {}}}', '{"data":'])
def test_a_plan_that_is_none_is_passed_over(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    plan = check(*read(tmp_path))
    whole = shared_jobs(tmp_path / "out", plan, None)
    (tmp_path / "out/plan.json").write_text(text)
    sums_path(tmp_path / "out/plan.json").unlink(missing_ok=True)
    assert shared_jobs(tmp_path / "out", plan, None) == whole


def test_studies_that_share_thumbnails_but_not_zips_make_stores_of_their_own(tmp_path, monkeypatch):
    """One store of both would have another zip in the next study, and Snakemake would make it and train again."""
    monkeypatch.chdir(tmp_path)
    plan = check(*read(tmp_path, {"change": {"thumbnails.fit": "pad"}}))
    project = check_params(load(MINIMAL))  # other thumbnails of the same zips
    begun = shared_jobs(tmp_path / "one", plan, None)
    other = shared_jobs(tmp_path / "two", plan, project)
    assert shared_jobs(tmp_path / "one", plan, project) == begun
    (one,), (two,) = begun["data"].values(), other["data"].values()
    assert one["source"].startswith("data/studies/") and two["source"] == "data"
    assert one["root"] != two["root"] and two["root"].startswith("data/studies/")
    for jobs in (begun, other):  # a rule of Snakemake makes the store of a job by its name
        assert {job["root"] for job in jobs["data"].values()} == {f"data/studies/{name}" for name in jobs["data"]}


def test_forty_rows_with_three_seeds_are_planned_in_five_seconds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    axes = [
        {"axis": f"axis {a}", "rows": {f"row {r}": {"epochs": 1000 + 5 * a + r} for r in range(5)}} for a in range(8)
    ]
    path = write_study(tmp_path, {"seeds": [1, 2, 3], "axes": axes}, (ROOT / "recipes/resnet50.yaml").read_text())
    start = time.process_time()  # the machine may be busy with other tests
    plan = check(read_study(path), path)
    write_jobs(tmp_path / "out", plan, None, False)
    assert len(plan.trainings()) == 123 and time.process_time() - start < 5


def test_the_studies_that_come_along_are_right():
    for path in sorted((ROOT / "studies").glob("*.yaml")):
        study = read_study(path)
        check(study.model_copy(update={"base": str(ROOT / study.base)}), path)


def test_the_file_of_the_documentation_is_right(tmp_path):
    text = (ROOT / "docs/studies.md").read_text().split("`studies/losses.yaml`:\n\n```yaml\n")[1].split("```")[0]
    (tmp_path / "losses.yaml").write_text(text.replace("recipes/", f"{ROOT}/recipes/"))
    plan = check(read_study(tmp_path / "losses.yaml"), tmp_path / "losses.yaml")
    assert [len(part.rows) for part in plan.axes] == [2, 1, 4] and plan.axes[2].stays == "never"


def test_the_thesis_has_its_forty_trainings():
    """Those of its plan, section 3 and 7: two references, samplers, losses, ..., as it counts them."""
    path = study_path("thesis")
    text = (ROOT / path).read_text()
    study = read_study(ROOT / path)
    plan = check(study.model_copy(update={"base": str(ROOT / study.base)}), path)
    counted = [len(part.own_trainings()) for part in plan.axes]
    assert counted == [1, 5, 6, 5, 3, 6, 3, 5, 1, 1, 1, 2, 0] and sum(counted) + 1 == 40  # re-ranking trains nothing
    assert text.count("\n") < 80
    assert all(part.stays in ("mean", "never") for part in plan.axes)


def test_default_is_what_stays_of_the_ablation():
    path = study_path("ablation_longer")
    study = read_study(ROOT / path)
    content = read_base(study.model_copy(update={"base": str(ROOT / study.base)}), path).row.content
    for axis in study.axes:
        if axis.axis != "twice the learning rate, cosine":
            content = changed(content, next(iter(axis.all_rows().values())))
    kept, default = check_params(content), read_params(ROOT / "params.yaml")
    (model,), (other,) = kept.models.values(), default.models.values()
    for section in ("network", "augmentation", "sampler", "loss", "optimizer", "schedule", "averaging"):
        assert getattr(model, section) == getattr(other, section), section
    assert kept.distances == default.distances and kept.embed.flip_test == default.embed.flip_test
