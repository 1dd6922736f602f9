"""What recording enters, and what adopting takes for the same although it is missing."""

import subprocess
from types import SimpleNamespace

import pytest
import yaml
from dvc.repo import Repo, lock_repo

from reid.core import dvc_lock
from reid.engines import ledger

ABSENT = ["data/raw/valid.zip", "data/thumbnails/valid.npy"]


def repo(status=None, outs=(), deps=()):
    """As much of DVC's view of a folder as adopting asks for."""
    index = SimpleNamespace(outs=outs, deps=deps)
    return SimpleNamespace(status=lambda: status, index=index)


class File(SimpleNamespace):
    """An output or a dependency of a stage."""

    def __str__(self):
        return self.path


def out(path, md5="a", use_cache=False, exists=False):
    return File(path=path, hash_info=md5, use_cache=use_cache, exists=exists)


@pytest.mark.parametrize(
    "reasons, same",
    [
        ([{"changed deps": {ABSENT[0]: "deleted"}}], True),
        ([{"changed deps": {ABSENT[0]: "deleted"}}, {"changed outs": {ABSENT[1]: "deleted"}}], True),
        ([{"changed deps": {ABSENT[0]: "modified"}}], False),
        ([{"changed deps": {ABSENT[0]: "deleted", "reid/raw": "modified"}}], False),
        ([{"changed outs": {"data/index/valid.parquet": "deleted"}}], False),
        ([{"changed deps": {"params.yaml": {"thumbnails": "modified"}}}], False),
        ([{"changed outs": {ABSENT[1]: "deleted"}}, "changed command"], False),
    ],
)
def test_only_what_may_be_missing_may_be_missing(reasons, same):
    status = {"workflow/inputs/dvc.yaml:inputs": ["always changed"], "thumbnails": reasons}
    assert ledger.differing(repo(status), ABSENT) == ("" if same else "thumbnails")
    assert ledger.differing(repo(status)) == "thumbnails"


def test_what_is_not_here_is_what_dvc_does_not_keep_and_all_mean_alike():
    outs = [
        out("a.zip"),
        out("b.zip", exists=True),
        out("c.parquet", use_cache=True),
        out("d.zip", md5=None),  # never recorded
        out("e.zip", md5="new"),
    ]
    deps = [out("a.zip"), out("e.zip", md5="old"), out("reid/core")]
    assert ledger.not_here(repo(outs=outs, deps=deps)) == ["a.zip"]


def test_what_stands_in_goes_whatever_happens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt), ledger.standing_in(ABSENT):
        assert all((tmp_path / path).is_file() for path in ABSENT)
        raise KeyboardInterrupt
    assert list(tmp_path.rglob("*.*")) == []


def test_what_a_killed_one_left_goes_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "data/raw/test.zip"
    with ledger.standing_in(ABSENT):
        kept.write_bytes(b"x" * (tmp_path / ABSENT[0]).stat().st_size)
        ledger._remove_stand_ins([tmp_path / path for path in [*ABSENT, "data/raw/test.zip", "data/raw/no.zip"]])
        assert not (tmp_path / ABSENT[0]).exists() and kept.exists()


@pytest.mark.parametrize("kind", ["zip", "metric"])
def test_nothing_big_enters_the_cache_of_runs(kind):
    saved = []
    big = SimpleNamespace(use_cache=False, is_metric=kind == "metric", is_plot=False)
    small = SimpleNamespace(use_cache=True, is_metric=False, is_plot=False)
    cache = SimpleNamespace(stage_cache=SimpleNamespace(save=saved.append))
    ledger.keep_nothing_twice(cache)
    stage = SimpleNamespace(outs=[small, big])
    cache.stage_cache.save(stage)
    assert saved == ([stage] if kind == "metric" else [])


STAGES = {
    "train": {"foreach": "${models}", "do": {"cmd": "any", "outs": ["${key}.bin"]}},
    "study": {"foreach": "${studies}", "do": {"cmd": "any", "deps": ["params.yaml"], "outs": ["${item}.md"]}},
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder that DVC knows, with two models and a study, all of them made."""
    monkeypatch.chdir(tmp_path)
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    declare(["a", "b"], ["one"])
    for name in ("a.bin", "b.bin", "one.md"):
        (tmp_path / name).write_text(name)
    return tmp_path


def declare(models, studies):
    with open("params.yaml", "w") as params, open("dvc.yaml", "w") as stages:
        yaml.safe_dump({"models": {key: {} for key in models}}, params)
        yaml.safe_dump({"vars": [{"models": {}, "studies": studies}], "stages": STAGES}, stages)


def commit():
    repo = Repo(".")
    with lock_repo(repo):
        ledger.commit(repo)
    return repo


def locked(project):
    return dvc_lock.stages((project / "dvc.lock").read_bytes())


def test_what_a_study_made_is_not_recorded_with_the_run(project):
    repo = commit()
    assert set(locked(project)) == {"train@a", "train@b"} and ledger.differing(repo) == ""
    repo.commit("study@one", force=True)  # as `dvc repro study@one` does
    before = locked(project)["study@one"]
    for name in ("a.bin", "one.md"):
        (project / name).write_text("other")
    assert ledger.differing(repo) == "train@a"
    assert ledger.differing(commit()) == "" and locked(project)["study@one"] == before
    assert "study@one" in repo.status()


def test_a_run_is_recorded_although_a_study_was_never_run(project):
    (project / "one.md").unlink()
    commit()
    assert set(locked(project)) == {"train@a", "train@b"}


def test_entries_of_stages_that_there_are_no_more_are_dropped(project):
    Repo(".").commit(force=True)
    assert set(locked(project)) == {"train@a", "train@b", "study@one"}
    declare(["a"], [])
    assert ledger.differing(commit()) == "" and set(locked(project)) == {"train@a"}
