"""Whether thumbnails are missing, by what is left: their numbers, and how many of them were published."""

from typing import Any

import numpy as np

from reid.core.tables import column, has_role
from reid.raw.filenames import split_roles

PUBLISHED = {  # thumbnails of SoccerNet-ReID (dev kit, and the real files)
    "train": {"train": 248_234},
    "valid": {"query": 11_638, "gallery": 34_355},
    "test": {"query": 11_777, "gallery": 34_989},
    "challenge": {"query": 9_021, "gallery": 26_082},
}
_NEARLY = 0.9  # of the published number: it is the published data set, and some are missing
_NAMED = 5  # numbers that a message names


def missing(table: Any, split: str, published: bool = False) -> list[str]:
    """What says that thumbnails are missing: gaps in the numbers of a role, and published numbers.

    Args:
        table: pyarrow.Table, the index of a split (columns role, bbox_idx).
        split: which split it is.
        published: whether it must be the published data set; else it is taken for it where the number is near.

    Returns:
        list of str, a line for each role and reason
    """
    lines = []
    for role in split_roles(split):
        numbers = np.unique(column(table, "bbox_idx")[has_role(table, role)])
        count, wanted = len(numbers), PUBLISHED[split][role]
        if not count:
            continue
        if gaps := int(numbers[-1]) + 1 - count:
            first = ", ".join(map(str, _first_gaps(numbers)))
            lines.append(
                f"{gaps:,} thumbnail{'s' * (gaps > 1)} of {split}/{role} may be missing: bbox_idx runs from 0 to "
                f"{numbers[-1]:,} with gaps ({first}{', ...' * (gaps > _NAMED)}), and SoccerNet's has none"
            )
        if count != wanted and (published or count >= _NEARLY * wanted):
            lines.append(f"{split}/{role} has {count:,} thumbnails, and SoccerNet publishes {wanted:,}")
    return lines


def _first_gaps(numbers: np.ndarray) -> list[int]:
    """The first few integers from 0 on that ascending ``numbers`` (int64) leave out."""
    gaps: list[int] = []
    for i in np.flatnonzero(np.diff(numbers, prepend=-1) > 1)[:_NAMED]:
        first = int(numbers[i - 1]) + 1 if i else 0
        gaps += range(first, min(int(numbers[i]), first + _NAMED))
    return gaps[:_NAMED]
