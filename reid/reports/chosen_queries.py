"""Queries that someone names, or the worst ones, with their best ranked boxes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from reid.core.errors import ReidError
from reid.evaluation.true_matches import scored_rows
from reid.ranking.query_gallery import BOX_COLUMNS, rows_of
from reid.ranking.ranking_file import check_ranked
from reid.reports.named_rows import near_numbers
from reid.reports.ranked_boxes import Box, ranked_boxes
from reid.retrieval.metrics import average_precision, first_match_rank
from reid.retrieval.order import Pairs, rank

LARGEST = 1500  # images of a sheet
COLUMNS = [*BOX_COLUMNS, "clazz", "height", "width"]


class Chosen(NamedTuple):
    """A query: row in the index, boxes by rank, size of its gallery, AP and rank of its first match.

    The last two are None where the labels are hidden.
    """

    row: int
    boxes: list[Box]
    gallery_size: int
    ap: float | None
    first_match_rank: int | None


def choose(
    table: pa.Table,
    pairs: Pairs,
    path: Path | str,
    queries: Sequence[int] | None = None,
    worst: int = 8,
    matches: int = 5,
) -> list[Chosen]:
    """The queries with their best ranked boxes, and the first match where it is not among these.

    Args:
        table: the index of a split (:data:`COLUMNS`).
        pairs: of the same split.
        path: their file, for messages.
        queries: bbox_idx of queries; None for those of the lowest AP.
        worst: how many of these; equal ones in order of bbox_idx.
        matches: how many boxes of each.

    Returns:
        list of Chosen, in the order of ``queries`` or by AP

    Raises:
        ReidError: the distances are not those of the index, there is no such query, or AP is not known.
    """
    ranked = rank(pairs)
    known = ranked.query[ranked.start]
    match = ap = first = None
    if table["person_uid"].null_count == 0:
        match, gallery_row, query_row = scored_rows(ranked, table, path)
        ap, first = average_precision(match, ranked.start), first_match_rank(match, ranked.start)
    else:
        check_ranked(ranked, table, path)
        own, gallery_row = rows_of(ranked, table)
        query_row = own[ranked.start]
    if queries is not None:
        positions = _positions(known, queries)
    elif ap is not None:
        positions = np.argsort(ap, kind="stable")[:worst].tolist()
    else:
        raise ReidError(
            "--worst: the labels of this split are hidden, so nobody knows its worst queries; name some with "
            f"--queries, as --queries {' '.join(map(str, known[:3]))}"
        )
    size = np.diff(ranked.start, append=len(ranked.query))
    return [
        Chosen(
            int(query_row[i]),
            ranked_boxes(ranked, match, gallery_row, pairs, i, matches),
            int(size[i]),
            None if ap is None else float(ap[i]),
            None if first is None else int(first[i]),
        )
        for i in positions
    ]


def _positions(known: np.ndarray, queries: Sequence[int]) -> list[int]:
    """Where the bbox_idx of queries stand among all."""
    position = {int(idx): i for i, idx in enumerate(known)}
    for idx in queries:
        if idx not in position:
            raise ReidError(f"--queries: there is no query {idx} in this split; near are {near_numbers(known, idx)}")
    return [position[idx] for idx in queries]
