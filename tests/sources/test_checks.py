"""The check of a raw zip: whole, of the split that it should be, and pinned."""

import os
import re

import pytest

from builders.split import TinySplit, digest, members_of, split_zip
from builders.zips import Part, write_parts
from reid.core.errors import ReidError
from reid.data.index import build_index
from reid.sources.checks import check_zip


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
def test_receipt(tmp_path, split):
    path = split_zip(tmp_path / "a.zip", split)
    assert check_zip(path, split, pin=digest(path)) == {
        "split": split,
        "sha256": digest(path),
        "bytes": path.stat().st_size,
        "images": sum(name.endswith(".png") for name in members_of(split)),
    }


@pytest.mark.parametrize("split", ["train", "valid", "challenge"])
def test_leading_folder_may_be_missing_and_system_files_do_not_count(tmp_path, split):
    content = {name.removeprefix(f"{split}/"): data for name, data in members_of(split).items()}
    images = sum(name.endswith(".png") for name in content)
    content |= {f"__MACOSX/{split}/._a.png": b"", ".DS_Store": b"", f"{split}/query/.DS_Store": b""}
    assert check_zip(split_zip(tmp_path / "a.zip", content=content), split)["images"] == images


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
@pytest.mark.parametrize("other", ["train", "valid", "test", "challenge"])
def test_zip_of_another_split_is_refused(tmp_path, split, other):
    if split != other:
        with pytest.raises(ReidError, match=f"a.zip: is not the {split} split"):
            check_zip(split_zip(tmp_path / "a.zip", other), split)


@pytest.mark.parametrize("split", ["train", "valid", "challenge"])
@pytest.mark.parametrize(
    "change",
    [
        lambda name, split: f"{split}/{name}",
        lambda name, split: name.replace(f"{split}/", f"{split}/a/"),
        lambda name, split: name[: name.rindex("/")] + "/a" + name[name.rindex("/") :],
    ],
    ids=["its own folder twice", "a folder above", "a folder below"],
)
def test_images_of_another_depth_are_refused_as_the_index_refuses_them(tmp_path, split, change):
    content = {change(name, split): data for name, data in members_of(split).items()}
    path = split_zip(tmp_path / "a.zip", content=content)
    for check in (check_zip, build_index):
        with pytest.raises(ReidError, match="folders deep|is not below|is no championship"):
            check(path, split)


def test_role_without_images(tmp_path):
    content = {name: data for name, data in members_of("valid").items() if "/gallery/" not in name}
    with pytest.raises(ReidError, match="a.zip: holds no image for gallery"):
        check_zip(split_zip(tmp_path / "a.zip", content=content), "valid")


def test_wrong_pin_names_both(tmp_path):
    path = split_zip(tmp_path / "a.zip")
    with pytest.raises(ReidError, match="correct download.sha256") as caught:
        check_zip(path, "valid", pin="0" * 64)
    assert digest(path) in str(caught.value) and "0" * 64 in str(caught.value) and str(path) in str(caught.value)


def test_every_cut_at_the_end_is_found(tmp_path):
    whole = split_zip(tmp_path / "whole.zip").read_bytes()
    path = tmp_path / "a.zip"
    for size in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ReidError, match="a.zip: is not a complete zip"):
            check_zip(path, "valid")


@pytest.mark.parametrize("patch", ["removed", "inserted", "zeroed"])
def test_patch_in_the_middle_is_found(tmp_path, patch):
    path = split_zip(tmp_path / "a.zip")
    data = path.read_bytes()
    middle = len(data) // 3
    filling = {"removed": b"", "inserted": data[middle : middle + 900] * 2, "zeroed": bytes(900)}[patch]
    path.write_bytes(data[:middle] + filling + data[middle + 900 :])
    with pytest.raises(ReidError, match="a.zip: is not a complete zip .* fetch it again"):
        check_zip(path, "valid")


def test_encrypted_zip_is_refused(tmp_path):
    path = split_zip(tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag "encrypted" of the first entry of the directory
    path.write_bytes(data)
    with pytest.raises(ReidError, match=r"a.zip: cannot be used: 1 problem\n  - valid/query/.*\.png: is encrypted"):
        check_zip(path, "valid")


def refused(path, split, match):
    with pytest.raises(ReidError, match=match) as caught:
        check_zip(path, split)
    assert str(caught.value).startswith(str(path))


def test_only_a_regular_file_is_read(tmp_path):
    refused(tmp_path / "none.zip", "valid", "none.zip: there is no such file")
    refused(tmp_path, "valid", "is a directory, not a file")
    os.mkfifo(tmp_path / "pipe.zip")
    refused(tmp_path / "pipe.zip", "valid", "is a named pipe, not a file")
    (tmp_path / "zero.zip").symlink_to("/dev/zero")
    refused(tmp_path / "zero.zip", "valid", "is a device, not a file")


@pytest.mark.parametrize(
    "content, what",
    [
        (b"<html>Access to this dataset is restricted", r"a web page \(HTML\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b'{"error": "gated"}', "JSON"),
        (bytes(100_000), "zeros"),
        (b"", "empty"),
    ],
)
def test_what_is_no_zip_is_named(tmp_path, content, what):
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path / "a.zip", "valid", f"a.zip: is not a complete zip .*; it is {what}")


# ---- the same words as in the index: both look at paths with the same eyes


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
@pytest.mark.parametrize("spell", [lambda n: f"./{n}", lambda n: n.replace("/", "\\"), lambda n: f"/{n}"])
@pytest.mark.parametrize("leading", [True, False])
def test_zip_of_another_packer_is_taken(tmp_path, split, spell, leading):
    members = TinySplit(split).members(leading)
    path = split_zip(tmp_path / "a.zip", content={spell(name): content for name, content in members.items()})
    assert check_zip(path, split)["images"] == len(build_index(path, split)[0]) == 10


@pytest.mark.parametrize("options", [{"zip64": True}, {"comment": b"of some packer"}, {"before": b"#!/bin/sh\n" * 9}])
@pytest.mark.parametrize("method", [0, 8])
def test_unusual_zip_is_taken(tmp_path, options, method):
    parts = [Part(name, content, method) for name, content in members_of("valid").items()]
    path = write_parts(tmp_path / "a.zip", parts, **options)
    assert check_zip(path, "valid")["images"] == len(build_index(path, "valid")[0]) == 10


@pytest.mark.parametrize("split", ["train", "valid", "challenge"])
@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda name: name.replace(".png", ".jpg"), "the name ends in .jpg, and .png is wanted"),
        (lambda name: f"{name} ", "the name ends in '.png ', and .png is wanted"),
        (lambda name: f"../{name}", "'..' in the path leads out of its folder"),
        (lambda name: f"{name}/", "a folder that is named like an image"),
    ],
)
def test_what_looks_like_a_thumbnail_and_cannot_be_used_is_refused(tmp_path, split, change, reason):
    members = members_of(split)
    names = [name for name in members if name.endswith(".png")]
    content = members | {change(name): members.pop(name) for name in names[:2]}
    path = split_zip(tmp_path / "a.zip", content=content)
    refused(
        path, split, rf"holds what looks like a thumbnail and cannot be used: 1 problem\n  - 2 files \({reason}\): "
    )
    with pytest.raises(ReidError, match=rf"2 files \({reason}\): "):
        build_index(path, split)


def test_sixty_five_jpg_are_told_in_one_line(tmp_path):
    content = {f"valid/gallery/a/b/c/0/{i}-0-0-0-Main_referee-7-a-20x9.jpg": b"\xff\xd8\xff" for i in range(65)}
    path = split_zip(tmp_path / "a.zip", content=content)
    refused(path, "valid", r"65 files \(the name ends in .jpg, and .png is wanted\): .* and 62 more")


def test_hidden_thumbnails_are_a_warning(tmp_path, caplog):
    content = members_of("valid") | {f"valid/.folder/{i}-1-20x9.png": b"" for i in range(4)}
    path = split_zip(tmp_path / "a.zip", content=content)
    assert check_zip(path, "valid")["images"] == 10
    assert f"{path}: 4 files (hidden, for a name in the path begins with a dot; not used)" in caplog.text


def test_zip_of_other_files_says_what_it_holds(tmp_path):
    path = split_zip(tmp_path / "a.zip", content={"a.txt": b"", "b.txt": b"", "c.csv": b""})
    refused(
        path, "valid", r"holds no image for query and gallery .*holds 2 other files \(.txt\), 1 other files \(.csv\)"
    )


# ---- bounds


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("size", [10**9, 2**40, 2**63])
def test_member_of_a_terabyte_is_refused(tmp_path, split, method, size):
    parts = [Part(name, content, method) for name, content in members_of(split).items()]
    parts[1].size = size
    refused(
        write_parts(tmp_path / "a.zip", parts), split, rf"cannot be used: 1 problem\n.*{size:,}.*the zip is damaged"
    )


@pytest.mark.parametrize("name", ["valid/bbox_info.json", None])
def test_bomb_is_refused_by_its_size(tmp_path, name):
    """Sizes that can be: a megabyte that truly unpacks to a gigabyte (here to 60 MB)."""
    members = members_of("valid")
    members[name or next(iter(members))] = bytes(60_000_000)
    parts = [Part(own, content, 8) for own, content in members.items()]
    refused(write_parts(tmp_path / "a.zip", parts), "valid", "cannot be used: 1 problem\n.*has 60,000,000 bytes, and ")


@pytest.mark.parametrize("lost", [0, 5, 10])
def test_directory_that_lists_all_but_one_is_refused(tmp_path, lost):
    parts = [Part(name, content) for name, content in members_of("valid").items()]
    parts[lost].listed = False
    path = write_parts(tmp_path / "a.zip", parts)
    refused(
        path, "valid", f"its directory lists 10 members, and there are more .*{re.escape(parts[lost].name.decode())}"
    )
