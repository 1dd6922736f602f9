"""The ranked lists of chosen queries as one image (`visrank` of other toolkits)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from reid.reports.chosen_queries import Chosen
from reid.reports.ranked_sheet import RankedQuery, ranked_sheet
from reid.reports.scorecard import TRAINED_ON

_KEY = "Framed in blue the query, then its best boxes with their distances."
_MATCHES = "Match: tick and frame, no match: cross. Behind the bar the first match, where it comes later."
_HIDDEN = "The labels of this split are hidden, so nobody knows which are matches."


def _heading(query: Chosen, table: pa.Table) -> tuple[str, str]:
    """What is known of a query, in two parts."""
    row = table.slice(query.row, 1).to_pylist()[0]
    size = query.gallery_size
    more = [f"action {row['action_idx']}", f"{row['height']} pixels high", f"{size} {'box' if size == 1 else 'boxes'}"]
    if row["clazz"] is not None:
        more.insert(1, row["clazz"].replace("_", " "))
    if query.first_match_rank is not None:
        more.append(f"first match at rank {query.first_match_rank}")
    score = "" if query.ap is None else f"   AP {query.ap:.3f}"
    return f"query {row['bbox_idx']}{score}", "  ·  ".join(more)


def draw_ranked_list(
    path: Path | str,
    split: str,
    trained_on: bool,
    chosen: Sequence[Chosen],
    boxes: int,
    table: pa.Table,
    store: np.ndarray,
) -> None:
    """Draw queries, one to a line, with their best ranked boxes as PNG.

    Args:
        path: the file to make.
        split: its name.
        trained_on: whether it was trained on; the sheet then says that it is not a valid result.
        chosen: the queries.
        boxes: how many of each were asked for.
        table: the index (``reid.reports.chosen_queries.COLUMNS``).
        store: its thumbnails, uint8 N x H x W x 3.
    """
    lines = [RankedQuery(*_heading(query, table), query.row, query.boxes) for query in chosen]
    key = [_KEY, _HIDDEN if chosen[0].ap is None else _MATCHES]
    notice = TRAINED_ON.format(split) if trained_on else ""
    ranked_sheet(path, f"{split}: ranked lists", key, notice, lines, boxes, store)
