"""A file read once: its copy, its SHA-256 and its digests."""

import hashlib
import io

import pytest

from reid.core.checksums import BLOCK, Sums, difference, sum_file
from reid.core.copying import read_stream, read_through


class Halting(io.BytesIO):
    """A stream whose reads come back short, as those of a network do."""

    def read(self, size=-1):
        return super().read(min(size, 7))


@pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 5])
def test_digests_of_the_pass_are_those_of_the_file(tmp_path, size):
    (tmp_path / "a").write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    sha, sums = read_through(tmp_path / "a", "", False, tmp_path / "b")
    content = (tmp_path / "a").read_bytes()
    assert (sha, sums) == (hashlib.sha256(content).hexdigest(), sum_file(tmp_path / "a"))
    assert (tmp_path / "b").read_bytes() == content


@pytest.mark.parametrize("like", [None, Sums(0, 10, 20, [])])
@pytest.mark.parametrize("size", [0, 5, 35])
def test_no_more_is_read_than_the_size_that_is_stated(tmp_path, size, like):
    content = bytes(range(100))
    sha, sums = read_stream(io.BytesIO(content), size, "", False, tmp_path / "a", like)
    assert (tmp_path / "a").read_bytes() == content[:size] and sums.size == size
    assert sha == hashlib.sha256(content[:size]).hexdigest() and difference(tmp_path / "a", sums) is None


@pytest.mark.parametrize("size", [0, 3, 10, 30, 32, 101])
def test_blocks_are_those_asked_for_however_the_stream_is_read(tmp_path, size):
    (tmp_path / "a").write_bytes(bytes(range(size)))
    _, sums = read_stream(Halting(bytes(range(size))), size, "", False, like=Sums(0, 10, 20, []))
    assert (sums.head, sums.block, sums.size) == (min(size, 10), 20, size)
    assert difference(tmp_path / "a", sums) is None
    assert len(sums.digests) == (sums.number(size - 1) + 1 if size else 0)
