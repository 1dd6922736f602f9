"""Zips packed the same way every time and read by offset: the oracle is ``zipfile``."""

import contextlib
import os
import unicodedata
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.split import png
from reid.core.errors import ReidError
from reid.raw.archive import image_size, member_name, open_zip, pack, read_member

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def descriptor(path):
    file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def where(info, **changes):
    """Arguments of read_member from the zip's directory."""
    return {
        "offset": info.header_offset,
        "packed": info.compress_size,
        "size": info.file_size,
        "method": info.compress_type,
        "crc": info.CRC,
        **changes,
    }


def assert_reads_as_zipfile_does(path):
    with zipfile.ZipFile(path) as archive, descriptor(path) as file:
        for info in archive.infolist():
            assert read_member(file, **where(info)) == archive.read(info)


def one_member(path, content, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.png", content)
        return archive.getinfo("a.png")


def patch(path, position, change):
    data = bytearray(path.read_bytes())
    data[position] ^= change
    path.write_bytes(data)


# ---- packing


def test_packing_twice_gives_the_same_bytes_whenever_it_is_done(tmp_path, monkeypatch):
    members = [("b/Atlético.png", b"1" * 3000), ("a.png", b""), ("c.json", b"{}")]
    pack(tmp_path / "one.zip", members)
    monkeypatch.setattr("time.time", lambda: 4e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2050, 1, 2, 3, 4, 5, 0, 0, 0))
    monkeypatch.setattr("sys.platform", "win32")
    pack(tmp_path / "two.zip", iter(members))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_packed_zip_holds_the_members_stored_and_in_order(tmp_path):
    members = [("b/Atlético.png", b"1" * 3000), ("a.png", b"")]
    pack(tmp_path / "new" / "one.zip", members)
    with zipfile.ZipFile(tmp_path / "new/one.zip") as archive:
        assert [(info.filename, archive.read(info)) for info in archive.infolist()] == members
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.external_attr >> 16 & 0o777 for info in archive.infolist()} == {0o644}
        assert archive.testzip() is None


def test_failed_packing_keeps_the_old_zip(tmp_path):
    def members():
        yield "a.png", b"1"
        raise RuntimeError("the source is gone")

    path = tmp_path / "one.zip"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="the source is gone"):
        pack(path, members())
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["one.zip"]


# ---- opening


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_zip_is_refused(tmp_path, content):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(ReidError, match="a.zip: is not a complete zip .*fetch it again"):
        open_zip(path)


def test_every_cut_is_refused(tmp_path):
    one_member(tmp_path / "whole.zip", bytes(range(256)))
    whole, path = (tmp_path / "whole.zip").read_bytes(), tmp_path / "a.zip"
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ReidError, match="a.zip: is not a complete zip"):
            open_zip(path)


def test_missing_zip_is_named(tmp_path):
    with pytest.raises(ReidError, match="none.zip: there is no such file"):
        open_zip(tmp_path / "none.zip")


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
    path, placeholder = tmp_path / "a.zip", b"#" * len(raw)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(placeholder.decode(), b"")
    path.write_bytes(path.read_bytes().replace(placeholder, raw))
    with zipfile.ZipFile(path) as archive:
        assert member_name(archive.infolist()[0]) == name


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["Atlético", "Malmö", "日本", "plain"])
def test_name_with_the_utf8_flag_is_composed(tmp_path, name, form):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(unicodedata.normalize(form, name), b"")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert member_name(archive.infolist()[0]) == unicodedata.normalize("NFC", name)


def test_flagged_name_is_not_decoded_twice(tmp_path):
    name = "é".encode().decode("cp437")  # what a name without the flag would be mistaken for
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert member_name(archive.infolist()[0]) == name


# ---- reading by offset

contents = st.one_of(
    st.binary(max_size=3000), st.builds(lambda b, n: b * n, st.binary(max_size=20), st.integers(0, 500))
)
extras = st.integers(0, 700).map(
    lambda n: b"" if n < 4 else b"\xfe\xca" + (n - 4).to_bytes(2, "little") + bytes(n - 4)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 800), contents, st.sampled_from(METHODS), extras, st.booleans()), max_size=6),
    st.binary(max_size=40),
)
def test_members_read_as_zipfile_reads_them(tmp_path, members, before):
    path = tmp_path / "a.zip"
    with open(path, "wb") as file:
        file.write(before)  # a zip may have something in front of it
        with zipfile.ZipFile(file, "w") as archive:
            for number, (length, content, method, extra, zip64) in enumerate(members):
                info = zipfile.ZipInfo(f"{number}-" + "n" * length)
                info.compress_type, info.extra = method, extra
                with archive.open(
                    info, "w", force_zip64=zip64
                ) as member:  # zip64: an extra field in this header alone
                    member.write(content)
    assert_reads_as_zipfile_does(path)


@pytest.mark.parametrize("method", METHODS)
def test_header_longer_than_one_read(tmp_path, method):
    path = tmp_path / "a.zip"
    info = zipfile.ZipInfo("n" * 60000)
    info.compress_type, info.extra = method, b"\xfe\xca" + (5000).to_bytes(2, "little") + bytes(5000)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, np.random.default_rng(1).bytes(100_000))
        archive.writestr("last.png", b"last")
    assert_reads_as_zipfile_does(path)


def test_sizes_after_the_data(tmp_path):
    """Packers that stream leave the sizes in the local header at zero and write them behind the data."""
    path = tmp_path / "a.zip"

    class Pipe:
        def __init__(self, file):
            self.write, self.flush, self.close = file.write, file.flush, file.close

    with open(path, "wb") as file, zipfile.ZipFile(Pipe(file), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"content" * 100)
    assert path.read_bytes()[6] & 8 and path.read_bytes()[18:26] == bytes(8)
    assert_reads_as_zipfile_does(path)


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
def test_sample_reads_as_zipfile_reads_it(pku, split):
    assert_reads_as_zipfile_does(pku / f"{split}.zip")


@pytest.mark.parametrize("method", METHODS)
def test_every_damaged_byte_is_found(tmp_path, method):
    path = tmp_path / "a.zip"
    content = np.random.default_rng(1).bytes(200)
    info = one_member(path, content, method)
    whole = path.read_bytes()
    for position in range(35, 35 + info.compress_size, 3):
        patch(path, position, 0x10)
        with descriptor(path) as file, contextlib.suppress(ValueError):
            # Unused bits at the end of a deflated stream may change without a loss: what is read is then still right.
            assert read_member(file, **where(info)) == content and method == zipfile.ZIP_DEFLATED
        path.write_bytes(whole)


def test_damage_names_the_crc(tmp_path):
    info = one_member(tmp_path / "a.zip", b"content")
    patch(tmp_path / "a.zip", 36, 1)
    with descriptor(tmp_path / "a.zip") as file, pytest.raises(ValueError, match="CRC .* damaged"):
        read_member(file, **where(info))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("change", [{"crc": 0}, {"size": 6}, {"size": 8}, {"packed": 5}])
def test_directory_that_says_something_else_is_found(tmp_path, method, change):
    info = one_member(tmp_path / "a.zip", b"content", method)
    with descriptor(tmp_path / "a.zip") as file, pytest.raises(ValueError, match="CRC|does not unpack"):
        read_member(file, **where(info, **change))


def test_wrong_offset_asks_whether_the_zip_has_changed(tmp_path):
    info = one_member(tmp_path / "a.zip", b"content")
    end = (tmp_path / "a.zip").stat().st_size
    with descriptor(tmp_path / "a.zip") as file:
        for offset in (1, 30, end - 10, end, end + 1000):
            with pytest.raises(ValueError, match="no member at this offset .has the zip changed"):
                read_member(file, **where(info, offset=offset))


@pytest.mark.parametrize("method", METHODS)
def test_truncated_file_is_found(tmp_path, method):
    path = tmp_path / "a.zip"
    info = one_member(path, np.random.default_rng(1).bytes(5000), method)
    for size in (0, 10, 29, 30, 35, 1000, 34 + info.compress_size):
        os.truncate(path, size)
        with descriptor(path) as file, pytest.raises(ValueError):
            read_member(file, **where(info))
        one_member(path, np.random.default_rng(1).bytes(5000), method)


def test_unknown_method_is_named(tmp_path):
    info = one_member(tmp_path / "a.zip", b"content", zipfile.ZIP_BZIP2)
    with descriptor(tmp_path / "a.zip") as file, pytest.raises(ValueError, match="compression method 12 is not known"):
        read_member(file, **where(info))


def test_reading_leaves_the_position_of_the_file_alone(tmp_path):
    """Workers share descriptors."""
    info = one_member(tmp_path / "a.zip", b"content")
    with descriptor(tmp_path / "a.zip") as file:
        os.lseek(file, 3, os.SEEK_SET)
        read_member(file, **where(info))
        assert os.lseek(file, 0, os.SEEK_CUR) == 3


# ---- the size of an image


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("height, width", [(1, 1), (775, 449), (3, 300)])
def test_image_size_is_height_and_width(mode, height, width):
    content = png(height, width, 1, mode)
    assert image_size(content) == image_size(content[:24]) == (height, width)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0" + bytes(40), b"\x89PNG\r\n\x1a\n", bytes(24)])
def test_image_size_of_no_png(content):
    with pytest.raises(ValueError, match="no PNG"):
        image_size(content)


def test_image_size_of_a_cut_or_foreign_header():
    content = png(5, 6, 1)
    for wrong in (content[:23], content[:12] + b"IDAT" + content[16:], content[1:]):
        with pytest.raises(ValueError, match="no PNG"):
            image_size(wrong)
