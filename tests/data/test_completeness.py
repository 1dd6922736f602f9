"""Missing thumbnails are seen in the numbers of those that are there, and in how many were published."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.data.completeness import PUBLISHED, missing


def table_of(**numbers):
    """The columns of an index from the numbers of each role."""
    roles = [role for role, own in numbers.items() for _ in range(len(own))]
    return pa.table(
        {"role": roles, "bbox_idx": pa.array([int(n) for own in numbers.values() for n in own], pa.int32())}
    )


def pair(query, gallery):
    return table_of(query=range(query), gallery=range(gallery))


@pytest.mark.parametrize(
    "numbers, text",
    [
        ([0, 1, 2, 3], None),
        ([3, 1, 0, 2], None),
        ([1, 2, 3], "1 thumbnail of train/train may be missing: bbox_idx runs from 0 to 3 with gaps (0), and"),
        ([0, 2, 4], "2 thumbnails of train/train may be missing: bbox_idx runs from 0 to 4 with gaps (1, 3), and"),
        (
            [0, 12],
            "11 thumbnails of train/train may be missing: bbox_idx runs from 0 to 12 with gaps (1, 2, 3, 4, 5, ...)",
        ),
        (
            [5, 999_999_999],
            "999,999,998 thumbnails of train/train may be missing: bbox_idx runs from 0 to 999,999,999 ",
        ),
    ],
)
def test_gaps(numbers, text):
    lines = missing(table_of(train=numbers), "train")
    assert (lines == []) if text is None else (len(lines) == 1 and lines[0].startswith(text))


def test_roles_have_numbers_of_their_own():
    lines = missing(table_of(query=[0, 1], gallery=[0, 2, 3]), "valid")
    assert len(lines) == 1 and "valid/gallery" in lines[0]
    assert len(missing(table_of(query=[1], gallery=[1]), "test")) == 2


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 60), min_size=1))
def test_gaps_are_the_numbers_that_are_not_there(numbers):
    gaps = [number for number in range(max(numbers)) if number not in numbers]
    lines = missing(table_of(train=sorted(numbers)), "train")
    assert len(lines) == bool(gaps)
    if gaps:
        more = ", ..." if len(gaps) > 5 else ""
        assert lines[0].startswith(f"{len(gaps)} thumb") and f"({', '.join(map(str, gaps[:5]))}{more})" in lines[0]


@pytest.mark.parametrize("split", ["valid", "test", "challenge"])
def test_published_numbers(split):
    query, gallery = PUBLISHED[split]["query"], PUBLISHED[split]["gallery"]
    assert missing(pair(query, gallery), split) == missing(pair(query, gallery), split, True) == []
    lines = missing(pair(query, gallery - 3), split)  # the last three are gone: no gap says so
    assert lines == [f"{split}/gallery has {gallery - 3:,} thumbnails, and SoccerNet publishes {gallery:,}"]
    assert len(missing(pair(query + 1, gallery + 1), split)) == 2
    assert missing(pair(100, 200), split) == []  # a data set of one's own
    assert len(missing(pair(100, 200), split, True)) == 2  # of SoccerNet's download it is a rest


def test_a_million_numbers_take_no_time():
    numbers = np.delete(np.arange(1_000_000), [7, 500_000])
    assert "(7, 500000)" in missing(table_of(train=numbers), "train")[0]
