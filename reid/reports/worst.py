"""The queries of lowest AP as one image: what they show, and what was ranked first for them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from reid.core.tables import values
from reid.reports.ranked_boxes import Box, ranked_boxes
from reid.reports.ranked_sheet import RankedQuery, ranked_sheet
from reid.reports.scorecard import TRAINED_ON
from reid.retrieval.order import Pairs, Ranked

QUERIES, PER_ACTION, BOXES = 10, 2, 8  # on a sheet, of one action, of one query
_KEY = (  # of the sheet, by the line
    "{} of {:,}, no more than {} of one action. Framed in blue the query, then its best boxes with their distances:",
    "match: tick and frame, no match: cross. Behind the bar the first match, where it comes later.",
)


class Answer(NamedTuple):
    """How a query was answered: its row of ``reid.evaluation.queries``, its row in the index, its boxes by rank."""

    query: dict[str, Any]
    row: int
    boxes: list[Box]


def worst_queries(
    ap: np.ndarray, action: np.ndarray, number: int = QUERIES, per_action: int = PER_ACTION
) -> list[int]:
    """The queries of lowest AP, few of one action, so that one bad scene does not fill the sheet.

    Args:
        ap: float64 array, AP of every query, in ascending order of bbox_idx, which breaks ties.
        action: int array, the action of each.
        number: how many at most.
        per_action: how many of one action at most.

    Returns:
        positions in the arrays, worst first
    """
    chosen: list[int] = []
    taken: dict[int, int] = {}
    for i in np.argsort(ap, kind="stable").tolist():
        own = int(action[i])
        if taken.get(own, 0) < per_action:
            taken[own] = taken.get(own, 0) + 1
            chosen.append(i)
            if len(chosen) == number:
                break
    return chosen


def worst_answers(
    queries: pa.Table,
    ranked: Ranked,
    match: np.ndarray,
    gallery_row: np.ndarray,
    query_row: np.ndarray,
    pairs: Pairs,
) -> list[Answer]:
    """The worst queries with their best ranked boxes.

    Args:
        queries: of ``reid.evaluation.queries``.
        ranked: their galleries.
        match, gallery_row, query_row: of ``reid.evaluation.true_matches.scored_rows``.
        pairs: those that were ranked.

    Returns:
        list of Answer, worst first
    """
    return [
        Answer(
            queries.slice(i, 1).to_pylist()[0],
            int(query_row[i]),
            ranked_boxes(ranked, match, gallery_row, pairs, i, BOXES),
        )
        for i in worst_queries(values(queries, "AP"), values(queries, "action_idx"))
    ]


def _heading(query: dict[str, Any]) -> tuple[str, str]:
    """What is known of a query, in two parts: the first is set bold."""
    one = query["positives"] == 1
    return f"query {query['bbox_idx']}   AP {query['AP']:.3f}", (
        f"action {query['action_idx']}  ·  {query['clazz'].replace('_', ' ')}  ·  {query['height']} pixels high  ·  "
        f"{query['positives']} {'match' if one else 'matches'} in {query['gallery_size']} "
        f"{'box' if query['gallery_size'] == 1 else 'boxes'}, {'at' if one else 'the first at'} "
        f"rank {query['first_match_rank']}"
    )


def worst_sheet(
    path: Path | str, split: str, trained_on: bool, answers: list[Answer], total: int, store: np.ndarray
) -> None:
    """Draw queries with their best ranked boxes as PNG.

    Args:
        path: the file to make.
        split: its name.
        trained_on: whether it was trained on; the sheet then says that it is not a valid result.
        answers: one to a line.
        total: how many queries the split has.
        store: thumbnails, uint8 N x H x W x 3.
    """
    key = [text.format(len(answers), total, PER_ACTION) for text in _KEY]
    notice = TRAINED_ON.format(split) if trained_on else ""
    lines = [RankedQuery(*_heading(query), row, boxes) for query, row, boxes in answers]
    ranked_sheet(path, f"{split}: the queries of lowest AP", key, notice, lines, BOXES, store)
