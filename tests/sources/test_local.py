"""Raw zips from a folder: copied or packed, whole or not at all, and one clear error for whatever a user can meet."""

import errno
import os
import re
import shutil
import socket
import zipfile
from contextlib import chdir
from pathlib import Path

import pytest

from builders.split import GAMES, content_of, digest, members_of, png, split_folder, split_zip
from builders.zips import Part, write_parts
from reid.core.checksums import read_sums, sum_file
from reid.core.errors import ReidError
from reid.sources.checks import check_zip
from reid.sources.local import from_local

PNG = png(20, 10, 0)
DEEP = f"query/{GAMES[0]}/0"  # a folder of split_folder that holds images


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
@pytest.mark.parametrize("below", ["", "reid", "soccernetv3/reid"])
def test_local_zip_and_tree_hold_the_same(tmp_path, split, below):
    own = split_zip(tmp_path / "zips" / below / f"{split}.zip", split)
    split_folder(tmp_path / "trees" / below, split)
    a, b = tmp_path / "out/a.zip", tmp_path / "out/b.zip"
    first = from_local(split, a, tmp_path / "zips", pin=digest(own))
    second = from_local(split, b, tmp_path / "trees")
    assert content_of(a) == content_of(b) == members_of(split)
    assert a.read_bytes() == own.read_bytes() and not a.samefile(own)
    assert first["images"] == second["images"] and second["sha256"] == digest(b)
    assert first == {**check_zip(a, split), "source": "local"}
    assert second == {**check_zip(b, split), "source": "local"}
    assert sorted(os.listdir(a.parent)) == [".a.zip.sums", ".b.zip.sums", "a.zip", "b.zip"]
    assert read_sums(a) == sum_file(a) and read_sums(b) == sum_file(b)


def test_zip_goes_before_folder_and_labels_beside_it_stay(tmp_path):
    folder = split_folder(tmp_path / "in", "challenge")
    split_zip(folder / "challenge.zip", "challenge", {f"challenge/{r}/0-0-1x1.png": PNG for r in ("query", "gallery")})
    (folder / "challenge_bbox_info.json").write_text("hidden")
    assert from_local("challenge", tmp_path / "out/c.zip", folder)["images"] == 2
    assert sorted(os.listdir(tmp_path / "out")) == [".c.zip.sums", "c.zip"]


def test_tree_in_any_order_gives_the_same_bytes(tmp_path, monkeypatch):
    split_folder(tmp_path / "a")
    split_folder(tmp_path / "b", order=-1)
    one = from_local("valid", tmp_path / "out/1.zip", tmp_path / "a")
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: reversed(sorted(scandir(path), key=lambda entry: entry.name)))
    assert from_local("valid", tmp_path / "out/2.zip", tmp_path / "b") == one


def test_decomposed_names_give_the_same_bytes(tmp_path):
    for folder, letter in (("a", "\u00e9"), ("b", "e\u0301")):
        for role in ("query", "gallery"):
            (tmp_path / folder / "valid" / role / f"a/b/Atl{letter}tico/0").mkdir(parents=True)
            (tmp_path / folder / "valid" / role / f"a/b/Atl{letter}tico/0/0-0-20x10.png").write_bytes(PNG)
    receipts = [from_local("valid", tmp_path / f"out/{f}.zip", tmp_path / f) for f in "ab"]
    assert receipts[0] == receipts[1]


def test_what_is_no_data_is_passed_over_and_counted(tmp_path, caplog):
    caplog.set_level("INFO", "reid")
    folder = split_folder(tmp_path / "in", "challenge")
    (folder / "challenge/__MACOSX").mkdir()
    names = (".DS_Store", "query/Thumbs.db", "query/._0-0-20x10.png", "challenge_bbox_info.json", "bbox_info.json")
    for name in (*names, "__MACOSX/a.png"):
        (folder / "challenge" / name).write_text("x")
    from_local("challenge", tmp_path / "out/c.zip", folder)
    assert content_of(tmp_path / "out/c.zip") == members_of("challenge")
    assert "passed over 6 files or folders" in caplog.text


def test_labels_of_either_name(tmp_path):
    folder = split_folder(tmp_path / "in", "test")
    (folder / "test/bbox_info.json").rename(folder / "test/test_bbox_info.json")
    from_local("test", tmp_path / "out/t.zip", folder)
    assert content_of(tmp_path / "out/t.zip")["test/test_bbox_info.json"] == members_of("test")["test/bbox_info.json"]


def local_fails(tmp_path, folder, match, split="valid", **arguments):
    with pytest.raises(ReidError, match=match) as caught:
        from_local(split, tmp_path / "out" / f"{split}.zip", folder, **arguments)
    assert not (tmp_path / "out").exists() or not os.listdir(tmp_path / "out")
    return str(caught.value)


def test_local_folder_errors(tmp_path):
    local_fails(tmp_path, None, "download.path is not set")
    local_fails(tmp_path, tmp_path / "none", f"{tmp_path}/none: there is no such folder")
    split_zip(tmp_path / "in/reid/train.zip", "train")
    split_folder(tmp_path / "in", "test")
    message = local_fails(tmp_path, tmp_path / "in", f"{tmp_path}/in: holds no valid split")
    assert "valid.zip" in message and "there are train, test" in message
    (tmp_path / "empty").mkdir()
    assert "none" in local_fails(tmp_path, tmp_path / "empty", "holds no valid split")


@pytest.mark.parametrize("split", ["test_labels", "challenge_labels", "Train", ""])
def test_unknown_splits_are_refused(tmp_path, split):
    with pytest.raises(ReidError, match="is not a split"):
        from_local(split, tmp_path / "a.zip", tmp_path)


def test_folder_of_the_pipeline_itself_is_refused(tmp_path):
    own = split_zip(tmp_path / "raw/valid.zip")
    with pytest.raises(ReidError, match="deleted before a rerun"):
        from_local("valid", own, tmp_path / "raw")
    assert own.exists()


def test_local_zip_errors(tmp_path):
    own = split_zip(tmp_path / "in/valid.zip")
    message = local_fails(tmp_path, tmp_path / "in", "correct download.sha256", pin="0" * 64)
    assert str(own) in message
    os.truncate(own, own.stat().st_size - 30)
    local_fails(tmp_path, tmp_path / "in", f"{own}: is not a complete zip")
    own.unlink()
    split_zip(own, "train")
    local_fails(tmp_path, tmp_path / "in", f"{own}: is not the valid split")


def test_tree_errors(tmp_path):
    folder = split_folder(tmp_path / "in")
    message = local_fails(tmp_path, folder, "correct download.sha256", pin="0" * 64)
    assert "packed from" in message and str(folder) in message
    (folder / "valid" / DEEP / "9-9-20x10.png").symlink_to(tmp_path / "gone.png")
    local_fails(tmp_path, folder, "9-9-20x10.png: is a link to nothing, not a file")
    (folder / "valid" / DEEP / "9-9-20x10.png").unlink()
    shutil.rmtree(folder / "valid/gallery")
    local_fails(tmp_path, folder, "valid: holds no image for gallery")


@pytest.mark.parametrize("split", ["train", "valid", "challenge"])
def test_a_folder_one_level_too_deep_is_refused_before_it_is_packed(tmp_path, split):
    """As `unzip -d train train.zip` leaves it."""
    folder = split_folder(tmp_path / "in" / split, split)
    message = local_fails(tmp_path, tmp_path / "in", f"{folder}: is not the {split} split", split)
    assert message.endswith(f"It holds another {split}/: set download.path in params.yaml to {folder}")
    assert from_local(split, tmp_path / "out/a.zip", folder)["images"] == 10


def test_link_loops(tmp_path):
    folder = split_folder(tmp_path / "in")
    (folder / "valid/query/again").symlink_to(folder / "valid")
    local_fails(tmp_path, folder, "query/again: is a link that leads back")
    (folder / "valid/query/again").unlink()
    (folder / "valid/query/self").symlink_to(folder / "valid/query/self")
    local_fails(tmp_path, folder, "query/self: cannot be read")


def test_linked_tree_and_relative_and_home_folders(tmp_path, monkeypatch):
    split_folder(tmp_path / "far")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/valid").symlink_to(tmp_path / "far/valid")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    one = from_local("valid", tmp_path / "out/1.zip", "in")
    assert from_local("valid", tmp_path / "out/2.zip", "~/in") == one


# ---- what is no file, or not where it seems


def special(kind, path):
    """Make something at ``path`` that is no regular file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as server, chdir(path.parent):  # a socket's path is short
            server.bind(path.name)
    elif kind == "a directory":
        path.mkdir()
    else:
        path.symlink_to("nowhere")


SPECIAL = ("a named pipe", "a device", "a socket", "a directory", "a link to nothing")


@pytest.mark.parametrize("kind", [kind for kind in SPECIAL if kind != "a directory"])
@pytest.mark.parametrize(
    "name", [f"{DEEP}/9-9-20x10.png", "bbox_info.json", "gallery/a/b/c/0/0-0-0-0-Main_referee-7-a-2x1.png"]
)
def test_special_file_in_a_tree_is_refused_and_never_read(tmp_path, kind, name):
    folder = split_folder(tmp_path / "in")
    (folder / "valid" / name).unlink(missing_ok=True)
    special(kind, folder / "valid" / name)
    local_fails(tmp_path, folder, f"{re.escape(name)}: is {kind}, not a file")


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_file_in_the_place_of_the_zip(tmp_path, kind):
    """And the folder beside it is not taken in its stead."""
    folder = split_folder(tmp_path / "in")
    special(kind, folder / "valid.zip")
    local_fails(tmp_path, folder, f"valid.zip: is {kind}, not a file")


@pytest.mark.parametrize("kind", [kind for kind in SPECIAL if kind != "a directory"])
def test_special_file_in_the_place_of_the_folder(tmp_path, kind):
    (tmp_path / "in").mkdir()
    special(kind, tmp_path / "in/valid")
    local_fails(tmp_path, tmp_path / "in", f"in/valid: is {kind}, not a folder")
    local_fails(tmp_path, tmp_path / "in/valid", f"in/valid: is {kind}, not a folder; correct download.path")


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_file_that_is_no_data_does_not_matter(tmp_path, kind):
    folder = split_folder(tmp_path / "in")
    special(kind, folder / "valid/query/notes")
    assert from_local("valid", tmp_path / "out/v.zip", folder)["images"] == 10


def test_folder_that_is_named_like_an_image_is_refused(tmp_path):
    folder = split_folder(tmp_path / "in")
    (folder / "valid/query/9-9-20x10.png").mkdir()
    local_fails(tmp_path, folder, "a folder that is named like an image.: valid/query/9-9-20x10.png/")


@pytest.mark.parametrize("whole", [False, True], ids=["a file", "a folder"])
def test_links_out_of_the_tree_are_followed_and_told(tmp_path, whole, caplog):
    folder = split_folder(tmp_path / "in")
    before = from_local("valid", tmp_path / "out/1.zip", folder)
    moved = folder / "valid/query" if whole else next(folder.glob("valid/query/*/*/*/*/*.png"))
    moved.rename(tmp_path / "elsewhere")
    moved.symlink_to(tmp_path / "elsewhere")
    (folder / "valid/notes.txt").symlink_to("/etc/hostname")  # is not packed
    caplog.clear()
    assert from_local("valid", tmp_path / "out/2.zip", folder) == before
    assert f"1 of what is packed lies elsewhere, behind links: {moved} leads to {tmp_path}/elsewhere" in caplog.text


def test_links_inside_the_tree_are_no_news(tmp_path, caplog):
    folder = split_folder(tmp_path / "in")
    (folder / "valid/query").rename(folder / "valid/.q")
    (folder / "valid/query").symlink_to(".q")
    assert from_local("valid", tmp_path / "out/v.zip", folder)["images"] == 10
    assert "behind links" not in caplog.text and "hidden" in caplog.text


def test_names_that_are_one_name_in_two_spellings_are_refused(tmp_path):
    folder = split_folder(tmp_path / "in")
    for letter in ("\u00e9", "e\u0301"):
        (folder / f"valid/query/Atl{letter}tico").mkdir()
    local_fails(tmp_path, folder, "spelt in another way; remove one of them")


@pytest.mark.parametrize("split", ["train", "valid", "challenge"])
@pytest.mark.parametrize(
    "end, reason", [(".jpg", "the name ends in .jpg, and .png is wanted"), (".png ", "the name ends in '.png '")]
)
def test_thumbnails_of_a_tree_that_cannot_be_used_are_an_error(tmp_path, split, end, reason):
    folder = split_folder(tmp_path / "in", split)
    for path in sorted(folder.rglob("*.png"))[:3]:
        path.rename(path.with_name(path.stem + end))
    local_fails(tmp_path, folder, rf"1 problem\n  - 3 files \({reason}", split)


def test_hidden_thumbnails_of_a_tree_are_a_warning(tmp_path, caplog):
    folder = split_folder(tmp_path / "in")
    shutil.copytree(folder / "valid/query", folder / "valid/.query")
    assert from_local("valid", tmp_path / "out/v.zip", folder)["images"] == 10
    assert content_of(tmp_path / "out/v.zip") == members_of("valid")
    assert "4 files (hidden, for a name in the path begins with a dot; not used): valid/.query/" in caplog.text


# ---- bounds


@pytest.mark.parametrize("name", [f"{DEEP}/9-9-20x10.png", "bbox_info.json"])
@pytest.mark.parametrize("size", [60_000_000, 10**12])
def test_huge_file_of_a_tree_is_refused_before_it_is_read(tmp_path, name, size):
    folder = split_folder(tmp_path / "in")
    (folder / "valid" / name).touch()
    os.truncate(folder / "valid" / name, size)  # sparse
    local_fails(tmp_path, folder, rf"{re.escape(name)}: has {size:,} bytes, and ")


def test_tree_of_endless_folders(tmp_path):
    folder = split_folder(tmp_path / "in")
    deep = folder / "valid/query" / "/".join("a" * 60)
    deep.mkdir(parents=True)
    local_fails(tmp_path, folder, "lies more than 32 folders deep")


def test_tree_of_too_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr("reid.raw.tree.MOST_MEMBERS", 12)
    local_fails(tmp_path, split_folder(tmp_path / "in"), "holds more than 12 files")


def test_local_zip_that_does_not_list_all(tmp_path):
    parts = [Part(name, content) for name, content in members_of("valid").items()]
    parts[0].listed = False
    (tmp_path / "in").mkdir()
    write_parts(tmp_path / "in/valid.zip", parts)
    local_fails(tmp_path, tmp_path / "in", "its directory lists 10 members, and there are more in the file")


def test_home_folder_of_nobody(tmp_path):
    local_fails(tmp_path, "~nobody-of-this-name/x", "~nobody-of-this-name/x: .*correct download.path")


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX systems only")
def test_name_that_is_not_utf8(tmp_path):
    folder = split_folder(tmp_path / "in")
    try:
        Path(os.fsdecode(os.fsencode(folder / "valid" / DEEP) + b"/Atl\xe9tico.png")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    local_fails(tmp_path, folder, "is not UTF-8")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every file")
def test_unreadable_files(tmp_path):
    own = split_zip(tmp_path / "in/valid.zip")
    own.chmod(0)
    local_fails(tmp_path, tmp_path / "in", f"{own}: cannot be read or written .Permission denied")


def test_full_disk_while_copying_and_packing(tmp_path, monkeypatch):
    split_folder(tmp_path / "trees")
    split_zip(tmp_path / "zips/valid.zip")

    def fsync(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    for folder in ("trees", "zips"):
        local_fails(tmp_path, tmp_path / folder, "the disk is full")


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
def test_sample_from_zip_and_from_tree(tmp_path, pku, split):
    receipt = from_local(split, tmp_path / "out/a.zip", pku)
    assert receipt["sha256"] == digest(pku / f"{split}.zip")
    with zipfile.ZipFile(pku / f"{split}.zip") as archive:
        archive.extractall(tmp_path / "tree")
    again = from_local(split, tmp_path / "out/b.zip", tmp_path / "tree")
    assert again["images"] == receipt["images"]
    expected = content_of(pku / f"{split}.zip")
    if split == "challenge":
        expected.pop("challenge/bbox_info.json", None)
    assert content_of(tmp_path / "out/b.zip") == expected
