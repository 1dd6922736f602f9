"""The queries of lowest AP as one image: what they show, and what was ranked first for them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from reid.core.tables import values
from reid.reports.drawing import font, save_sheet, tile
from reid.reports.palette import GREY, LINE, MATCH, NO_MATCH, NOTICE, QUERY, QUIET, TEXT, VERMILLION, WHITE
from reid.reports.ranked_boxes import Box, ranked_boxes
from reid.reports.scorecard import TRAINED_ON
from reid.retrieval.order import Pairs, Ranked

QUERIES, PER_ACTION, BOXES = 10, 2, 8  # on a sheet, of one action, of one query
_HEIGHT, _WIDEST, _GAP, _LINE = 136, 160, 8, 20  # pixels: of an image, at most, between, of text
_BAR = 5 * _GAP  # pixels: for the bar before a late match
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
    width = min(_WIDEST, max(1, round(_HEIGHT * store.shape[2] / store.shape[1])))
    step, first = max(width, 56) + _GAP, 2 * _GAP
    gallery = first + step + 3 * _GAP
    line = _LINE + _HEIGHT + 2 * _GAP + _LINE + 2 * _GAP
    small, normal, bold, title = font(12), font(13), font(13, bold=True), font(17, bold=True)
    top = 4 * _GAP + 3 * _LINE + (2 * _LINE if trained_on else 0)
    page = max(gallery + BOXES * step + _BAR + step + _GAP, 900)
    sheet = Image.new("RGB", (page, top + len(answers) * line), WHITE)
    draw = ImageDraw.Draw(sheet)
    draw.text((first, _GAP), f"{split}: the queries of lowest AP", fill=TEXT, font=title)
    for i, text in enumerate(_KEY):
        draw.text((first, _GAP + 28 + 17 * i), text.format(len(answers), total, PER_ACTION), fill=QUIET, font=small)
    if trained_on:
        text, y = TRAINED_ON.format(split), top - 2 * _LINE - _GAP
        edges = draw.textbbox((first + _GAP, y + 5), text, font=bold)
        draw.rectangle((first, y, edges[2] + _GAP, y + 27), fill=NOTICE, outline=VERMILLION)
        draw.text((first + _GAP, y + 5), text, fill=TEXT, font=bold)

    def image(x: int, y: int, row: int) -> None:
        sheet.paste(tile(store[row], _HEIGHT, width), (x, y))

    for number, (query, row, boxes) in enumerate(answers):
        y = top + number * line
        draw.line((first, y - _GAP, page - first, y - _GAP), fill=LINE)
        known, more = _heading(query)
        draw.text((first, y), known, fill=TEXT, font=bold)
        draw.text((first + draw.textlength(known, font=bold) + 2 * _GAP, y), more, fill=TEXT, font=normal)
        y += _LINE + _GAP
        image(first, y, row)
        _frame(draw, first, y, width, QUERY)
        for place, box in enumerate(boxes):
            x = gallery + place * step
            if box.rank > BOXES:
                x = gallery + BOXES * step + _BAR
                middle = x - 3 * _GAP - _GAP // 2
                draw.line((middle, y, middle, y + _HEIGHT), fill=GREY, width=2)
            image(x, y, box.row)
            if box.match:
                _frame(draw, x, y, width, MATCH)
            _mark(draw, x + width - 10, y + _HEIGHT - 10, bool(box.match))
            text = f"{box.distance:.3f}" if box.rank <= BOXES else f"rank {box.rank}: {box.distance:.3f}"
            draw.text((x, y + _HEIGHT + 5), text, fill=TEXT, font=small)
    save_sheet(sheet, path)
