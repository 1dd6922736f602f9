"""What docs/extending.md says, done as it stands there, in a clone, in both engines.

Slow: a clone is trained a few times on a very small data set.
"""

import json
import re
import subprocess

import numpy as np
import pytest
import yaml

from builders import ROOT, thorough
from builders.clone import Clone
from reid.core.splits import RANKED
from reid.ranking.distances import read_distances

TEXT = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.slow


def blocks(section):
    """The code of a section of the page: list of (language, content)."""
    part = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"```(\w+)\n(.*?)```", part, re.DOTALL)


def extension(clone, section, name):
    """Write the extension of a section and use it in the model as the page says."""
    (_, code), (_, use) = blocks(section)
    (clone.folder / f"extensions/{name}.py").write_text(code)
    (model,) = clone.params["models"].values()
    model.update(yaml.safe_load(use))
    clone.write_params()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return Clone(tmp_path_factory.mktemp("extending"), {"epochs": 1, "validation": None})


CHECKPOINT, CURVE = "results/models/small/model.safetensors", "results/training/small/curves/soft_margin.tsv"
EMBEDDINGS = "results/embeddings/small/valid.npy"


def test_a_loss_is_trained_with_and_again_when_its_file_changes(clone):
    extension(clone, "A loss", "soft_margin")
    others = [f"data/thumbnails/{split}.npy" for split in ("valid", "test")]  # which the stage of DVC names too
    clone.run("snakemake", "--cores", "8", CHECKPOINT, *others)
    first = (clone.folder / CURVE).read_text()
    assert len(first.splitlines()) == 2

    path = clone.folder / "extensions/soft_margin.py"
    path.write_text(path.read_text().replace("softplus(params.scale", "softplus(3 * params.scale"))
    assert {"train", "weights"} <= set(clone.would_run(CHECKPOINT))
    clone.run("snakemake", "--cores", "8", CHECKPOINT)
    assert (clone.folder / CURVE).read_text() != first and clone.would_run(CHECKPOINT) == {}


@thorough
def test_dvc_trains_the_same_and_again_when_the_file_changes(clone):
    second, path = (clone.folder / CURVE).read_text(), clone.folder / "extensions/soft_margin.py"
    clone.run("dvc", "repro", "--single-item", "train@small")
    assert (clone.folder / CURVE).read_text() == second
    assert json.loads(clone.run("dvc", "status", "train@small", "--json")) == {}
    path.write_text(path.read_text().replace("softplus(3 *", "softplus(4 *"))
    assert "train@small" in json.loads(clone.run("dvc", "status", "train@small", "--json"))
    clone.run("dvc", "repro", "--single-item", "train@small")
    assert (clone.folder / CURVE).read_text() != second


def test_an_extensions_parameters_are_checked_and_its_errors_name_it(clone):
    text = (clone.folder / "params.yaml").read_text()
    (clone.folder / "params.yaml").write_text(text.replace("scale: 2.0", "scael: 2.0"))
    said = clone.run("snakemake", "--cores", "8", "-n", "submission", fails=True)
    assert "loss.soft_margin.scael: is not a parameter; did you mean scale?" in said and "Traceback" not in said
    (clone.folder / "params.yaml").write_text(text)
    broken = clone.folder / "extensions/broken.py"
    broken.write_text("from reid.params import LOSSES\nimport nothing_of_this_name\n")
    said = clone.run("snakemake", "--cores", "8", "-n", "submission", fails=True)
    assert "extensions/broken.py, line 2" in said and "nothing_of_this_name" in said
    broken.unlink()


def test_a_backbone_and_an_augmentation_go_all_the_way_to_the_embeddings(clone):
    extension(clone, "A backbone", "tiny")
    extension(clone, "An augmentation", "grey")
    clone.run("snakemake", "--cores", "8", EMBEDDINGS)
    summary = json.loads((clone.folder / "results/training/small/summary.json").read_text())
    assert summary["backbone"] == "tiny" and summary["parameters"] < 100_000


def test_a_post_processing_step_is_tried_without_an_engine_and_taken_away_without_a_trace(clone):
    (_, code), (_, use) = blocks("A post-processing step")
    (_, header), (_, by_hand) = blocks("Files, and what runs again")
    before = clone.would_run(EMBEDDINGS)
    folder = clone.folder / "extensions"
    (folder / "helpers").mkdir()
    contents = {"centre.py": header + code, "helpers/weigh.py": "weigh = abs\n", "scale.csv": "1\n"}
    for name, content in contents.items():
        (folder / name).write_text(content)
    tried = {**clone.params, "distances": {**clone.params["distances"], **yaml.safe_load(use)}}
    (clone.folder / "tried.yaml").write_text(yaml.safe_dump(tried))
    subprocess.run(["bash", "-ec", by_hand], cwd=clone.folder, env=clone.environment, check=True)
    pairs = read_distances(clone.folder / "results/tried/distances.parquet")
    _, box = np.unique(np.stack([pairs.action, pairs.gallery]), axis=1, return_inverse=True)
    assert np.ptp(pairs.distance) > 1e-3
    np.testing.assert_allclose(np.bincount(box.ravel(), pairs.distance), 0, atol=1e-9)
    for name in contents:
        assert {"weights", "train", "embed"} <= set(clone.would_run(EMBEDDINGS))
        (folder / name).unlink()
    assert clone.would_run(EMBEDDINGS) == before == {}


@thorough
def test_a_rule_is_run_and_the_parity_test_takes_it_with_its_stage(clone):
    (_, script), (_, rule), (_, stage) = blocks("A rule")
    (clone.folder / "scripts/nearest.py").write_text(script)
    with open(clone.folder / "workflow/rules/ranking.smk", "a") as file:
        file.write("\n\n" + rule)
    ledger = clone.folder / "dvc.yaml"
    indented = "".join(f"  {line}\n" for line in stage.splitlines())
    ledger.write_text(ledger.read_text().replace("\nplots:\n", f"\n{indented}\nplots:\n", 1))
    clone.run("snakemake", "--cores", "8", "results/nearest/valid.csv")
    lines = (clone.folder / "results/nearest/valid.csv").read_text().splitlines()
    assert lines[0] == "query,gallery,distance" and len(lines) > 5
    assert " passed" in clone.run("pytest", "tests/engines/test_parity.py", "-p", "no:xdist", "-p", "no:cacheprovider")


@thorough
def test_the_rule_is_run_by_dvc_too(clone):
    made = [f"results/nearest/{split}.csv" for split in RANKED]
    clone.run("snakemake", "--cores", "8", *made)
    clone.run("dvc", "repro", "--single-item", "nearest")
    assert json.loads(clone.run("dvc", "status", "nearest", "--json")) == {}
    assert clone.would_run(*made) == {}
