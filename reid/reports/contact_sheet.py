"""The contact sheet: the thumbnails of a few actions of typical size, a column per identity, as PNG."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from reid.core.tables import column
from reid.reports.drawing import font, save_sheet, tile
from reid.reports.palette import LINE, QUERY, TEXT, WHITE

_CELL, _GAP, _LINE, _COLUMNS = (112, 56), 4, 18, 16  # pixels: height x width of an image, between, of text; columns
_PAGE = _COLUMNS * (_CELL[1] + _GAP) + 3 * _GAP  # pixels, width
_ACTIONS = 4  # of a sheet, at most

Column = tuple[int | None, list[int]]


def typical_actions(table: pa.Table, number: int) -> list[int]:
    """The actions whose number of boxes is nearest to the median.

    Args:
        table: an index (column action_idx).
        number: how many at most.

    Returns:
        action_idx, ascending
    """
    actions, counts = np.unique(column(table, "action_idx"), return_counts=True)
    order = np.lexsort((actions, np.abs(counts - np.median(counts))))
    return sorted(actions[order[:number]].tolist())


def _columns(table: pa.Table, rows: list[int]) -> list[Column]:
    """The boxes of one action as columns: of each query, then of each other identity, then what has no label.

    Returns:
        list of (row of the query or None, rows of the other boxes)
    """
    is_query = [role == "query" for role in table["role"].take(rows).to_pylist()]
    identity = column(table, "person_uid")[rows].tolist()
    columns: dict[Any, Column] = {
        uid if uid >= 0 else (uid, row): (row, []) for row, uid, q in zip(rows, identity, is_query, strict=True) if q
    }
    for row, uid, q in zip(rows, identity, is_query, strict=True):
        if not q:
            columns.setdefault(uid if uid >= 0 else (uid, row), (None, []))[1].append(row)
    return list(columns.values())


def _lines(columns: list[Column], labelled: bool) -> list[list[Column]]:
    """Columns broken into lines of the sheet."""
    queries = sum(query is not None for query, _ in columns)
    # without labels a gallery box belongs under no query, so the gallery starts a line of its own
    groups = [columns] if labelled else [columns[:queries], columns[queries:]]
    return [group[i : i + _COLUMNS] for group in groups for i in range(0, len(group), _COLUMNS)]


def _heading(table: pa.Table, action_idx: int, rows: list[int], columns: list[Column], split: str) -> str:
    """What stands above an action."""
    queries = sum(query is not None for query, _ in columns)
    place = table.slice(rows[0], 1).select(["championship", "season", "game"]).to_pylist()[0].values()
    counts = f"{queries} queries, {len(rows) - queries} gallery boxes" if split != "train" else f"{len(rows)} boxes"
    return f"action {action_idx}: {counts}" + "".join(f"  ·  {part}" for part in place if part)


def _caption(split: str, labelled: bool) -> str:
    if split == "train":
        return f"{split}: each column is one person"
    if labelled:
        return f"{split}: each column is one person; framed the query, below it its matches; the rest has no query"
    return f"{split}: framed the queries, then the gallery; who is who is hidden"


def contact_sheet(path: Path | str, table: pa.Table, store: np.ndarray, split: str) -> None:
    """Draw a few actions of typical size as PNG: a column per identity, queries framed and on top.

    Args:
        path: the file to make.
        table: an index (``reid.reports.statistics.INDEX_COLUMNS``).
        store: its thumbnails, uint8 N x H x W x 3.
        split: its name, for the captions.
    """
    height, width = _CELL
    action = column(table, "action_idx")
    labelled = table["person_uid"].null_count == 0
    texts = [(_GAP, _caption(split, labelled), font(12))]  # top, text, its font
    images: list[tuple[int, int, int, bool]] = []  # left, top, row of the index, whether framed
    rules: list[int] = []  # top
    y = 2 * _GAP + _LINE
    for idx in typical_actions(table, _ACTIONS):
        rows = np.flatnonzero(action == idx).tolist()
        columns = _columns(table, rows)
        texts.append((y, _heading(table, idx, rows, columns, split), font(13)))
        y += _LINE + _GAP
        lines = _lines(columns, labelled)
        for number, line in enumerate(lines, start=1):
            top = int(any(query is not None for query, _ in line))  # images of queries stand above the others
            for i, (query, others) in enumerate(line):
                x = 2 * _GAP + i * (width + _GAP)
                if query is not None:
                    images.append((x, y, query, True))
                images += [(x, y + (k + top) * (height + _GAP), row, False) for k, row in enumerate(others)]
            y += (top + max(len(others) for _, others in line)) * (height + _GAP) + _GAP
            if labelled and number < len(lines):  # or the next images would seem to be of the same people
                rules.append(y)
                y += 2 * _GAP
        y += 2 * _GAP
    sheet = Image.new("RGB", (_PAGE, y), WHITE)
    draw = ImageDraw.Draw(sheet)
    for above, text, of in texts:
        draw.text((2 * _GAP, above), text, fill=TEXT, font=of)
    for above in rules:
        draw.line((2 * _GAP, above, _PAGE - 2 * _GAP, above), fill=LINE)
    for x, above, row, framed in images:
        sheet.paste(tile(store[row], height, width), (x, above))
        if framed:
            draw.rectangle((x - 2, above - 2, x + width + 1, above + height + 1), outline=QUERY, width=3)
    save_sheet(sheet, path)
