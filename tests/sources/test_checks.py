"""The check of a raw zip: whole, of the split that it should be, and pinned."""

import pytest

from builders.split import digest, members_of, split_zip
from reid.core.errors import ReidError
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
    with pytest.raises(ReidError, match="a.zip: .* is encrypted"):
        check_zip(path, "valid")


def test_missing_file_and_folder_in_its_place(tmp_path):
    with pytest.raises(ReidError, match="none.zip: cannot be read"):
        check_zip(tmp_path / "none.zip", "valid")
    with pytest.raises(ReidError, match="cannot be read"):
        check_zip(tmp_path, "valid")
