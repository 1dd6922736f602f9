"""Arrays that are mapped: what numpy.save writes is read, and any other header is refused with a reason."""

import io
import struct

import numpy as np
import pytest

from reid.core.arrays import map_array


@pytest.mark.parametrize("kind", ["u1", "?", "<i8", ">i4", "<f2", "<f4", ">f4", "<f8", "<c8"])
@pytest.mark.parametrize("shape", [(5,), (5, 3), (0, 3), (3, 0), (2, 3, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_array_is_what_numpy_saved(tmp_path, kind, shape, order):
    array = np.asarray(np.random.default_rng(0).integers(0, 2, shape), kind, order=order)
    np.save(tmp_path / "a.npy", array)
    mapped = map_array(tmp_path / "a.npy")
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    assert np.array_equal(mapped, array) and mapped.dtype == array.dtype and mapped.shape == shape
    assert mapped.flags.f_contiguous or mapped.flags.c_contiguous


def test_array_of_the_second_version_is_read(tmp_path):
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, np.arange(6.0).reshape(2, 3), version=(2, 0))
    assert map_array(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


def header(text, version=(1, 0), content=bytes(60)):
    """A file with a header of one's own."""
    text = text.encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(text)) + text + content


def of(descr="'<f4'", order="False", shape="(5, 3)", more=""):
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}{more}}}")


DAMAGED = "its header is damaged, or of a version that is not known"
OTHER_LENGTH = "its header says .* which is not what its .* bytes hold"
HEADERS = {
    "fewer values": (of()[:-1], OTHER_LENGTH),
    "more values": (of() + b"\0", OTHER_LENGTH),
    "no values": (of()[:128], OTHER_LENGTH),
    "many more promised": (of(shape="(5, 3000000000)"), OTHER_LENGTH),
    "more than any address": (of(shape="(10000000000000000000000, 3)"), OTHER_LENGTH),
    "product that overflows": (of(shape="(4294967296, 4294967296)"), OTHER_LENGTH),
    "negative": (of(shape="(-5, 3)"), OTHER_LENGTH),
    "negative twice": (of(shape="(-5, -3)"), OTHER_LENGTH),
    "true for one": (of(shape="(True, 15)"), "."),
    "fraction": (of(shape="(5.0, 3)"), DAMAGED),
    "no tuple": (of(shape="15"), DAMAGED),
    "no dimension": (of(shape="()")[: 128 + 4], "it has 0 dimensions"),
    "a hundred dimensions": (of(shape=f"({'1, ' * 100})"), "it has 100 dimensions"),
    "objects": (of(descr="'|O'"), "it holds Python objects, not numbers"),
    "records": (of(descr="[('a', '<f4')]", shape="(15,)"), "it holds records of several fields"),
    "inner arrays": (of(descr="('<f4', (3,))", shape="(5,)"), "."),
    "texts": (of(descr="'<U1'", shape="(15,)"), "it holds values of type <U1"),
    "dates": (of(descr="'<M8[s]'", shape="(7,)"), "it holds values of type datetime64"),
    "nothing": (of(descr="'|V0'"), "it holds values of type"),
    "unknown type": (of(descr="'<x4'"), DAMAGED),
    "type of no sense": (of(descr="3"), DAMAGED),
    "huge type": (of(descr="'<U99999999999'"), DAMAGED),
    "other keys": (of(more=", 'x': 1"), DAMAGED),
    "order that is no truth": (of(order="1"), DAMAGED),
    "no dict": (header("[1, 2]"), DAMAGED),
    "keys that do not sort": (header("{1: 2, 'a': 3}"), DAMAGED),
    "keys that cannot be": (header("{[]: 1}"), DAMAGED),
    "brackets": (header("[" * 3000), DAMAGED),
    "deep": (header("(" * 500 + ")" * 500), DAMAGED),
    "code": (header("__import__('os').abort()"), DAMAGED),
    "not closed": (header("{'descr': '<f4'"), DAMAGED),
    "leading zeros": (of(shape="(05, 3)"), DAMAGED),
    "too long": (header(" " * 20_000), DAMAGED),
    "binary": (header("\0\1\2"), DAMAGED),
    "cut header": (of()[:70], DAMAGED),
    "cut length": (of()[:9], DAMAGED),
    "cut version": (of()[:7], DAMAGED),
    "version 9": (header("{}", (9, 9)), DAMAGED),
    "magic alone": (b"\x93NUMPY", DAMAGED),
    "empty": (b"", "it is empty"),
    "text": (b"1 2 3", "it is text"),
    "zip": (b"PK\x03\x04 and more", "it is a zip archive"),
    "pickle": (b"\x80\x04\x95 and more", "it is a pickle"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_file_with_another_header_is_refused_with_its_reason(tmp_path, kind):
    content, reason = HEADERS[kind]
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=reason) as caught:
        map_array(tmp_path / "a.npy")
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


def test_sparse_file_of_any_length_is_mapped_and_not_read(tmp_path):
    (tmp_path / "a.npy").write_bytes(of("'|u1'", shape=f"({1 << 20}, {1 << 20})")[:128])
    with open(tmp_path / "a.npy", "rb+") as file:
        file.truncate(128 + (1 << 40))
    assert map_array(tmp_path / "a.npy")[-1, -1] == 0


def test_random_changes_of_a_header_end_in_an_array_or_one_kind_of_error(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((5, 3), np.float32))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(3000):
        content = bytearray(buffer.getvalue())
        for _ in range(rng.integers(1, 5)):
            content[rng.integers(128)] = rng.integers(256)
        (tmp_path / "a.npy").write_bytes(content)
        try:
            assert map_array(tmp_path / "a.npy").nbytes <= 60
        except ValueError as error:
            refused += 1
            assert str(error).startswith(("it ", "its "))
    assert refused > 2500
