"""What lies here is compared with the two records of it."""

import hashlib
from pathlib import Path

import pytest
import yaml

from reid.core import dvc_lock
from reid.core.checksums import sum_file, write_sums
from reid.core.errors import ReidError
from reid.lineage import verify

STAGES = """
vars: [{models: {}, studies: [kept]}]
stages:
  embed: {foreach: "${models}", do: {outs: ["results/embeddings/${key}/valid.npy"]}}
  browse: {outs: [results/browse/valid, results/browse/valid.html]}
  study: {foreach: "${studies}", do: {outs: ["results/studies/${item}/table.md"]}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, but for its stages."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(STAGES)
    Path("params.yaml").write_text("models: {here: {}}")
    Path("results").mkdir()
    return tmp_path


def test_files_are_compared_with_a_ledger_that_is_read_once(monkeypatch, capsys):
    names = [f"results/{i}.json" for i in range(5)]
    for name in names:
        Path(name).write_text(name)
    outs = [{"path": name, "md5": hashlib.md5(name.encode()).hexdigest(), "size": len(name)} for name in names]
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"one": {"outs": outs}}}))
    Path("results/unknown").touch()
    read, times = dvc_lock.stages, []
    monkeypatch.setattr(dvc_lock, "stages", lambda content: times.append(content) or read(content))

    write_sums(names[0], sum_file("dvc.lock"))  # of another file: DVC put this one back
    verify.main()
    assert len(times) == 1 and "6 files: 5 as recorded, 0 differ" in capsys.readouterr().out

    write_sums(names[1], sum_file(names[1]))
    for name in names[1:3]:
        Path(name).write_text(name.upper())
    with pytest.raises(ReidError, match="2 files differ"):
        verify.main()
    said = capsys.readouterr().out
    assert f"{names[1]}: bytes 0 to" in said and f"{names[2]}: differs from dvc.lock" in said


def test_digests_are_compared_without_sound_parameters(caplog):
    Path("results/a.json").write_text("a")
    write_sums("results/a.json", sum_file("results/a.json"))
    Path("params.yaml").write_text("models: {")
    verify.main()
    Path("results/a.json").write_text("b")
    with pytest.raises(ReidError, match="1 files differ"):
        verify.main()
    assert "params.yaml" in caplog.text


def test_what_is_missing_of_the_present_stages_is_named_with_what_makes_it(capsys):
    model, study = "results/embeddings/{}/valid.npy", "results/studies/{}/table.md"
    made = {
        "embed@here": [model.format("here")],
        "embed@gone": [model.format("gone")],
        "browse": ["results/browse/valid"],
        "study@kept": [study.format("kept")],
        "study@gone": [study.format("gone")],
    }
    read = [{"path": path} for path in ("data/inputs/embed.json", "reid/core")]
    entries = {
        name: {"deps": read, "outs": [{"path": path, "md5": "0" * 32} for path in paths]}
        for name, paths in made.items()
    }
    for item in read:
        item["md5"] = "0" * 32
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": entries}))
    verify.main()
    lines = capsys.readouterr().out.splitlines()
    said = dict(zip((line.partition(":")[0] for line in lines[:-1:2]), map(str.strip, lines[1::2]), strict=True))
    assert said == {
        "data/inputs/embed.json": "dvc repro workflow/inputs/dvc.yaml:inputs",
        model.format("here"): f"snakemake --cores 8 {model.format('here')}",
        "results/browse/valid": "snakemake --cores 8 submission",
        study.format("kept"): "python scripts/study.py kept",
    }


@pytest.mark.parametrize(
    "name, again",
    [
        ("results/embeddings/here/valid.npy", " && snakemake --cores 8 results/embeddings/here/valid.npy"),
        ("results/browse/valid/00.js", " && snakemake --cores 8 results/browse/valid/00.js"),
        ("results/studies/any/scores/0/valid/metrics.json", " && python scripts/study.py any"),
        ("data/studies/0/index/valid.parquet", " && python scripts/study.py NAME"),
        ("results/embeddings/gone/valid.npy", ""),
        ("results/cards/here.md", ""),
    ],
)
def test_a_file_that_differs_is_named_with_what_makes_it_again_if_anything_does(name, again, capsys):
    Path(name).parent.mkdir(parents=True)
    Path(name).write_text("good")
    write_sums(name, sum_file(name))
    Path(name).write_text("bad!")
    with pytest.raises(ReidError, match="1 files differ"):
        verify.main()
    assert f"    rm {name}{again}\n" in capsys.readouterr().out
