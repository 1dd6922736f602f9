"""Zips packed the same way every time and read by offset: the oracle is ``zipfile``."""

import contextlib
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reid.raw.archive import pack, read_member
from reid.raw.members import normalise

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
        "name": normalise(info.filename),
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
    words = "CRC|does not unpack|the zip is damaged"
    with descriptor(tmp_path / "a.zip") as file, pytest.raises(ValueError, match=words):
        read_member(file, **where(info, **change))


@pytest.mark.parametrize("size", [0, 10, 1000, 900_000])
def test_stream_that_unpacks_to_more_than_is_said_is_not_followed(tmp_path, size):
    """100 MB of zeros in a few kilobytes, under a directory that says less."""
    content = bytes(100_000_000)
    info = one_member(tmp_path / "a.zip", content, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    with descriptor(tmp_path / "a.zip") as file, pytest.raises(ValueError, match="does not unpack|the zip is damaged"):
        read_member(file, **where(info, size=size))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_stream_that_ends_early_is_found_though_its_bytes_are_right(tmp_path):
    content = np.random.default_rng(1).bytes(5000)
    info = one_member(tmp_path / "a.zip", content, zipfile.ZIP_DEFLATED)
    with descriptor(tmp_path / "a.zip") as file, pytest.raises(ValueError, match="does not unpack|CRC"):
        read_member(file, **where(info, packed=info.compress_size - 1))


@pytest.mark.parametrize("method", METHODS)
def test_member_over_the_limit_is_not_read(tmp_path, method):
    info = one_member(tmp_path / "a.zip", bytes(1001), method)
    with descriptor(tmp_path / "a.zip") as file:
        with pytest.raises(ValueError, match="said to unpack to 1,001 bytes, and 1,000 is the most"):
            read_member(file, **where(info), limit=1000)
        assert read_member(file, **where(info), limit=1001) == bytes(1001)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("number", ["packed", "size"])
def test_terabyte_is_refused_before_memory_is_taken(tmp_path, method, number):
    info = one_member(tmp_path / "a.zip", b"content", method)
    with descriptor(tmp_path / "a.zip") as file, pytest.raises(ValueError, match="is the most|the zip is damaged"):
        read_member(file, **where(info, **{number: 1 << 40}))


def test_wrong_offset_asks_whether_the_zip_has_changed(tmp_path):
    info = one_member(tmp_path / "a.zip", b"content")
    end = (tmp_path / "a.zip").stat().st_size
    with descriptor(tmp_path / "a.zip") as file:
        for offset in (1, 30, end - 10, end, end + 1000, 2**62, 2**63 - 1, 2**64):
            with pytest.raises(ValueError, match="no member at this offset .has the zip changed"):
                read_member(file, **where(info, offset=offset))


@pytest.mark.parametrize("name", ["b.png", "a.pn", "a.png ", "A.png", "c/a.png", ""])
def test_member_that_bears_another_name_where_it_lies_is_refused(tmp_path, name):
    info = one_member(tmp_path / "a.zip", b"content")
    with descriptor(tmp_path / "a.zip") as file, pytest.raises(ValueError, match="what lies there is called a.png "):
        read_member(file, **where(info, name=name))


def test_member_behind_whose_name_the_file_ends_is_refused(tmp_path):
    info = one_member(tmp_path / "a.zip", b"")
    os.truncate(tmp_path / "a.zip", 32)
    with descriptor(tmp_path / "a.zip") as file, pytest.raises(ValueError, match="what lies there is called a. "):
        read_member(file, **where(info))


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
    with (
        descriptor(tmp_path / "a.zip") as file,
        pytest.raises(ValueError, match="compression method 12, which is not known"),
    ):
        read_member(file, **where(info))


def test_reading_leaves_the_position_of_the_file_alone(tmp_path):
    """Workers share descriptors."""
    info = one_member(tmp_path / "a.zip", b"content")
    with descriptor(tmp_path / "a.zip") as file:
        os.lseek(file, 3, os.SEEK_SET)
        read_member(file, **where(info))
        assert os.lseek(file, 0, os.SEEK_CUR) == 3
