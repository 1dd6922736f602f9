"""Members listed from a zip's directory: as ``zipfile`` lists them, and no zip that lies about what it holds."""

import os
import re
import socket
import struct
import unicodedata
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.split import TinySplit, members_of, png
from builders.zips import ENTRY, Part, write_parts, zip_bytes
from reid.core.errors import ReidError
from reid.raw.archive import read_member
from reid.raw.directory import directory_bytes, list_members
from reid.raw.members import shown

PNG = png(20, 10, 1)


def refused(path, match):
    with pytest.raises(ReidError, match=match) as caught:
        list_members(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def assert_lists_as_zipfile_does(path):
    """Numbers of each member, and its content."""
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        members = list_members(path)
        assert len(members) == len(infos)
        for member, info in zip(members, infos, strict=True):
            where = (info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC)
            assert member[1:6] == where
            assert not member.encrypted and member.problem() is None
            assert read_member(file.fileno(), *member[:6]) == archive.read(info)
        return members


# ---- as zipfile

names = st.text(st.characters(exclude_characters="\0/\\", exclude_categories=["Cs"]), min_size=1, max_size=30)
extras = st.integers(0, 300).map(lambda n: b"" if n < 4 else struct.pack("<HH", 0xCAFE, n - 4) + bytes(n - 4))
comments = st.binary(max_size=100).filter(lambda comment: b"PK\x05\x06" not in comment)  # there zipfile gives up
methods = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(names, st.binary(max_size=300), methods, extras, st.booleans()), max_size=6),
    st.binary(max_size=200),
    comments,
    st.booleans(),
)
def test_zips_of_zipfile_are_listed_as_it_lists_them(tmp_path, members, before, comment, stream):
    path = tmp_path / "a.zip"

    class Pipe:  # what cannot be searched gets its sizes behind the data
        def __init__(self, file):
            self.write, self.flush, self.close = file.write, file.flush, file.close

    with open(path, "wb") as file:
        file.write(b"" if stream else before)
        with zipfile.ZipFile(Pipe(file) if stream else file, "w") as archive:
            archive.comment = comment
            for number, (name, content, method, extra, zip64) in enumerate(members):
                info = zipfile.ZipInfo(f"{number}-{name}")
                info.compress_type, info.extra = method, extra
                with archive.open(info, "w", force_zip64=zip64) as member:
                    member.write(content)
    listed = assert_lists_as_zipfile_does(path)
    assert [m.name for m in listed] == [unicodedata.normalize("NFC", f"{i}-{m[0]}") for i, m in enumerate(members)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(names, st.binary(max_size=300), st.sampled_from([0, 8]), extras, extras), max_size=5),
    st.binary(max_size=100),
    comments,
    st.booleans(),
)
def test_zips_of_other_packers_are_listed_as_zipfile_lists_them(tmp_path, members, before, comment, zip64):
    parts = [
        Part(f"{number}-{name}", content, method, extra=extra, listed_extra=listed)
        for number, (name, content, method, extra, listed) in enumerate(members)
    ]
    path = write_parts(tmp_path / "a.zip", parts, before=before, comment=comment, zip64=zip64)
    assert_lists_as_zipfile_does(path)


@pytest.mark.parametrize("descriptor", [12, 16, 20, 24])
@pytest.mark.parametrize("extra", [0, 28, 200])
def test_descriptors_and_extra_fields_of_any_length_hide_nothing(tmp_path, descriptor, extra):
    field = struct.pack("<HH", 0x5455, extra - 4) + bytes(extra - 4) if extra else b""
    parts = [
        Part(f"{i}.png", PNG, 8, 0x808, extra=field, descriptor=b"PK\x07\x08" + bytes(descriptor - 4))
        for i in range(4)
    ]
    assert len(assert_lists_as_zipfile_does(write_parts(tmp_path / "a.zip", parts))) == 4


@pytest.mark.parametrize("comment", [b"PK\x05\x06", b"PK\x05\x06" + bytes(range(100, 160)), b"x" * 0xFFFF])
def test_comment_that_looks_like_an_end(tmp_path, comment):
    path = write_parts(tmp_path / "a.zip", [Part("a.png", PNG)], comment=comment)
    assert [member.name for member in list_members(path)] == ["a.png"]


def test_sample_is_listed_as_zipfile_lists_it(pku):
    for split in ("train", "valid", "test", "challenge"):
        assert_lists_as_zipfile_does(pku / f"{split}.zip")


def test_empty_zip(tmp_path):
    assert list_members(write_parts(tmp_path / "a.zip", [])) == []


def test_more_members_than_sixteen_bits_count(tmp_path):
    """Old packers write the lower 16 bits of the number, newer ones records of zip64."""
    parts = [Part(f"{i}.txt") for i in range(65_600)]
    for options in ({"count": 64}, {"zip64": True}):
        assert len(list_members(write_parts(tmp_path / "a.zip", parts, **options))) == 65_600
    refused(write_parts(tmp_path / "a.zip", parts, count=65), "says that there are 65 members, .* lists 65,600")


# ---- names


@pytest.mark.parametrize(
    "raw, name",
    [
        ("Atlético Łódź".encode(), "Atlético Łódź"),  # UTF-8 that does not say so
        ("Atle\u0301tico".encode(), "Atlético"),  # as macOS writes it
        ("Atlético".encode("cp437"), "Atlético"),  # really code page 437
        (b"plain 0 - 1", "plain 0 - 1"),
    ],
)
def test_name_without_the_utf8_flag(tmp_path, raw, name):
    path = write_parts(tmp_path / "a.zip", [Part(raw, flags=0)])
    assert [member.name for member in list_members(path)] == [name]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["Atlético", "Malmö", "日本", "plain", "é".encode().decode("cp437")])
def test_name_with_the_utf8_flag_is_composed_and_not_decoded_twice(tmp_path, name, form):
    path = write_parts(tmp_path / "a.zip", [Part(unicodedata.normalize(form, name))])
    assert [member.name for member in list_members(path)] == [unicodedata.normalize("NFC", name)]


def test_name_that_is_said_to_be_utf8_and_is_not(tmp_path):
    refused(write_parts(tmp_path / "a.zip", [Part(b"Atl\xe9tico")]), "Atl.xe9tico' is said to be UTF-8 and is not")


@pytest.mark.parametrize(
    "raw, name",
    [
        ("./a/b.png", "a/b.png"),
        ("a\\b.png", "a/b.png"),
        ("/a//b.png", "a/b.png"),
        ("a/./b.png", "a/b.png"),
        ("a/b/", "a/b/"),
        ("a\\b\\", "a/b/"),
        ("a/../b.png", "a/../b.png"),
        ("b.png\0.txt", "b.png\0.txt"),
    ],
)
def test_one_spelling(tmp_path, raw, name):
    assert list_members(write_parts(tmp_path / "a.zip", [Part(raw)]))[0].name == name


@pytest.mark.parametrize(
    "own, listed",
    [
        ("0-0-69x45.png", "0-1-69x45.png"),  # another action: one byte
        ("a.png", "a.pn"),
        ("a.png", "a.png2"),
        ("a.png" + "b" * 3000, "a.png"),
        ("", "a.png"),
        ("a.png", ""),
    ],
)
def test_a_zip_whose_headers_name_others_is_refused(tmp_path, own, listed):
    parts = [Part("x.png", PNG), Part(own, PNG, listed_name=listed), Part("y.png", PNG)]
    message = refused(write_parts(tmp_path / "a.zip", parts), "its directory says .* where .* lies")
    assert f"says {shown(listed)} where {shown(own)} lies" in message


@pytest.mark.parametrize(
    "own, listed", [("a\\b.png", "a/b.png"), ("./a.png", "a.png"), ("Atle\u0301tico", "Atlético")]
)
def test_two_spellings_of_one_name_are_one_member(tmp_path, own, listed):
    assert [m.name for m in list_members(write_parts(tmp_path / "a.zip", [Part(own, listed_name=listed)]))] == [listed]


# ---- what is no zip


@pytest.mark.parametrize(
    "content, what",
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>404</html>", r"it is a web page \(HTML\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "it is a Git LFS pointer"),
        (b"\x80\x04\x95" + bytes(100), "it is a pickle"),
        (b"Rar!\x1a\x07" + bytes(100), "it is a RAR archive"),
        (bytes(5000), "it is zeros"),
        (b"PK\x03\x04" + bytes(100), "it was cut short or changed"),
    ],
)
def test_what_is_no_zip_is_refused_for_what_it_is(tmp_path, content, what):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    refused(path, f"a.zip: is not a complete zip .it has no end of a zip.; {what}.*: remove it and fetch it again")


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_every_cut_is_refused(tmp_path, comment):
    whole, path = zip_bytes([Part("a.png", PNG), Part("b.png", PNG)], comment=comment), tmp_path / "a.zip"
    for size in range(0, len(whole) - len(comment), 7):
        path.write_bytes(whole[:size])
        refused(path, "a.zip: is not a complete zip")


def test_only_regular_files_are_read(tmp_path):
    refused(tmp_path / "none.zip", "none.zip: there is no such file")
    refused(tmp_path, "is a directory, not a file")
    os.mkfifo(tmp_path / "pipe.zip")
    refused(tmp_path / "pipe.zip", "pipe.zip: is a named pipe, not a file")
    (tmp_path / "zero.zip").symlink_to("/dev/zero")
    refused(tmp_path / "zero.zip", "zero.zip: is a device, not a file")
    (tmp_path / "gone.zip").symlink_to("nowhere")
    refused(tmp_path / "gone.zip", "gone.zip: is a link to nothing, not a file")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        refused(tmp_path / "s", "is a socket, not a file")


def test_part_of_a_zip_in_several_parts(tmp_path):
    data = bytearray(zip_bytes([Part("a.png", PNG)]))
    data[-22 + 4] = 1
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", "it is one of several parts")


# ---- a directory that does not list all


def tiny_parts(**options):
    return [Part(name, content, **options) for name, content in members_of("valid").items()]


@pytest.mark.parametrize("options", [{}, {"method": 8}, {"extra": struct.pack("<HH", 0x5455, 24) + bytes(24)}])
@pytest.mark.parametrize("lost", [[0], [4], [10], [0, 1], [3, 7], [9, 10], [5, 6, 7], list(range(11))])
def test_members_that_the_directory_does_not_list(tmp_path, lost, options):
    parts = tiny_parts(**options)
    assert len(parts) == 11
    for i in lost:
        parts[i].listed = False
    message = refused(
        write_parts(tmp_path / "a.zip", parts), f"its directory lists {11 - len(lost)} members, and there are more"
    )
    assert parts[lost[0]].name.decode() in message
    message = refused(write_parts(tmp_path / "a.zip", parts, count=11), "says that there are 11 members")
    assert f"lists {11 - len(lost)}" in message


def test_member_behind_one_with_a_descriptor_and_not_listed(tmp_path):
    parts = tiny_parts(method=8, flags=0x808, descriptor=b"PK\x07\x08" + bytes(12))
    parts[5].listed = False
    assert parts[5].name.decode() in refused(write_parts(tmp_path / "a.zip", parts), "there are more in the file")


@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\n" * 30])
def test_older_edition_of_a_member_is_no_loss(tmp_path, before):
    """What some packers leave where it was when they update a zip."""
    parts = tiny_parts()
    old = Part(parts[3].name, PNG + b"old", listed=False)
    path = write_parts(tmp_path / "a.zip", [*parts[:2], old, *parts[2:]], before=before)
    assert len(list_members(path)) == 11


def test_bytes_between_members_that_are_no_member(tmp_path):
    """Some packers align what they pack."""
    parts = tiny_parts(descriptor=bytes(4096), flags=0x808)
    assert len(list_members(write_parts(tmp_path / "a.zip", parts))) == 11


def test_members_that_overlap(tmp_path):
    """One stretch of data under many names: a few kilobytes that would unpack to gigabytes."""
    parts = [Part(f"{i}.png", bytes(100_000), 8) for i in range(3)]
    parts[1].offset = parts[2].offset = 0
    refused(write_parts(tmp_path / "a.zip", parts), "png is not where the directory says")


@pytest.mark.parametrize("offset", [1, 10**6, 2**32 - 2, 2**40, 2**64 - 1])
def test_offset_that_is_elsewhere(tmp_path, offset):
    parts = [Part("a.png", PNG), Part("b.png", PNG, offset=offset)]
    refused(write_parts(tmp_path / "a.zip", parts), "is not where the directory says|there are more in the file")


# ---- sizes that cannot be


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("number", ["packed", "size"])
@pytest.mark.parametrize("value", [0, 1, 10**9, 2**32 - 2, 2**40, 2**63])
def test_sizes_that_cannot_be_are_said_by_the_directory(tmp_path, method, number, value):
    content = PNG if value else b"x" * 3000
    path = write_parts(tmp_path / "a.zip", [Part("a.png", content, method, **{number: value})])
    try:
        (member,) = list_members(path)
    except ReidError as error:  # the packed bytes would lie in the directory, or the rest of them is unaccounted for
        assert number == "packed" and re.search("is not where the directory says|more in the file", str(error))
        return
    packed, size = member.packed, member.size
    possible = packed == size if method == 0 else size <= 1032 * packed and packed <= 2 * size + 1024
    assert (member.problem() is None) if possible else ("the zip is damaged" in member.problem())


def test_true_extremes_of_deflate_can_be(tmp_path):
    noise = os.urandom(100_000)
    parts = [Part("zeros", bytes(50_000_000), 8), Part("noise", noise, 8), Part("nothing", b"", 8)]
    assert [member.problem() for member in list_members(write_parts(tmp_path / "a.zip", parts))] == [None] * 3


@pytest.mark.parametrize("flag", [1, 0x40, 0x2000])
def test_encrypted_members_say_so(tmp_path, flag):
    (member,) = list_members(write_parts(tmp_path / "a.zip", [Part("a.png", PNG, flags=0x800 | flag)]))
    assert "is encrypted; fetch or pack the zip without a password" in member.problem()


@pytest.mark.parametrize("method", [1, 9, 12, 14, 93, 99])
def test_unknown_method_is_named(tmp_path, method):
    (member,) = list_members(write_parts(tmp_path / "a.zip", [Part("a.png", PNG, method)]))
    assert f"has compression method {method}, which is not known" in member.problem()


@pytest.mark.parametrize("count, length", [(10**9, 100), (5, 2**40), (2**63, 2**63)])
def test_huge_directory_is_refused_before_it_is_read(tmp_path, count, length):
    data = bytearray(zip_bytes([Part("a.png", PNG)], zip64=True))
    at = data.index(b"PK\x06\x06")
    struct.pack_into("<QQQ", data, at + 24, count, count, length)
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", f"said to have {count:,} members and a directory of {length:,} bytes")


def test_more_members_than_any_split_has(tmp_path, monkeypatch):
    monkeypatch.setattr("reid.raw.directory.MOST_MEMBERS", 10)
    refused(write_parts(tmp_path / "a.zip", tiny_parts(), count=11), "said to have 11 members")
    refused(write_parts(tmp_path / "a.zip", tiny_parts(), count=5), "lists more than 10 members")


# ---- damage


def test_no_damage_to_the_directory_escapes_as_another_error(tmp_path):
    path = tmp_path / "a.zip"
    for options in ({}, {"zip64": True}, {"comment": b"comment"}):
        whole = zip_bytes([Part("a/b.png", PNG), Part("a/c.png", PNG, 8)], **options)
        refusals = 0
        for position in range(whole.index(ENTRY), len(whole)):
            for change in (0xFF, 0x01):
                data = bytearray(whole)
                data[position] ^= change
                path.write_bytes(data)
                try:
                    list_members(path)
                except ReidError as error:
                    refusals += 1
                    assert str(error).startswith(f"{path}: is not a complete zip (")
        assert refusals > 60


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_change_escapes_as_another_error(tmp_path, data):
    """Bytes replaced, removed, doubled and inserted anywhere."""
    whole = bytearray(zip_bytes(tiny_parts()[:3], zip64=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 3))):
        first = data.draw(st.integers(0, len(whole)))
        last = data.draw(st.integers(first, min(len(whole), first + 60)))
        whole[first:last] = data.draw(st.one_of(st.binary(max_size=30), st.just(bytes(whole[first:last]) * 2)))
    (tmp_path / "a.zip").write_bytes(whole)
    try:
        members = list_members(tmp_path / "a.zip")
    except ReidError:
        return
    assert all(member.offset + member.packed <= len(whole) for member in members)


@pytest.mark.parametrize("options", [{}, {"zip64": True}, {"comment": b"comment"}, {"before": b"x" * 50}])
def test_directory_as_it_is_written(tmp_path, options):
    path = write_parts(tmp_path / "a.zip", tiny_parts(), **options)
    directory = directory_bytes(path)
    assert directory.count(ENTRY) == 11 and directory.startswith(ENTRY) and directory in path.read_bytes()
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(ReidError, match="a.zip: is not a complete zip"):
        directory_bytes(path)


def test_directory_of_a_zip_of_this_pipeline_is_checked_against_its_digests(tmp_path):
    """A digit changed in a name is found before anything believes it."""
    from reid.raw.archive import pack

    path = tmp_path / "a.zip"
    pack(path, TinySplit("valid").members().items())
    assert len(list_members(path)) == 11
    data = bytearray(path.read_bytes())
    data[data.rindex(b"-20x9.png") + 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReidError, match="a.zip: is not what was written"):
        list_members(path)
