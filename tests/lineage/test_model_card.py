"""The card of a model says what its run's files say, and above all what its scores do not mean."""

import hashlib
import json
import re

import pytest
import yaml

from builders import ROOT
from builders.model import MODEL, changed, model
from reid.core.errors import ReidError
from reid.lineage.model_card import model_card
from reid.models.checkpoint import save
from reid.models.embedder import Embedder

NETWORK = {"network.backbone": "osnet_x0_25"}
SCORES = {
    "mAP": 0.5,
    "rank-1": 0.25,
    "mINP": 0.4,
    "chance": {"mAP": 0.2, "rank-1": 0.1},
    "queries": 1234,
    "actions": 82,
}
SCORES["interval"] = {"mAP": [0.45, 0.55], "rank-1": [0.2, 0.3], "mINP": [0.35, 0.45]}


class Run:
    """The files of a finished run, as far as a card needs them."""

    def __init__(self, folder, splits=("train",), changes=None, models=("small",)):
        self.folder, self.data, self.results = folder, folder / "data", folder / "results"
        section = changed(MODEL, {**NETWORK, **(changes or {})})
        self.params = yaml.safe_load((ROOT / "params.yaml").read_text())
        self.params["download"]["source"] = "soccernet"
        self.params["train"]["splits"] = list(splits)
        self.params["models"] = dict.fromkeys(models, section)
        self.params["distances"] = {"metric": "euclidean"}
        self.write_params()
        parameters = model({**NETWORK, **(changes or {})})
        network = Embedder(parameters.network, (32, 16))
        for name in models:
            save(self.results / f"models/{name}/model.safetensors", network, parameters)
            summary = {"model": name, "trained_on": list(splits), "backbone": "osnet_x0_25"}
            summary |= {"parameters": 201864, "flops": 5, "thumbnails": 10, "identities": 4}
            self.write(f"results/training/{name}/summary.json", summary)
        for number, split in enumerate(("train", "valid", "test")):
            self.write(f"data/raw/{split}.json", {"sha256": f"{number}" * 64, "images": 1000 + number})
        for split in ("valid", "test"):
            scored = {"trained_on": True, "of_training_data": SCORES} if split in splits else SCORES
            self.write(f"results/metrics/{split}.json", {"split": split, **scored})

    def write(self, name, content):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(json.dumps(content))

    def write_params(self):
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.params))

    def card(self, name="small"):
        return model_card(name, self.folder / "params.yaml", self.data, self.results)


def test_a_card_says_data_scores_with_intervals_and_chance_and_origin(tmp_path):
    run = Run(tmp_path)
    checkpoint = hashlib.sha256((run.results / "models/small/model.safetensors").read_bytes()).hexdigest()
    record = {"checkpoints": [{"sha256": checkpoint}], "code": {"commit": "c0ffee", "clean": False}}
    run.write("results/submission/test.provenance.json", record)
    card = run.card()
    assert f"| train | 1,000 | `{'0' * 64}` |" in card
    assert "used under the terms of SoccerNet" in card
    assert "None: trained from random weights." in card
    assert "| valid | mAP | 50.0 % | 45.0 to 55.0 % | 20.0 % |  |" in card
    assert "| test | mINP | 40.0 % | 35.0 to 45.0 % |  |  |" in card
    assert "test: 1,234 queries in 82 actions; valid: 1,234" in card
    assert checkpoint in card
    assert "commit `c0ffee, with changes`" in card
    written = yaml.safe_load(re.search(r"```yaml\n(.*?)```", card, re.DOTALL)[1])
    assert written["network"]["backbone"] == "osnet_x0_25"
    assert written["seed"] == 1
    assert "mean nothing" not in card
    assert "post-processing" not in card
    assert card == run.card()


def test_a_model_that_was_trained_on_valid_says_that_its_scores_there_mean_nothing(tmp_path):
    card = Run(tmp_path, ("train", "valid")).card()
    assert "**The scores of valid mean nothing: the model was trained on this data.**" in card
    assert "- Trained on valid: its scores of valid mean nothing" in card
    assert all("**trained on**" in line for line in card.splitlines() if line.startswith("| valid | mAP"))
    assert all("**trained on**" not in line for line in card.splitlines() if line.startswith("| test | "))
    assert "chosen by the mAP of valid" not in card


def test_a_model_that_is_used_as_it_comes_says_what_those_saw_that_it_starts_from(tmp_path):
    run = Run(tmp_path, ("train", "valid"), models=("small", "later"))
    weights = {"epochs": 0, "network.weights": "results/models/small/model.safetensors"}
    section = run.params["models"]["later"] = changed(MODEL, {**NETWORK, **weights})
    run.write_params()
    parameters = model({**NETWORK, **weights})
    save(run.results / "models/later/model.safetensors", Embedder(parameters.network, (32, 16)), parameters)
    summary = json.loads((run.results / "training/later/summary.json").read_text())
    run.write("results/training/later/summary.json", {**summary, "trained_on": []})
    card = run.card("later")
    assert section["epochs"] == 0 and f"| valid | 1,001 | `{'1' * 64}` |" in card
    assert "By the training of small, whose weights are used as they come." in card
    assert "That of small, which is trained here too" in card
    assert "- Trained on valid: its scores of valid mean nothing" in card
    run.write("results/training/small/summary.json", {**summary, "trained_on": ["train"]})
    with pytest.raises(ReidError, match=r"small was trained on \['train'\], and .*says \['train', 'valid'\]"):
        run.card("later")


def test_public_pretraining_fusion_and_choice_on_valid_are_told(tmp_path):
    changes = {"network.weights": "clips/w.pt", "validation": {"every": 1, "select": "best", "metric": "cosine"}}
    run = Run(tmp_path, changes=changes, models=("small", "other"))
    run.params["distances"]["postprocessing"] = {"dual_softmax": {"temperature": 0.1}}
    run.write_params()
    (run.data / "weights").mkdir()
    (run.data / "weights/small.safetensors").write_bytes(b"w")
    card = run.card()
    assert "`network.weights: clips/w.pt` for the backbone osnet_x0_25" in card
    assert hashlib.sha256(b"w").hexdigest() in card
    assert "Of the fusion of this model with other, not of this model alone." in card
    assert "chosen by the mAP of valid" in card
    assert "post-processing" in card


def test_a_model_without_a_part_in_the_scores_does_not_take_them_for_its_own(tmp_path):
    run = Run(tmp_path, models=("small", "other", "third"))
    run.params["distances"]["models"] = {"other": 1, "third": 2}
    run.write_params()
    assert "Of other, third alone: **this model has no part in them**" in run.card()
    assert "Of the fusion of this model with third, not of this model alone." in run.card("other")
    run.params["distances"]["models"] = {"small": 1}
    run.write_params()
    assert "fusion" not in run.card() and "no part" not in run.card()


def test_a_score_without_an_interval_for_all_queries_are_of_one_action_stands_by_itself(tmp_path):
    run = Run(tmp_path)
    run.write("results/metrics/test.json", {"split": "test", **SCORES, "interval": dict.fromkeys(SCORES["interval"])})
    card = run.card()
    assert "| test | mAP | 50.0 % |  | 20.0 % |  |" in card
    assert "| valid | mAP | 50.0 % | 45.0 to 55.0 % | 20.0 % |  |" in card


def test_files_of_another_run_are_refused(tmp_path):
    run = Run(tmp_path)
    run.params["train"]["splits"] = ["train", "test"]
    run.write_params()
    with pytest.raises(ReidError, match=r"small was trained on \['train'\], and .*says \['train', 'test'\]"):
        run.card()
    run.params["models"]["small"]["epochs"] = 3
    run.write_params()
    with pytest.raises(ReidError, match=r"model\.safetensors: was trained with other parameters than models\.small"):
        run.card()
    with pytest.raises(ReidError, match=r"models\.'?absent'?: is not in the parameter file"):
        run.card("absent")


@pytest.mark.parametrize(
    "name, content",
    [
        ("submission/valid.provenance.json", {"checkpoints": ["x"]}),
        ("submission/valid.provenance.json", {"checkpoints": 1}),
        ("metrics/valid.json", {"split": "valid", "trained_on": True, "of_training_data": [1]}),
        ("metrics/valid.json", {"split": "valid", **SCORES, "interval": {**SCORES["interval"], "mAP": [0.1]}}),
    ],
)
def test_a_file_of_another_form_is_one_error(tmp_path, name, content):
    run = Run(tmp_path)
    run.write(f"results/{name}", content)
    with pytest.raises(ReidError, match="results: a file of the run is not of this version .*; run again"):
        run.card()


def test_a_file_that_is_missing_or_another_is_named(tmp_path):
    run = Run(tmp_path)
    run.write("results/metrics/test.json", {"split": "test"})
    with pytest.raises(ReidError, match=r"results: a file of the run is not of this version \(KeyError\('interval'\)"):
        run.card()
    (run.data / "raw/train.json").unlink()
    with pytest.raises(ReidError, match=r"raw/train\.json: there is no such file; make it with scripts/download\.py"):
        run.card()
