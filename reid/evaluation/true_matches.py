"""Which boxes of a ranking are true matches: the only place where a ranking meets the labels."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from reid.core.errors import ReidError
from reid.core.tables import column
from reid.ranking.query_gallery import rows_of
from reid.ranking.ranking_file import check_ranked
from reid.retrieval.order import Ranked


def scored_rows(ranked: Ranked, table: pa.Table, path: Path | str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which boxes of a ranking are true matches, and where they stand in the index; the ranking is checked first.

    Args:
        ranked: the ranking.
        table: the index (columns role, bbox_idx, action_idx, person_uid).
        path: the ranking's file, for messages.

    Returns:
        (bool array, int64 array, int64 array): match and row in the index of each (query, gallery box) in ranked
        order; row of each query, in ascending order of bbox_idx

    Raises:
        ReidError: the ranking has problems, the split has no labels, or a query has no match.
    """
    check_ranked(ranked, table, path)
    person = column(table, "person_uid")
    if (person < 0).any():
        raise ReidError("this split has no labels to score with (the challenge's are hidden)")
    own, other = rows_of(ranked, table)
    match = person[own] == person[other]
    without = np.flatnonzero(~np.logical_or.reduceat(match, ranked.start))
    if len(without):
        query = ranked.query[ranked.start[without[0]]]
        raise ReidError(f"query {query}: its person is not in the gallery, so it cannot be scored")
    return match, other, own[ranked.start]
