"""What lies here is compared with the two records of it."""

import errno
import hashlib
import os
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


def record(*names):
    """Enter files as they are into dvc.lock."""
    outs = [{"path": name, "md5": hashlib.md5(Path(name).read_bytes()).hexdigest()} for name in names]
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"browse": {"outs": outs}}}))


PUT_THERE = {
    "a directory": os.mkdir,
    "a named pipe": os.mkfifo,
    "a device": lambda path: os.symlink("/dev/null", path),
    "a link to nothing": lambda path: os.symlink("nowhere", path),
    "unreadable (Too many": lambda path: os.symlink(path.name, path),
}


@pytest.mark.parametrize("by", ["digests", "dvc.lock"])
@pytest.mark.parametrize("kind", PUT_THERE)
def test_what_is_no_file_where_one_was_made_is_named(kind, by, capsys):
    path = Path("results/a.json")
    path.write_text("a")
    if by == "digests":
        write_sums(path, sum_file(path))
    else:
        record(str(path))
    path.unlink()
    PUT_THERE[kind](path)
    with pytest.raises(ReidError, match="1 files differ"):
        verify.main()
    said = capsys.readouterr().out
    assert f"{path}: is {kind}" in said and ("rm -r " in said) == (kind == "a directory")


def test_files_that_changed_places_with_their_digests_are_noted(capsys):
    for name in ("a", "b", "c"):
        Path(f"results/{name}.json").write_text(name)
    record("results/a.json", "results/b.json")
    for one, name in (("b", "a"), ("a", "b"), ("c", "c")):
        Path(f"results/{name}.json").write_text(one)
        write_sums(f"results/{name}.json", sum_file(f"results/{name}.json"))
    verify.main()
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == [f"results/{n}.json: is as it was written" for n in "ab"]
    assert last == "3 files: 1 as recorded, 2 as written and not in dvc.lock, 0 differ"


def test_names_of_files_steer_no_terminal(capsys):
    Path("results/\x1b[2J.json").write_text("")
    verify.main()
    assert capsys.readouterr().out.startswith("results/\\x1b[2J.json: nothing is recorded of it\n")


def test_what_cannot_be_read_is_named_and_all_else_is_compared(capsys, monkeypatch):
    """Whoever runs the tests may read everything, so that rights alone would not show it."""
    for name in ("results/a.json", "results/b.json", "results/within/c.json"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("good")
        write_sums(name, sum_file(name))
    record("results/within/c.json")
    Path("results/b.json").write_text("bad!")
    system, scan = verify.difference, os.scandir

    def refusing(call, name):
        def refuse(path, *more):
            if str(path) == name:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
            return call(path, *more)

        return refuse

    monkeypatch.setattr(verify, "difference", refusing(system, "results/a.json"))
    monkeypatch.setattr(os, "scandir", refusing(scan, "results/within"))
    with pytest.raises(ReidError, match="1 files differ"):
        verify.main()
    said = capsys.readouterr().out
    for name in ("results/a.json", "results/within"):
        assert f"{name}: cannot be read (Permission denied)\n" in said
    assert "results/b.json: bytes 0 to" in said and "1 files: 0 as recorded, 1 differ" in said

    Path("results/b.json").write_text("good")
    with pytest.raises(ReidError, match="2 files or folders cannot be read"):
        verify.main()


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
