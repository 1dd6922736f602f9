"""The grammar of file names: what is written is read back, and what is malformed is refused."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reid.raw.filenames import CLASSES, Thumbnail, format_name, is_clutter, parse_name, split_roles

EXAMPLE = "54404-1940-33397-5089-Player_team_right-9-014r002_00858c3b0003-775x449.png"
PLAIN = "12-3-128x64.png"
# Spelled out, because the class list of the library is what is tested.
TEN = (
    "Player_team_left",
    "Player_team_right",
    "Goalkeeper_team_left",
    "Goalkeeper_team_right",
    "Main_referee",
    "Side_referee",
    "Staff_members",
    "Player_team_unknown_1",
    "Player_team_unknown_2",
    "Goalkeeper_team_unknown",
)

number = st.integers(0, 999_999_999)
size = st.integers(1, 99_999)
letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
jersey = st.one_of(st.integers(0, 99).map(str), st.sampled_from(letters), st.just("None"))
uai = st.text(letters + "0123456789_", min_size=1, max_size=30)
labelled = st.builds(Thumbnail, number, number, number, number, st.sampled_from(TEN), jersey, uai, size, size)
none = st.none()
unlabelled = st.builds(Thumbnail, number, number, none, none, none, none, none, size, size)
modest = settings(max_examples=150, deadline=None)


def refused(name):
    with pytest.raises(ValueError, match="<bbox_idx>-<action_idx>-"):
        parse_name(name)


@modest
@given(st.one_of(labelled, unlabelled))
def test_what_is_written_is_read_back(thumbnail):
    assert parse_name(format_name(thumbnail)) == thumbnail


@modest
@given(labelled)
def test_fields_are_those_between_the_hyphens(thumbnail):
    *fields, end = format_name(thumbnail).removesuffix(".png").split("-")
    assert fields == [str(field) for field in thumbnail[:7]]
    assert end == f"{thumbnail.height}x{thumbnail.width}"


digits = st.text("0123456789", min_size=1, max_size=2)


@modest
@given(
    st.lists(digits, min_size=2, max_size=5),
    st.sampled_from(["", "-Main_referee-07-a", "-Side_referee-007-_", "-Ball-1-a"]),
    digits,
    digits,
)
def test_what_is_read_can_be_written_back(numbers, labels, height, width):
    name = f"{'-'.join(numbers)}{labels}-{height}x{width}.png"
    try:
        thumbnail = parse_name(name)
    except ValueError:
        return
    assert format_name(thumbnail) == name


def test_example_of_the_data():
    assert parse_name(EXAMPLE) == Thumbnail(
        bbox_idx=54404,
        action_idx=1940,
        person_uid=33397,
        frame_idx=5089,
        clazz="Player_team_right",
        id="9",
        UAI="014r002_00858c3b0003",
        height=775,
        width=449,
    )


def test_challenge_name_has_no_labels():
    assert parse_name(PLAIN) == Thumbnail(12, 3, None, None, None, None, None, 128, 64)


@pytest.mark.parametrize("clazz", TEN)
def test_each_of_the_ten_classes_is_read(clazz):
    assert parse_name(EXAMPLE.replace("Player_team_right", clazz)).clazz == clazz


def test_there_are_ten_classes():
    assert sorted(CLASSES) == sorted(TEN)


@pytest.mark.parametrize("text", ["None", "0", "7", "07", "99", "A", "z"])
def test_id_stays_text(text):
    assert parse_name(EXAMPLE.replace("-9-", f"-{text}-")).id == text


@pytest.mark.parametrize("text", ["", "none", "NONE", "AB", "7A", "-1", "1234", "?", "é", "٧", " 7"])
def test_other_ids_are_refused(text):
    refused(EXAMPLE.replace("-9-", f"-{text}-"))


@modest
@given(labelled, st.integers(0, 7))
def test_dropped_field_is_refused(thumbnail, place):
    fields = format_name(thumbnail).split("-")
    refused("-".join(fields[:place] + fields[place + 1 :]))


@modest
@given(labelled, st.integers(0, 7))
def test_doubled_field_is_refused(thumbnail, place):
    fields = format_name(thumbnail).split("-")
    refused("-".join([*fields[: place + 1], *fields[place:]]))


@modest
@given(st.one_of(labelled, unlabelled), st.integers(0, 8), st.sampled_from(["", "0", "7", "x", "Main_referee"]))
def test_added_field_is_refused(thumbnail, place, field):
    fields = format_name(thumbnail).split("-")
    place = min(place, len(fields))
    assume(thumbnail.person_uid is not None or place < len(fields))
    refused("-".join([*fields[:place], field, *fields[place:]]))


@modest
@given(st.one_of(labelled, unlabelled), st.integers(0, 6), st.sampled_from(["_", " ", "--", "–", ".", "/", ""]))
def test_other_separator_is_refused(thumbnail, place, separator):
    name = format_name(thumbnail)
    hyphens = [match.start() for match in re.finditer("-", name)]
    at = hyphens[place % len(hyphens)]
    refused(name[:at] + separator + name[at + 1 :])


@modest
@given(st.one_of(labelled, unlabelled), st.data())
def test_leading_zero_is_refused(thumbnail, data):
    """What is read must be what is written: 007 and 7 would be the same box under two names."""
    name = format_name(thumbnail)
    numbers = [0, 1, 2, 3, 7] if thumbnail.person_uid is not None else [0, 1, 2]
    fields = name.split("-")
    place = data.draw(st.sampled_from(numbers))
    refused("-".join([*fields[:place], "0" + fields[place], *fields[place + 1 :]]))
    refused(name.replace(f"x{thumbnail.width}.png", f"x0{thumbnail.width}.png"))


@pytest.mark.parametrize(
    "size", ["0x64", "128x0", "0x0", "x64", "128x", "128", "128X64", "128*64", "-1x64", "128x64x3"]
)
@pytest.mark.parametrize("name", [EXAMPLE.replace("775x449", "{}"), PLAIN.replace("128x64", "{}")])
def test_wrong_size_is_refused(name, size):
    refused(name.format(size))


@pytest.mark.parametrize("suffix", ["", ".", ".PNG", ".jpg", ".png.png", ".png ", ".png\n", "\n.png", ".pngx", "xpng"])
@pytest.mark.parametrize("name", [EXAMPLE, PLAIN])
def test_wrong_suffix_is_refused(name, suffix):
    refused(name.removesuffix(".png") + suffix)


@pytest.mark.parametrize("start", [" ", "\n", "+", "-", "./", "query/", "\ufeff", "a"])
@pytest.mark.parametrize("name", [EXAMPLE, PLAIN])
def test_anything_before_the_name_is_refused(name, start):
    refused(start + name)


@pytest.mark.parametrize(
    "clazz",
    ["Ball", "player_team_right", "Player-team-right", "Player_team", "Player_team_right ", "", "Main_referee_1"],
)
def test_unknown_class_is_refused(clazz):
    refused(EXAMPLE.replace("Player_team_right", clazz))


@pytest.mark.parametrize("digit", ["٣", "３", "𝟑", "³", "Ⅲ"])
def test_digits_beyond_ascii_are_refused(digit):
    for field in ("54404", "1940", "33397", "5089", "775", "449"):
        refused(EXAMPLE.replace(field, digit))
    refused(PLAIN.replace("12", digit))


def test_numbers_fit_the_index():
    assert parse_name("999999999-0-1x1.png").bbox_idx < 2**31
    for name in ("1000000000-0-1x1.png", "0-1000000000-1x1.png", "0-0-100000x1.png", "0-0-1x100000.png"):
        refused(name)


@pytest.mark.parametrize("uai", ["", "a.b", "a b", "é", "a/b"])
def test_wrong_uai_is_refused(uai):
    refused(EXAMPLE.replace("014r002_00858c3b0003", uai))


def test_kit_readme_spelling_is_refused():
    refused(EXAMPLE.replace("-", "_"))


def test_roles_of_each_split_in_index_order():
    roles = {split: split_roles(split) for split in ("train", "valid", "test", "challenge")}
    pair = ("query", "gallery")
    assert roles == {"train": ("train",), "valid": pair, "test": pair, "challenge": pair}


@pytest.mark.parametrize(
    "name",
    [
        "__MACOSX/valid/._a.png",
        "valid/__MACOSX/a.png",
        "a/.DS_Store",
        ".git/x",
        "a/Thumbs.db",
        "THUMBS.DB",
        "Desktop.ini",
    ],
)
def test_clutter(name):
    assert is_clutter(name)


@pytest.mark.parametrize(
    "name", ["valid/query/0-0-1x1.png", "a.b/c d/e.png", "MACOSX/a.png", "my Thumbs.db", "./a.png", ""]
)
def test_no_clutter(name):
    assert not is_clutter(name)
