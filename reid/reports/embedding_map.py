"""A map of embeddings in two dimensions whose points are the thumbnails themselves."""

import math
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from reid.core.tables import column, is_query
from reid.raw.filenames import CLASSES
from reid.reports.drawing import font, save_sheet, tile
from reid.reports.leader_lines import draw_links
from reid.reports.named_rows import GAME_COLUMNS
from reid.reports.palette import (
    BLACK,
    BLUE,
    GREEN,
    HIDDEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    TEXT,
    VERMILLION,
    WHITE,
)
from reid.reports.projection import FEW, arrange, grid_of

COLUMNS = ["role", "bbox_idx", "action_idx", "person_uid", "clazz", *GAME_COLUMNS]
LARGEST = 1500  # boxes; more would be an image that nobody can read
_LINE, _GAP, _APART = 20, 12, 12


class Style(NamedTuple):
    """How the boxes of a class are marked; the letters distinguish what shares a colour."""

    letters: str
    colour: str


STYLES = dict(
    zip(
        CLASSES,
        (
            Style("PL", BLUE),
            Style("PR", VERMILLION),
            Style("GL", SKY_BLUE),
            Style("GR", ORANGE),
            Style("MR", GREEN),
            Style("SR", GREEN),
            Style("ST", PURPLE),
            Style("P1", HIDDEN),
            Style("P2", HIDDEN),
            Style("GU", HIDDEN),
        ),
        strict=True,
    )
)
_NO_CLASS = Style("", HIDDEN)


class _Entry(NamedTuple):
    """What the legend says of one kind of box: how it is marked, whether it is the queries', and its name."""

    style: Style
    query: bool
    text: str


def _sizes(boxes: int, aspect: float) -> tuple[tuple[int, int], int, int]:
    """(height, width) of a thumbnail in pixels, and columns and lines of the grid."""
    height = int(np.clip(1500 / math.sqrt(boxes), 64, 132))
    width = max(8, round(height / aspect))
    return (height, width), *grid_of(boxes, height + _APART, width + _APART)


def _matches(table: pa.Table, rows: np.ndarray) -> list[tuple[int, int]]:
    """Positions in ``rows`` of each query and its matches."""
    query, person = is_query(table)[rows], column(table, "person_uid")[rows]
    boxes: dict[int, list[int]] = {}
    for i in np.flatnonzero(~query).tolist():
        boxes.setdefault(int(person[i]), []).append(i)
    return [(i, j) for i in np.flatnonzero(query & (person >= 0)).tolist() for j in boxes.get(int(person[i]), [])]


def draw_map(
    path: Path | str, table: pa.Table, rows: np.ndarray, places: np.ndarray, store: np.ndarray, title: str
) -> None:
    """Draw the thumbnails at their places as PNG.

    Args:
        path: the file to make.
        table: the index (:data:`COLUMNS`).
        rows: int64 array, its rows that are shown.
        places: float array, one (x, y) for each of them.
        store: its thumbnails, uint8 N x H x W x 3.
        title: what stands above.
    """
    bold, plain, tiny = font(16, bold=True), font(13), font(10, bold=True)
    (height, width), columns, lines = _sizes(len(rows), store.shape[1] / store.shape[2])
    cell = np.array([width + _APART, height + _APART])
    # seen from the side where it is wide
    places = places if np.ptp(places[:, 0]) >= np.ptp(places[:, 1]) else places[:, ::-1]
    cells = arrange(places, columns, lines)
    page = int(max(columns * cell[0], 700)) + 2 * _GAP
    query, classes = is_query(table)[rows], [table["clazz"][row].as_py() for row in rows.tolist()]
    links = _matches(table, rows)
    caption = textwrap.wrap(_caption(bool(query.any()), bool(links), len(rows)), int((page - 2 * _GAP) / 7.2))
    legend = _legend(classes, query, page, plain)
    top = 2 * _GAP + _LINE * (1 + len(caption)) + (_LINE + 6) * len(legend) + _GAP
    sheet = Image.new("RGB", (page, int(top + lines * cell[1] + _GAP)), WHITE)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), title, fill=TEXT, font=bold)
    for i, line in enumerate(caption, start=1):
        pen.text((_GAP, _GAP + 4 + i * _LINE), line, fill=TEXT, font=plain)
    y = _GAP * 1.5 + (1 + len(caption)) * _LINE
    for entries in legend:
        for at, entry in entries:
            _frame(pen, (at + 4, y + 2, at + 28, y + 18), entry.style.colour, entry.query)
            pen.text((at + 16, y + 10), entry.style.letters, fill=TEXT, font=tiny, anchor="mm")
            pen.text((at + 36, y + 2), entry.text, fill=TEXT, font=plain)
        y += _LINE + 6
    corner = (_GAP + _APART // 2, top + _APART // 2) + cells * cell
    for i in np.argsort(query, kind="stable").tolist():
        left, above = corner[i].tolist()
        letters, colour = STYLES.get(classes[i], _NO_CLASS)
        sheet.paste(tile(store[rows[i]], height, width), (left, above))
        _frame(pen, (left, above, left + width - 1, above + height - 1), colour, query[i])
        if letters:
            pen.rectangle((left, above + height - 13, left + 20, above + height - 1), fill=WHITE, outline=colour)
            pen.text((left + 10.5, above + height - 7), letters, fill=TEXT, font=tiny, anchor="mm")
    draw_links(sheet, links, corner, (width, height), _APART)
    save_sheet(sheet, path)


def _frame(pen: ImageDraw.ImageDraw, box: tuple[float, float, float, float], colour: str, double: bool) -> None:
    """The frame of a gallery box, or the double one of a query."""
    pen.rectangle(box, outline=colour, width=2)
    if double:
        pen.rectangle((box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3), outline=BLACK, width=3)


def _caption(queries: bool, links: bool, boxes: int) -> str:
    how = (
        "Near images have near embeddings (multidimensional scaling of the angles)"
        if boxes <= FEW
        else "Neighbours have near embeddings, but how far apart groups lie says nothing (t-SNE)"
    )
    text = f"{how}; moved to cells of a grid, so that none covers another."
    text += " A black frame is a query." * queries
    text += " A line leads from a query to a dot at each of its matches, around other images;" * links
    return text + " the lines of a query have one colour." * links


def _legend(
    classes: list[str | None], query: np.ndarray, page: int, plain: ImageFont.FreeTypeFont
) -> list[list[tuple[int, _Entry]]]:
    """The legend line by line: where each entry begins (x, pixels), and the entry."""
    entries = [
        _Entry(style, False, f"{name.replace('_', ' ')} ({classes.count(name)})")
        for name, style in STYLES.items()
        if name in classes
    ]
    if None in classes:
        entries.append(_Entry(_NO_CLASS, False, f"class hidden ({classes.count(None)})"))
    if query.any():
        entries.append(_Entry(Style("", WHITE), True, f"query ({int(query.sum())})"))
    lines: list[list[tuple[int, _Entry]]] = [[]]
    x = _GAP
    for entry in entries:
        wide = 36 + int(plain.getlength(entry.text)) + 2 * _GAP
        if x + wide > page and lines[-1]:
            lines.append([])
            x = _GAP
        lines[-1].append((x, entry))
        x += wide
    return lines
