"""Which stages dvc.yaml has; tests/engines/test_parity.py compares them with those that DVC finds."""

import pytest

from reid.core.errors import ReidError
from reid.lineage.lock import declared

STAGES = """
vars: [{models: {}, studies: [one]}]
stages:
  index: {outs: [a.parquet, b.parquet: {cache: false}]}
  train:
    foreach: ${models}
    do: {outs: ["${key}.bin"], metrics: ["${key}.json": {cache: false}], plots: ["${key}.tsv"]}
  study: {foreach: "${studies}", do: {outs: ["${item}.md"]}}
"""


@pytest.mark.parametrize("params, models", [("models: {a: {}, b: {}}", "ab"), ("models:", ""), ("seed: 1", "")])
def test_a_stage_is_there_for_each_model_and_study(tmp_path, params, models):
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "params.yaml").write_text(params)
    trained = {f"train@{key}": [f"{key}.bin", f"{key}.json", f"{key}.tsv"] for key in models}
    assert declared(tmp_path) == {"index": ["a.parquet", "b.parquet"], **trained, "study@one": ["one.md"]}


@pytest.mark.parametrize(
    "content", ["[]", "vars: []", "vars: [a.yaml]\nstages: {}", 'vars: []\nstages: {a: {foreach: "${b}", do: {}}}']
)
def test_stages_of_another_form_are_one_error(tmp_path, content):
    (tmp_path / "dvc.yaml").write_text(content)
    (tmp_path / "params.yaml").write_text("seed: 1")
    with pytest.raises(ReidError, match=r"dvc\.yaml: is not of this project's form"):
        declared(tmp_path)
    (tmp_path / "dvc.yaml").unlink()
    with pytest.raises(ReidError, match=r"dvc\.yaml: there is no such file"):
        declared(tmp_path)
