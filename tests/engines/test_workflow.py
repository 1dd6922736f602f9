"""What the Snakefile does before its jobs."""

from reid.engines.workflow import forget_other_models


def test_embeddings_of_models_that_no_longer_are_go_and_those_behind_a_link_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = [tmp_path / "results/embeddings" / name for name in ("old", "new")] + [tmp_path / "mine"]
    for place in places:
        place.mkdir(parents=True)
        (place / "valid.npy").touch()
        (place / ".valid.npy.sums").touch()
    (tmp_path / "results/embeddings/linked").symlink_to(tmp_path / "mine")
    forget_other_models(["new"])
    assert not places[0].exists()
    assert (places[1] / ".valid.npy.sums").exists()
    assert (places[1] / "valid.npy").exists() and (tmp_path / "mine/valid.npy").exists()
