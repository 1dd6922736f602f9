"""What a path is: one spelling, and nothing that looks like a thumbnail passes without a word."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.split import TinySplit
from reid.raw.members import normalise, shown, some, sort_paths

FOLDER = "valid/gallery/england_epl/2015-2016/2015-08-08 - 19-30 Bournemouth 0 - 1 Aston Villa/0"
STEM = "8-1-15-1-Player_team_left-8-u8r-20x10"
NAME = f"{STEM}.png"


def kinds(*paths, split="valid"):
    """What sort_paths says of paths, in a form that tells all kinds apart."""
    found = sort_paths(paths, split)
    return {
        "images": [paths[i] for i in found.images],
        "labels": [paths[i] for i in found.labels],
        "lost": found.lost,
        "aside": found.aside,
        "passed over": dict(found.passed_over),
    }


def only(kind, content):
    """The outcome that holds one kind alone."""
    return {"images": [], "labels": [], "lost": [], "aside": [], "passed over": {}} | {kind: content}


# ---- spelling


@pytest.mark.parametrize(
    "path, spelling",
    [
        ("a/b.png", "a/b.png"),
        ("./a/b.png", "a/b.png"),
        ("././a/b.png", "a/b.png"),
        ("a/./b.png", "a/b.png"),
        ("a//b.png", "a/b.png"),
        ("/a/b.png", "a/b.png"),
        ("//a/b.png", "a/b.png"),
        ("a\\b.png", "a/b.png"),
        (".\\a\\b.png", "a/b.png"),
        ("a\\.\\b/c.png", "a/b/c.png"),
        ("a/b/", "a/b/"),
        ("a/b/.", "a/b"),
        ("a/b//", "a/b/"),
        ("a\\b\\", "a/b/"),
        ("a/../b.png", "a/../b.png"),
        ("../a.png", "../a.png"),
        ("..\\a.png", "../a.png"),
        ("a/.b.png", "a/.b.png"),
        ("a./b..png", "a./b..png"),
        ("Atle\u0301tico/b.png", "Atlético/b.png"),
        (".\\Atle\u0301tico\\b.png", "Atlético/b.png"),
        ("", ""),
        (".", ""),
    ],
)
def test_one_spelling_for_each_path(path, spelling):
    assert normalise(path) == spelling


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab./\\é\u0301 "), max_size=12))
def test_spelling_is_one_and_the_same_file(path):
    """By a plain walk over the parts; and a second time changes nothing."""
    spelling = normalise(path)
    parts = [
        part for part in unicodedata.normalize("NFC", path).replace("\\", "/").split("/") if part not in ("", ".")
    ]
    assert spelling.rstrip("/") == "/".join(parts)
    assert normalise(spelling) == spelling and "\\" not in spelling and not spelling.startswith("./")


# ---- kinds


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
@pytest.mark.parametrize("leading", [True, False])
def test_members_of_a_split_are_images_and_labels(split, leading):
    paths = list(TinySplit(split).members(leading))
    found = sort_paths(paths, split)
    assert [paths[i] for i in found.images] == [path for path in paths if path.endswith(".png")]
    assert [paths[i] for i in found.labels] == [path for path in paths if path.endswith(".json")]
    assert not found.lost and not found.aside and not found.passed_over


@pytest.mark.parametrize(
    "end, shown_as",
    [
        (".jpg", ".jpg"),
        (".JPG", ".JPG"),
        (".jpeg", ".jpeg"),
        (".webp", ".webp"),
        (".tiff", ".tiff"),
        (".bmp", ".bmp"),
        (".avif", ".avif"),
        (".PNG", ".PNG"),
        (".Png", ".Png"),
        (".png ", "'.png '"),
        (".png.", ".png."),
        (".png\t", r"'.png\\t'"),
        (".png\n", r"'.png\\n'"),
        (".png\r", r"'.png\\r'"),
        (".png\0", r"'.png\\x00'"),
        (".png\u200b", r"'.png\\u200b'"),
        (".png\xa0", r"'.png\\xa0'"),
        (".png~", ".png~"),
        (".jpg ", "'.jpg '"),
    ],
)
def test_thumbnail_of_another_suffix_is_lost(end, shown_as):
    path = f"{FOLDER}/{STEM}{end}"
    line = f"1 file (the name ends in {shown_as}, and .png is wanted): {shown(path)}".replace("\\\\", "\\")
    assert kinds(path) == only("lost", [line])


@pytest.mark.parametrize("name", ["img_001.jpg", "photo.JPEG", "a.bmp", "x.png ", "x.PNG"])
def test_image_of_any_name_in_the_place_of_thumbnails_is_lost(name):
    assert kinds(f"{FOLDER}/{name}")["lost"] and kinds(f"gallery/{name}", split="challenge")["lost"]
    assert kinds(f"train/a/b/c/0/{name}", split="train")["lost"]


def test_lost_files_of_one_kind_are_one_line_with_their_number():
    paths = [f"{FOLDER}/{i}-1-15-1-Player_team_left-8-u8r-20x10.jpg" for i in range(65)]
    (line,) = kinds(*paths, f"{FOLDER}/{NAME}")["lost"]
    assert line.startswith("65 files (the name ends in .jpg, and .png is wanted): ")
    assert line.endswith(f"{paths[2]} and 62 more") and paths[0] in line and paths[3] not in line


@pytest.mark.parametrize(
    "path",
    [
        f"../{NAME}",
        f"../{FOLDER}/{NAME}",
        f"valid/gallery/../{FOLDER}/{NAME}",
        f"{FOLDER}/../{NAME}",
        f"../{STEM}.jpg",
        f"../{STEM}",
        "../valid/bbox_info.json",
        "valid/../bbox_info.json",
    ],
)
def test_path_that_leads_out_of_its_folder_is_lost(path):
    assert kinds(path) == only("lost", [f"1 file ('..' in the path leads out of its folder): {path}"])


@pytest.mark.parametrize("path", [f"{FOLDER}/{NAME}/", f"{FOLDER}/x.png/", f"{FOLDER}/{STEM}.jpg/", "x.png/"])
def test_folder_that_is_named_like_an_image_is_lost(path):
    assert kinds(path) == only("lost", [f"1 file (a folder that is named like an image): {path}"])


@pytest.mark.parametrize(
    "path",
    [
        f".folder/{NAME}",
        f"valid/.folder/{NAME}",
        f"{FOLDER}/.{NAME}",
        f"{FOLDER}/.hidden/x.png",
        f".Trash-1000/files/{NAME}",
        f"{FOLDER}/.{STEM}.jpg",
        f"{FOLDER}/.{NAME}.swp",
    ],
)
def test_hidden_thumbnail_is_set_aside(path):
    line = f"1 file (hidden, for a name in the path begins with a dot; not used): {path}"
    assert kinds(path) == only("aside", [line])


@pytest.mark.parametrize("end", ["", ".", ".part", ".png.part", ".png.gz", ".png.crdownload", ".txt", ".json", "(1)"])
def test_file_with_the_name_of_a_thumbnail_is_set_aside(end):
    path = f"{FOLDER}/{STEM}{end}"
    line = f"1 file (named like a thumbnail, but without .png at the end; not used): {path}"
    assert kinds(path) == only("aside", [line])


@pytest.mark.parametrize("name", ["bbox_info.JSON", "bbox_info (1).json", "bbox_info.json.gz", "Bbox_info.json "])
def test_file_that_may_be_labels_is_set_aside(name):
    line = f"1 file (named like labels, but not bbox_info.json; not read): {shown(f'valid/{name}')}"
    assert kinds(f"valid/{name}") == only("aside", [line])


@pytest.mark.parametrize(
    "path",
    [
        "__MACOSX/valid/._a.png",
        f"__MACOSX/{FOLDER}/._{NAME}",
        f"__MACOSX/{FOLDER}/{NAME}",
        f"{FOLDER}/._{NAME}",
        f"{FOLDER}/@eaDir/{NAME}/SYNOPHOTO_THUMB_M.png",
        f"{FOLDER}/.DS_Store",
        "valid/Thumbs.db",
        "DESKTOP.INI",
        ".git/objects/ab/cd",
    ],
)
def test_clutter_is_counted(path):
    assert kinds(path) == only("passed over", {"clutter of file browsers and packers": 1})


def test_other_files_are_counted_by_suffix_and_folders_are_not():
    paths = [
        "a.txt",
        "valid/b.txt",
        "c.md",
        "LICENSE",
        "montage.jpg",
        ".hidden/x",
        ".env",
        "valid/",
        "valid/.x/",
        "../a",
    ]
    counts = {"other files (.txt)": 2, "other files (.md)": 1, "other files (no suffix)": 2, "other files (.jpg)": 1}
    assert kinds(*paths) == only("passed over", counts | {"hidden files": 2})


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["", FOLDER, "valid", "..", ".x", "__MACOSX", f"{FOLDER}/.."]),
    st.sampled_from(["", ".", " ", "._", "x"]),
    st.sampled_from([STEM, "x", "12-3-128x64"]),
    st.text(st.sampled_from(" .pngjPGé~\0\u200b_/1"), max_size=6),
    st.sampled_from(["train", "valid", "challenge"]),
)
def test_what_looks_like_a_thumbnail_is_used_or_named_or_clutter(folder, before, stem, end, split):
    path = normalise("/".join(part for part in (folder, f"{before}{stem}.png{end}") if part))
    outcome = kinds(path, split=split)
    clutter = outcome["passed over"].get("clutter of file browsers and packers")
    named = outcome["images"] == [path] or clutter or shown(path) in "".join(outcome["lost"] + outcome["aside"])
    assert named or "/" in end  # then it is the name of a folder above


# ---- messages


@pytest.mark.parametrize("path", ["a\nb", "\x1b[2J.png", "a\rb", "x.png ", " x", "\u202egnp.x", "a\0b"])
def test_paths_in_messages_cannot_move_the_cursor(path):
    assert shown(path).isprintable() and shown(path) != path


def test_paths_in_messages_are_few():
    assert some(["a"]) == "a" and some(list("abc")) == "a, b, c" and some(list("abcde")) == "a, b, c and 2 more"
    assert some(["x"] * 2000).endswith("and 1,997 more")
