"""Choosing the distances section: planted improvements are found, all else is left out; the program."""

import argparse
import runpy

import numpy as np
import pyarrow as pa
import pytest
import yaml
from scipy.spatial.distance import cdist

from builders import ROOT
from reid.core.errors import ReidError
from reid.data.actions import Action
from reid.data.index import write_index
from reid.params.ranking import Step as PostprocessingStep
from reid.params.reading import read_params
from reid.params.registries import POSTPROCESSING
from reid.params.schema import section_class
from reid.ranking import distances as measuring
from reid.ranking import tuning
from reid.ranking.tuning import CANDIDATES, LEAST_GAIN, RATIOS, SIMPLEST, changed, tune
from reid.retrieval.metrics import ap_of_actions, score
from reid.retrieval.order import Pairs, rank


def action_distances(embeddings, actions, section, weights=None):
    params = section_class("Distances").model_validate(section)
    return measuring.action_distances(embeddings, actions, params, weights)


def official(distances, actions, person):
    """mAP as the evaluation of the pipeline has it; rows stand for boxes."""
    query = np.concatenate([np.repeat(a.query, len(a.gallery)) for a in actions])
    gallery = np.concatenate([np.tile(a.gallery, len(a.query)) for a in actions])
    ranked = rank(Pairs(query, gallery, query, np.concatenate([d.ravel() for d in distances])))
    return score(person[ranked.query] == person[ranked.gallery], ranked.start)["mAP"]


def random_split(seed, actions=12, largest=12, components=6):
    """Actions in rows in no order, the person of each row, and where each person stands; each query has a match."""
    rng = np.random.default_rng(seed)
    groups, people = [], []
    for i in range(actions):
        queries, more = rng.integers(1, 6), rng.integers(0, largest)
        gallery = [*range(queries), *rng.integers(0, queries + 2, more)]
        groups.append((queries, queries + len(gallery)))
        people += [100 * i + person for person in (*range(queries), *gallery)]
    rows = rng.permutation(len(people))
    person = np.zeros(len(rows), np.int64)
    person[rows] = people
    parts = np.split(rows, np.cumsum([size for _, size in groups])[:-1])
    split = [
        Action(i, np.sort(p[:q]), np.sort(p[q:])) for i, (p, (q, _)) in enumerate(zip(parts, groups, strict=True))
    ]
    return split, person, rng.normal(size=(100 * actions, components))[person]


def noisy(places, amount, seed, width=9):
    rng = np.random.default_rng(seed)
    return ((places + amount * rng.normal(size=places.shape)) @ rng.normal(size=(places.shape[1], width))).astype("f4")


# ---- mAP


@pytest.mark.parametrize("largest", [1, 15])
@pytest.mark.parametrize("values", [1, 4, 1000])  # 1: all are tied
def test_map_is_that_of_the_metrics(values, largest):
    for seed in range(10):
        actions, person, _ = random_split(seed, largest=largest)
        rng = np.random.default_rng(seed)
        distances = [rng.integers(values, size=(len(a.query), len(a.gallery))) / values for a in actions]
        gained = ap_of_actions(actions, person)(distances).mean()
        assert gained == pytest.approx(official(distances, actions, person), rel=1e-12)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("width", [3, 300])
def test_shortened_embeddings_have_the_same_distances(metric, width):
    actions, _, places = random_split(0)
    embeddings = noisy(places, 1.0, 0, width)
    short = tuning._shortened(embeddings, actions)
    assert short.shape[1] <= max(width if width < 20 else 0, max(len(a.query) + len(a.gallery) for a in actions))
    for action in actions:
        rows = [*action.query, *action.gallery]
        wanted = cdist(embeddings[rows].astype(float), embeddings[rows].astype(float), metric)
        np.testing.assert_allclose(cdist(short[rows], short[rows], metric), wanted, atol=1e-6 if width > 20 else 0)


# ---- choosing


def planted(kind):
    """Embeddings of actions that one part repairs, in two components; rows of an action: queries, then gallery."""
    turn = lambda *angles: [[np.cos(a), np.sin(a)] for a in np.radians(angles)]  # noqa: E731
    person, places = {
        # his other image is dark: the same direction, but shorter than somebody else's
        "metric": ([0, 0, 1], [[4, 4], [1, 1], [5, 3]]),
        # he turns by and by; somebody else is nearer than his third image
        "query_expansion": ([0, 0, 1, 0], turn(0, 40, -35, 20)),
        # somebody else is nearer, but has nearer ones himself
        "reranking": ([0, 0, 1, 1, 1], [[0, 9], [1.1, 9], [-1, 9], [-1.3, 9], [-1.35, 9]]),
        # the second query's match is nearer to the first query than his own
        "assignment": ([0, 1, 0, 1], [[0, 1], [0.8, 1], [-0.5, 1], [0.45, 1]]),
    }[kind]
    queries = 2 if kind == "assignment" else 1
    size, times = len(person), 6
    actions = [Action(i, np.arange(queries) + i * size, np.arange(queries, size) + i * size) for i in range(times)]
    person = np.concatenate([np.array(person) + 10 * i for i in range(times)])
    return actions, person, np.tile(np.array(places, np.float32), (times, 1))


@pytest.mark.parametrize("part", CANDIDATES)
def test_planted_improvement_is_found_by_its_part(part, monkeypatch):
    monkeypatch.setattr(tuning, "CANDIDATES", {part: CANDIDATES[part]})
    actions, person, embeddings = planted(part)
    before = official(action_distances([embeddings], actions, SIMPLEST), actions, person)
    section, tried, gained = tune({"a": embeddings}, actions, person)
    assert before < 1 and gained == 1
    assert gained == official(action_distances([embeddings], actions, section), actions, person)
    repairs = [
        candidate
        for candidate in CANDIDATES[part]
        if official(action_distances([embeddings], actions, changed(SIMPLEST, part, candidate)), actions, person) == 1
    ]
    with_it = changed(SIMPLEST, part, repairs[0])  # the simplest of equals
    assert changed(section, "scale", None) == changed(with_it, "scale", None)
    assert tried[0].best == repairs[0]
    assert (tried[0].part, tried[0].score, tried[0].kept) == (part, 1, True)
    assert tried[0].without == pytest.approx(before)


def test_parts_that_do_not_help_are_left_out():
    actions, person, embeddings = planted("metric")
    section, tried, gained = tune({"a": embeddings}, actions, person)
    assert section == {"metric": "cosine"}
    assert gained == 1
    assert [row.part for row in tried if row.kept] == ["metric", "metric"]  # and once more in the pass that ends it


def test_faultless_rankings_need_nothing():
    actions, person, places = random_split(1)
    section, tried, gained = tune({"a": noisy(places, 0, 0), "b": noisy(places, 0, 1)}, actions, person)
    assert section == SIMPLEST and gained == 1
    assert not any(row.kept for row in tried)
    assert len(tried) == len(CANDIDATES) + 1


def test_the_poorer_model_gets_less_weight():
    actions, person, places = random_split(2, actions=25)
    embeddings = {"good": noisy(places, 0.2, 0), "poor": noisy(places, 2.0, 1)}
    section, tried, gained = tune(embeddings, actions, person)
    weights = section["models"]
    assert weights.get("poor", 0) < weights["good"]
    assert all(weight in RATIOS for weight in weights.values())
    alike = changed(section, "models", None)
    assert (
        gained >= official(action_distances(list(embeddings.values()), actions, alike), actions, person) + LEAST_GAIN
    )
    assert [row.best for row in tried if row.part == "models"][-1] == weights


def test_weights_are_sought_until_none_improves():
    """To the best only in two rounds: a, b and then a again."""
    scores = {(1, 1): 0.0, (2, 1): 0.1, (2, 4): 0.2, (4, 4): 0.3, (0.5, 0.5): 0.1}

    def score(section):
        weights = section.get("models", {"a": 1, "b": 1})
        return scores.get((weights.get("a", 0), weights.get("b", 0)), -1.0)

    assert tuning._best_weights(SIMPLEST, ["a", "b"], score) == {"a": 4, "b": 4}


@pytest.mark.parametrize("part, scaled", [("reranking", True), ("assignment", True), ("query_expansion", False)])
def test_a_model_alone_is_scaled_only_where_it_matters(part, scaled, monkeypatch):
    monkeypatch.setattr(tuning, "CANDIDATES", {part: CANDIDATES[part]})
    actions, person, embeddings = planted(part)
    section, *_ = tune({"a": embeddings}, actions, person)
    assert section["postprocessing"] and ("scale" in section) == scaled


@pytest.mark.parametrize("seed, noise", [(3, 0.5), (3, 1.2), (7, 0.5)])  # with different parts in the result
def test_no_part_alone_could_do_better(seed, noise):
    """Every candidate of every part, through the whole pipeline: none gains 0.001, and each part that is kept does."""
    actions, person, places = random_split(seed, actions=10)
    embeddings = {"a": noisy(places, noise, 0), "b": noisy(places, 2 * noise, 1)}

    def measured(section):
        weights = section.get("models", dict.fromkeys(embeddings, 1.0))
        distances = action_distances([embeddings[n] for n in weights], actions, section, list(weights.values()))
        return official(distances, actions, person)

    section, _, gained = tune(embeddings, actions, person)
    assert gained == pytest.approx(measured(section), rel=1e-12)
    for part, (simplest, *others) in CANDIDATES.items():
        scores = [measured(changed(section, part, other)) for other in others]
        without = changed(section, part, simplest)
        if section == without:
            assert max(scores) < gained + LEAST_GAIN
        else:
            assert measured(without) <= gained - LEAST_GAIN
            assert max(scores) == pytest.approx(gained)
    for name in embeddings:
        for ratio in RATIOS:
            weights = {**dict.fromkeys(embeddings, 0.0), **section.get("models", dict.fromkeys(embeddings, 1.0))}
            weights = {key: value for key, value in {**weights, name: ratio}.items() if value}
            if weights:
                slack = (0 if "models" in section else LEAST_GAIN) + 1e-12
                assert measured(changed(section, "models", weights)) <= gained + slack


def test_the_same_is_chosen_again():
    actions, person, places = random_split(4)
    embeddings = {"a": noisy(places, 0.8, 0), "b": noisy(places, 1.0, 1)}
    assert tune(embeddings, actions, person) == tune(embeddings, actions, person)


def test_embedding_of_zeros_leaves_the_euclidean_distance():
    actions, person, places = random_split(5)
    embeddings = noisy(places, 0.5, 0)
    embeddings[actions[0].gallery[0]] = 0
    section, _, gained = tune({"a": embeddings}, actions, person)
    assert section["metric"] == "euclidean" and "query_expansion" not in section.get("postprocessing", {})
    assert gained > 0.5


def test_section_without_a_part_has_nothing_of_it():
    expansion = {"query_expansion": {"neighbours": 2}}
    whole = {"metric": "cosine", "postprocessing": {**expansion, "sinkhorn": {"iterations": 5}}}
    assert changed(whole, "assignment", {}) == {"metric": "cosine", "postprocessing": expansion}
    assert changed(changed(whole, "assignment", {}), "query_expansion", {}) == {"metric": "cosine"}
    other = changed(whole, "assignment", {"dual_softmax": {"temperature": 1.0}})
    assert list(other["postprocessing"]) == ["query_expansion", "dual_softmax"]
    assert list(whole["postprocessing"]) == ["query_expansion", "sinkhorn"]
    assert list(changed(whole, "models", {"a": 1.0})) == ["metric", "models", "postprocessing"]


# ---- the program


PARAMS = ROOT / "params.yaml"


class Project:
    """A folder with a parameter file, the index of valid and embeddings of two models, one of them made elsewhere."""

    def __init__(self, folder, split="valid", trained=("train",), models=("one", "two")):
        self.params, self.index = folder / "params.yaml", folder / "valid.parquet"
        content = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
        content["models"] = {"one": next(iter(content["models"].values()))}
        content["external_models"] = {"two": {"folder": "mine"}}
        content["train"]["splits"] = list(trained)
        self.params.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        actions, person, places = random_split(6, actions=10)
        rows = sorted(
            (r, a.action_idx, int(row)) for a in actions for r, part in ((0, a.query), (1, a.gallery)) for row in part
        )
        order = [row for *_, row in rows]
        columns = {
            "role": ["gallery" if role else "query" for role, *_ in rows],
            "bbox_idx": pa.array(range(len(rows)), pa.int32()),
            "action_idx": pa.array([action for _, action, _ in rows], pa.int32()),
            "person_uid": pa.array(person[order], pa.int32()),
        }
        write_index(self.index, pa.table(columns), split, "0" * 64)
        self.embeddings = []
        for name, noise in zip(models, (0.5, 3.0), strict=True):
            self.embeddings.append(folder / name / "valid.npy")
            self.embeddings[-1].parent.mkdir(exist_ok=True)
            np.save(self.embeddings[-1], noisy(places, noise, len(self.embeddings))[order])

    def change(self, key, value):
        """Set a key of the section ``distances``."""
        content = yaml.safe_load(self.params.read_text(encoding="utf-8"))
        content["distances"][key] = value
        self.params.write_text(yaml.safe_dump(content), encoding="utf-8")

    def run(self, write=True, embeddings=None):
        values = {"embeddings": self.embeddings, "params": self.params, "index": self.index, "write": write}
        main = runpy.run_path(str(ROOT / "scripts/tune.py"))["main"]
        main(argparse.Namespace(**{**values, "embeddings": embeddings or self.embeddings}))


def test_program_prints_the_section_that_it_writes(tmp_path, capsys):
    project = Project(tmp_path)
    before = project.params.read_bytes()
    project.run(write=False)
    printed = capsys.readouterr().out
    assert project.params.read_bytes() == before
    section = yaml.safe_load(printed[printed.index("distances:") :])["distances"]
    assert section["models"].get("two", 0) < section["models"]["one"] and "null" not in printed
    for part in (*CANDIDATES, "models"):
        assert f"\n{part} " in printed
    project.run()
    assert yaml.safe_load(project.params.read_text(encoding="utf-8"))["distances"] == section
    now, gained = (line.split()[-1] for line in printed.splitlines() if line.startswith("mAP"))
    assert float(now) + LEAST_GAIN <= float(gained)
    capsys.readouterr()
    project.run(write=False)
    assert capsys.readouterr().out.splitlines()[0].split()[-1] == gained


def test_models_that_were_not_chosen_from_are_left_out_of_the_section(tmp_path):
    project = Project(tmp_path)
    project.run(embeddings=project.embeddings[1:])
    assert read_params(project.params).fused() == {"two": 1.0}


@pytest.mark.parametrize("models", [None, {"one": 1.0}])
def test_better_settings_are_not_overwritten(tmp_path, monkeypatch, models):
    project = Project(tmp_path)
    if models:
        project.change("models", models)
    before = project.params.read_bytes()
    monkeypatch.setattr(tuning, "tune", lambda *_: (SIMPLEST, [], 0.0))
    project.run()
    assert project.params.read_bytes() == before


def test_fusion_that_is_not_tried_is_left_out_with_a_warning(tmp_path, caplog):
    project = Project(tmp_path)
    project.change("fusion", "rank")
    project.run(write=False)
    assert "distances.fusion: rank is not among what is tried here" in caplog.text


def test_step_that_is_not_tried_is_left_out_with_a_warning(tmp_path, caplog):
    before = POSTPROCESSING.snapshot()
    POSTPROCESSING.register("mine", PostprocessingStep)(lambda distance, params: distance)
    try:
        project = Project(tmp_path)
        project.change("postprocessing", {"mine": {}})
        project.run()
    finally:
        POSTPROCESSING.restore(before)
    assert "distances.postprocessing.mine: is not among what is tried here" in caplog.text
    assert "mine" not in yaml.safe_load(project.params.read_text(encoding="utf-8"))["distances"].get(
        "postprocessing", {}
    )


def refused(words, folder, embeddings=None, write=True, **changes):
    project = Project(folder, **changes)
    before = project.params.read_bytes()
    with pytest.raises(ReidError, match=words):
        project.run(write, embeddings and [folder / name for name in embeddings])
    assert project.params.read_bytes() == before


@pytest.mark.parametrize("write", [True, False])
def test_trained_split_chooses_nothing(tmp_path, write):
    refused("params.yaml: train.splits holds valid", tmp_path, write=write, trained=("train", "valid"))


@pytest.mark.parametrize("split", ["test", "challenge", "train"])
def test_other_splits_choose_nothing(tmp_path, split):
    refused(f"valid.parquet: is of {split}; parameters are chosen on valid", tmp_path, split=split)


def test_two_files_in_one_folder_are_refused(tmp_path):
    refused("--embeddings: the folder", tmp_path, ["one/valid.npy", "one/test.npy"])


@pytest.mark.parametrize("name, problem", [("a b", "holds ' '"), ("-a", "begins with '-'"), ("a" * 65, "has 65 char")])
def test_folder_whose_name_no_model_can_have_is_refused_before_anything_is_tried(tmp_path, name, problem):
    refused(f"--embeddings: folder of .*valid.npy: the name {problem}", tmp_path, [f"{name}/valid.npy"], write=False)


def test_models_of_no_parameter_file_are_not_written(tmp_path):
    refused("--write: .*has the models one, two, not mine, two", tmp_path, models=("mine", "two"))
