"""Which files of a folder are images, and in which order."""

import os

import pytest

from reid.core.errors import ReidError
from reid.raw.images import list_images


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_images_of_all_folders_are_listed_by_name_and_the_rest_is_counted(tmp_path):
    put(tmp_path / "in", "b/2.JPG", "b/10.jpeg", "a.png", "Z.PNG", "notes.txt", "b/labels.csv", "b/other.csv", "plain")
    put(tmp_path / "in", ".DS_Store", "__MACOSX/a.png", "._a.png")
    put(tmp_path / "away", "c.png")
    os.symlink(tmp_path / "away", tmp_path / "in/link")
    found = list_images(tmp_path / "in")
    assert found.names == ["Z.PNG", "a.png", "b/10.jpeg", "b/2.JPG", "link/c.png"]
    assert found.passed_over == {".txt": 1, ".csv": 2, "no ending": 1}


def test_what_cannot_be_listed_is_said(tmp_path):
    put(tmp_path, "a.png")
    with pytest.raises(ReidError, match=r"missing: there is no such folder"):
        list_images(tmp_path / "missing")
    with pytest.raises(ReidError, match=r"a\.png: is text, not a folder"):
        list_images(tmp_path / "a.png")
    os.symlink(tmp_path, tmp_path / "round")
    with pytest.raises(ReidError, match=r"round: is a link that leads back"):
        list_images(tmp_path)


def test_a_name_that_is_not_text_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    with pytest.raises(ReidError, match=r"udcff\.png' is not UTF-8; rename the file"):
        list_images(tmp_path)
