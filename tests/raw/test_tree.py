"""A folder is walked within bounds, whatever links and folders lie in it."""

import os

import pytest

from reid.core.errors import ReidError
from reid.engines.outside import _of_tree
from reid.raw.images import list_images
from reid.raw.tree import walk
from reid.sources.local import _list_tree

WALKERS = [lambda folder: list(walk(folder)), list_images, _of_tree, lambda folder: _list_tree(folder, "valid")]


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_every_file_and_folder_comes_once_and_clutter_is_not_looked_into(tmp_path):
    put(tmp_path / "in", "a.png", "b/c/d.png", "__MACOSX/e.png", "._a.png")
    put(tmp_path / "away", "f.png")
    os.symlink(tmp_path / "away", tmp_path / "in/link")
    os.symlink("nowhere", tmp_path / "in/gone")
    found = {name: (entry.path, entered) for name, entry, entered in walk(tmp_path / "in")}
    folders = {"b", "b/c", "link"}
    files = {"a.png", "b/c/d.png", "__MACOSX", "._a.png", "link/f.png", "gone"}
    assert found == {name: (f"{tmp_path}/in/{name}", name in folders) for name in folders | files}


def test_order_of_folders_is_that_of_their_files(tmp_path):
    put(tmp_path, "a/b/c.png")
    assert [name for name, _, _ in walk(tmp_path)] == ["a", "a/b", "a/b/c.png"]


@pytest.mark.parametrize("find", WALKERS)
def test_a_link_that_leads_back_is_named(tmp_path, find):
    put(tmp_path, "a/b.png")
    os.symlink(tmp_path, tmp_path / "a/round")
    with pytest.raises(ReidError, match="a/round: is a link that leads back to a folder above it; remove the link"):
        find(tmp_path)


@pytest.mark.parametrize("find", WALKERS)
def test_folders_that_lie_too_deep_are_refused(tmp_path, find):
    (tmp_path / "/".join("a" * 60)).mkdir(parents=True)
    with pytest.raises(ReidError, match="a: lies more than 32 folders deep"):
        find(tmp_path)


@pytest.mark.parametrize("find", WALKERS)
def test_folders_that_links_double_again_and_again_are_refused(tmp_path, find, monkeypatch):
    monkeypatch.setattr("reid.raw.tree.MOST_FOLDERS", 1000)
    for i in range(30):  # two to the power of thirty ways
        (tmp_path / f"away/{i}").mkdir(parents=True)
        for name in "ab":
            os.symlink(f"../{i + 1}", tmp_path / f"away/{i}/{name}")
    (tmp_path / "away/30").mkdir()
    (tmp_path / "in").symlink_to("away/0")
    with pytest.raises(ReidError, match="in: holds more than 1,000 folders, each as often as links lead to it"):
        find(tmp_path / "in")


@pytest.mark.parametrize("find", WALKERS)
def test_too_many_files_are_refused(tmp_path, find, monkeypatch):
    monkeypatch.setattr("reid.raw.tree.MOST_MEMBERS", 2)
    put(tmp_path, "a.png", "b/c.png")
    with pytest.raises(ReidError, match="holds more than 2 files"):
        find(tmp_path)
