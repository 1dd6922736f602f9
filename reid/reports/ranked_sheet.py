"""Queries with their best ranked boxes as one image, a line each."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from reid.reports.drawing import font, save_sheet, tile
from reid.reports.palette import GREY, LINE, MATCH, NO_MATCH, NOTICE, QUERY, QUIET, TEXT, VERMILLION, WHITE
from reid.reports.ranked_boxes import Box

_HEIGHT, _WIDEST, _GAP, _LINE = 136, 160, 8, 20  # pixels: of an image, at most, between, of text
_BAR = 5 * _GAP  # pixels: for the bar before a late match
_CAPTION = 110  # pixels: of the text below a late match


class RankedQuery(NamedTuple):
    """A line of the sheet: what stands above it (the first part is set bold), row of the query in the index, boxes."""

    known: str
    more: str
    row: int
    boxes: list[Box]


def _mark(draw: ImageDraw.ImageDraw, x: int, y: int, match: bool) -> None:
    """A tick or a cross on a disc, centred at (x, y)."""
    draw.ellipse((x - 10, y - 10, x + 10, y + 10), fill=MATCH if match else NO_MATCH, outline=WHITE, width=2)
    if match:
        draw.line(((x - 5, y), (x - 1, y + 4), (x + 5, y - 4)), fill=WHITE, width=3, joint="curve")
    else:
        draw.line((x - 4, y - 4, x + 4, y + 4), fill=WHITE, width=3)
        draw.line((x - 4, y + 4, x + 4, y - 4), fill=WHITE, width=3)


def _frame(draw: ImageDraw.ImageDraw, x: int, y: int, width: int, colour: str) -> None:
    """A frame around the image whose corner is (x, y)."""
    draw.rectangle((x - 3, y - 3, x + width + 2, y + _HEIGHT + 2), outline=colour, width=3)


def ranked_sheet(
    path: Path | str,
    title: str,
    key: list[str],
    notice: str,
    lines: list[RankedQuery],
    boxes: int,
    store: np.ndarray,
) -> None:
    """Draw queries with their best ranked boxes as PNG.

    Args:
        path: the file to make.
        title: what stands above.
        key: how to read it, a line each; up to two.
        notice: a warning below; empty for none.
        lines: the queries.
        boxes: how many of a query there are at most, but for a late first match, which stands behind a bar.
        store: thumbnails, uint8 N x H x W x 3.
    """
    width = min(_WIDEST, max(1, round(_HEIGHT * store.shape[2] / store.shape[1])))
    step, first = max(width, 56) + _GAP, 2 * _GAP
    gallery = first + step + 3 * _GAP
    line = _LINE + _HEIGHT + 2 * _GAP + _LINE + 2 * _GAP
    small, normal, bold, large = font(12), font(13), font(13, bold=True), font(17, bold=True)
    top = 4 * _GAP + 3 * _LINE + (2 * _LINE if notice else 0)
    page = max(gallery + boxes * step + _BAR + max(step, _CAPTION) + _GAP, 900)
    sheet = Image.new("RGB", (page, top + len(lines) * line), WHITE)
    draw = ImageDraw.Draw(sheet)
    draw.text((first, _GAP), title, fill=TEXT, font=large)
    for i, text in enumerate(key):
        draw.text((first, _GAP + 28 + 17 * i), text, fill=QUIET, font=small)
    if notice:
        y = top - 2 * _LINE - _GAP
        edges = draw.textbbox((first + _GAP, y + 5), notice, font=bold)
        draw.rectangle((first, y, edges[2] + _GAP, y + 27), fill=NOTICE, outline=VERMILLION)
        draw.text((first + _GAP, y + 5), notice, fill=TEXT, font=bold)

    def image(x: int, y: int, row: int) -> None:
        sheet.paste(tile(store[row], _HEIGHT, width), (x, y))

    for number, (known, more, row, of_query) in enumerate(lines):
        y = top + number * line
        draw.line((first, y - _GAP, page - first, y - _GAP), fill=LINE)
        draw.text((first, y), known, fill=TEXT, font=bold)
        draw.text((first + draw.textlength(known, font=bold) + 2 * _GAP, y), more, fill=TEXT, font=normal)
        y += _LINE + _GAP
        image(first, y, row)
        _frame(draw, first, y, width, QUERY)
        for place, box in enumerate(of_query):
            x = gallery + place * step
            if box.rank > boxes:
                x = gallery + boxes * step + _BAR
                middle = x - 3 * _GAP - _GAP // 2
                draw.line((middle, y, middle, y + _HEIGHT), fill=GREY, width=2)
            image(x, y, box.row)
            if box.match:
                _frame(draw, x, y, width, MATCH)
            if box.match is not None:
                _mark(draw, x + width - 10, y + _HEIGHT - 10, box.match)
            text = f"{box.distance:.3f}" if box.rank <= boxes else f"rank {box.rank}: {box.distance:.3f}"
            draw.text((x, y + _HEIGHT + 5), text, fill=TEXT, font=small)
    save_sheet(sheet, path)
