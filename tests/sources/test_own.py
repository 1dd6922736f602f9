"""A folder per identity becomes splits that the index takes, with the pixels that the images have."""

import errno
import io
import zipfile
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from builders.split import png
from reid.core.errors import ReidError
from reid.data.index import build_index
from reid.raw.archive import write_members
from reid.raw.filenames import parse_name
from reid.sources.checks import check_zip
from reid.sources.own import own_dataset


def jpeg(height, width, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def put(folder, name, content):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def crops(folder, counts, below=""):
    """So many images of each identity, alternately JPEG and PNG."""
    for number, count in enumerate(counts):
        for i in range(count):
            make, ending = ((jpeg, "jpg"), (png, "png"))[i % 2]
            put(folder, f"{below}person {number:02}/{i}.{ending}", make(20 + i, 10 + number, 100 * number + i))


def boxes(path):
    """Of each image in a zip: role, what its name says, its pixels."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            pixels = np.array(Image.open(io.BytesIO(archive.read(name))))
            yield name.split("/")[1], parse_name(name.rsplit("/", 1)[1]), pixels


def run(tmp_path, **more):
    return own_dataset(tmp_path / "in", tmp_path / "out", progress=False, **more)


def test_every_fifth_identity_is_for_validation_and_pixels_are_kept(tmp_path):
    crops(tmp_path / "in", [3] * 10)
    made = run(tmp_path, per_action=4)
    assert made == {"train": (24, 8, 2), "valid": (6, 2, 1)}
    for split, (images, *_) in made.items():
        assert check_zip(tmp_path / f"out/{split}.zip", split, progress=False)["images"] == images
    found = list(boxes(tmp_path / "out/valid.zip"))
    originals = {
        (int(path.parent.name[-2:]), int(path.stem)): np.array(Image.open(path))
        for path in (tmp_path / "in").rglob("*/*.*")
    }
    for role, box, pixels in found:
        person = (4, 9)[box.person_uid]
        assert role == ("query" if box.frame_idx == 0 else "gallery")
        assert pixels.shape == (box.height, box.width, 3) == (20 + box.frame_idx, 10 + person, 3)
        np.testing.assert_array_equal(pixels, originals[person, box.frame_idx])


def test_given_splits_and_identities_of_one_image_that_are_no_query(tmp_path):
    crops(tmp_path / "in", [2, 2, 2, 2], "train/")
    crops(tmp_path / "in", [2, 1, 3, 2, 1, 1], "test/")
    assert run(tmp_path, per_action=2) == {"train": (8, 4, 2), "test": (10, 6, 2)}
    galleries, queries = defaultdict(set), {}
    for role, box, _ in boxes(tmp_path / "out/test.zip"):
        if role == "query":
            queries[box.person_uid] = box.action_idx
        else:
            galleries[box.action_idx].add(box.person_uid)
    assert sorted(queries) == [0, 2, 3]
    for person, action in queries.items():  # each has a true match in its own action, and others beside it
        assert person in galleries[action]
        assert len(galleries[action]) > 1
    assert set.union(*galleries.values()) == set(range(6))


@pytest.mark.parametrize("several, single", [(11, 0), (3, 1), (7, 4), (2, 0), (13, 2)])
def test_no_query_is_alone_with_its_own_matches(tmp_path, several, single):
    crops(tmp_path / "in", [2] * several + [1] * single, "test/")
    run(tmp_path, per_action=4)
    galleries = defaultdict(set)
    for role, box, _ in boxes(tmp_path / "out/test.zip"):
        if role == "gallery":
            galleries[box.action_idx].add(box.person_uid)
    sizes = [len(people) for people in galleries.values()]
    assert min(sizes) > 1 and max(sizes) - min(sizes) < 2 and sum(sizes) == several + single


def test_too_few_identities_to_be_mistaken_for_each_other_are_refused(tmp_path):
    for count, problem in ((4, "has 4 identities, too few for valid"), (9, "valid: has one identity, and nobody")):
        crops(tmp_path / f"in {count}", [2] * count)
        with pytest.raises(ReidError, match=problem):
            own_dataset(tmp_path / f"in {count}", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_the_same_folder_gives_the_same_bytes(tmp_path):
    crops(tmp_path / "in", [2] * 10)
    run(tmp_path)
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    run(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_jpegs_with_the_names_of_the_real_data_keep_them(tmp_path):
    rows = {
        f"valid/{role}/a/b/c/7/{i}-7-3-0-Main_referee-None-x-20x10": i for role in ("query", "gallery") for i in (0,)
    }
    for name, seed in rows.items():
        put(tmp_path / "in", f"{name}.jpg", jpeg(20, 10, seed))
    put(tmp_path / "in", "valid/bbox_info.json", b"{}")
    assert run(tmp_path) == {"valid": (2, 1, 1)}
    with zipfile.ZipFile(tmp_path / "out/valid.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"{name}.png" for name in rows)
    put(tmp_path / "in", "valid/query/a/b/c/7/9-7-3-0-Main_referee-None-x-20x11.jpg", jpeg(20, 10, 1))
    with pytest.raises(ReidError, match=r"20x11\.jpg: it is 20x10, but its name says 20x11"):
        run(tmp_path)


def kept(name, action=7, person=3, role="gallery", ending="png"):
    return f"valid/{role}/a/b/c/{action}/{name}-{action}-{person}-0-Main_referee-None-x-20x10.{ending}"


@pytest.mark.parametrize(
    "names, problem",
    [
        ([kept(0, ending="jpg")], r"0-7-.*\.png: bbox_idx 0 is already that of .*0-7-.*\.jpg"),
        ([kept(0, person=4)], "bbox_idx 0 is already that of"),
        ([kept(1, action=8)], "person 3 is already in action 7"),
        ([kept(1, role="query", person=4)], "person 4 has no match in the gallery"),
        (["valid/gallery/1-7-20x10.png"], "1-7-20x10.png: .*lies 0 folders deep"),
        (["train/a/b/c/7/1-7-20x10.png"], "1-7-20x10.png: has no labels in its name"),
        (["test/query/a/b/c/7/0-7-3-0-Main_referee-None-x-20x10.png"], "test/gallery: there is no thumbnail"),
    ],
)
def test_names_whose_zip_the_index_would_refuse_are_refused_before_anything_is_written(tmp_path, names, problem):
    for name in [kept(0), kept(0, role="query"), *names]:
        put(tmp_path / "in", name, jpeg(20, 10, 1) if name.endswith("jpg") else png(20, 10, 1))
    with pytest.raises(ReidError, match=f"images that cannot be used: .*\n  - .*{problem}"):
        run(tmp_path)
    assert not (tmp_path / "out").exists()


def test_side_that_no_name_can_say_is_refused(tmp_path):
    crops(tmp_path / "in", [2] * 10)
    put(tmp_path / "in", "person 00/9.png", png(1, 100_000, 1))
    with pytest.raises(ReidError, match=r"1 problem\n.*00/9\.png: it is 1x100000 .*, and a side has 99,999 pixels"):
        run(tmp_path)
    assert not (tmp_path / "out").exists()
    put(tmp_path / "in", "person 00/9.png", png(1, 99_999, 1))
    run(tmp_path)
    assert len(build_index(tmp_path / "out/train.zip", "train")[0]) == 17


@pytest.mark.parametrize("name", ["a.jpg", "train/x/y/a.jpg", "train/a.jpg", "x/y/z/a.jpg"])
def test_another_layout_is_refused_with_the_one_that_is_wanted(name, tmp_path):
    put(tmp_path / "in", name, jpeg(20, 10, 1))
    with pytest.raises(ReidError, match=rf"wanted is FOLDER/IDENTITY/IMAGE\.jpg.*, and {name} is none of that"):
        run(tmp_path)


def test_broken_images_are_named_together_and_nothing_is_written(tmp_path):
    crops(tmp_path / "in", [2] * 10)
    put(tmp_path / "in", "person 00/9.jpg", b"\xff\xd8\xff half")
    put(tmp_path / "in", "person 01/9.png", png(20, 10, 1)[:-30])
    with pytest.raises(ReidError, match=r"(?s)2 problems.*00/9\.jpg: it does not decode.*01/9\.png: it is cut short"):
        run(tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_split_without_pairs_and_an_empty_folder_are_refused(tmp_path):
    crops(tmp_path / "in", [2, 2, 2, 2, 1])
    with pytest.raises(ReidError, match="^valid: no identity has two images"):
        run(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReidError, match="and there is no image"):
        own_dataset(tmp_path / "empty", tmp_path / "out")


def test_a_name_of_two_lines_is_told_in_one(tmp_path):
    crops(tmp_path / "in", [2] * 10)
    put(tmp_path / "in", "person 00/a\nb.png", b"")
    with pytest.raises(ReidError, match=r"1 problem\n  - .*a\\nb\.png': [^\n]*$"):
        run(tmp_path)


@pytest.mark.parametrize(
    "left, named",
    [
        ("test.zip", "test.zip"),
        ("challenge.zip", "challenge.zip"),
        ("test/query/a.png", "test"),
        ("reid/test.zip", "reid/test.zip"),  # local data are looked for there too
    ],
)
def test_a_split_of_another_set_is_not_left_among_the_new_ones(tmp_path, left, named):
    crops(tmp_path / "in", [2] * 10)
    put(tmp_path / "out", left, b"another set")
    with pytest.raises(ReidError, match=f"out/{named}: is of another set.*with the new train, valid; remov"):
        run(tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [left.split("/")[0]]


def test_a_set_is_replaced_as_a_whole(tmp_path, monkeypatch):
    """Where the last zip fails, the first one is the earlier set's, too."""
    crops(tmp_path / "in", [2] * 10)
    run(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    crops(tmp_path / "in", [3] * 10)

    def full(path, members):
        if "valid" in path.name:
            raise OSError(errno.ENOSPC, "full")
        write_members(path, members)

    monkeypatch.setattr("reid.sources.own.write_members", full)
    with pytest.raises(ReidError, match="the disk is full"):
        run(tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
