"""What adopting takes for the same although it is missing, and what it puts in its place for a moment."""

from types import SimpleNamespace

import pytest

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
