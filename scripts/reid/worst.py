"""The queries that a ranking got most wrong, as one picture: what they show, and what was taken for them."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from reid.drawing import BLUE, GREY, ORANGE, QUIET, TEXT, font, save_sheet, tile
from reid.scorecard import NOTICE

QUERIES, PER_ACTION, BOXES = 10, 2, 8  # on a sheet, of one action, of one query
_HEIGHT, _WIDEST, _GAP, _LINE = 136, 160, 8, 20  # pixels: of a picture, at most, between, of text
_KEY = (  # of the sheet, by the line
    "{} of {:,}, no more than {} of one action. Framed in blue the query, then its best boxes with their distances:",
    "tick and frame right, cross wrong. Behind the bar the first right box, where it comes later.",
)
_RIGHT, _WRONG = "#0b6e38", "#b3261e"


class Box(NamedTuple):
    """A ranked box: row in the index, rank from 1, distance to the query, whether it is right (None: not known)."""

    row: int
    rank: int
    distance: float
    right: bool | None


def worst_queries(precision, action, number=QUERIES, per_action=PER_ACTION):
    """The queries of lowest AP, few of one action, so that one bad scene does not fill the sheet.

    Args:
        precision: float64 array, AP of every query, in ascending order of bbox_idx, which breaks ties.
        action: int array, the action of each.
        number: how many at most.
        per_action: how many of one action at most.

    Returns:
        list of int: positions in the arrays, worst first
    """
    chosen, taken = [], {}
    for i in np.argsort(precision, kind="stable").tolist():
        own = int(action[i])
        if taken.get(own, 0) < per_action:
            taken[own] = taken.get(own, 0) + 1
            chosen.append(i)
            if len(chosen) == number:
                break
    return chosen


def ranked_boxes(ranked, match, gallery_row, pairs, position, boxes=BOXES):
    """The best ranked boxes of a query, and the first right one where it is not among them.

    Args:
        ranked: reid.metrics.Ranked
        match, gallery_row: of ``reid.ranking.scored_rows``; no ``match`` (None) where the labels are hidden.
        pairs: reid.metrics.Pairs that were ranked.
        position: of the query in ``ranked.start``.
        boxes: how many.

    Returns:
        list of Box, by rank
    """
    first = ranked.start[position]
    size = np.append(ranked.start, len(ranked.query))[position + 1] - first
    own = pairs.query == ranked.query[first]
    distance = dict(zip(pairs.gallery[own].tolist(), pairs.distance[own].tolist(), strict=True))
    shown = list(range(min(boxes, size)))
    if match is not None and not match[first : first + len(shown)].any():
        shown.append(int(np.argmax(match[first : first + size])))
    return [
        Box(int(gallery_row[i]), k + 1, distance[int(ranked.gallery[i])], None if match is None else bool(match[i]))
        for k, i in ((k, first + k) for k in shown)
    ]


def _mark(draw, x, y, right):
    """A tick or a cross on a disc, centred at (x, y)."""
    draw.ellipse((x - 10, y - 10, x + 10, y + 10), fill=_RIGHT if right else _WRONG, outline="white", width=2)
    if right:
        draw.line(((x - 5, y), (x - 1, y + 4), (x + 5, y - 4)), fill="white", width=3, joint="curve")
    else:
        draw.line((x - 4, y - 4, x + 4, y + 4), fill="white", width=3)
        draw.line((x - 4, y + 4, x + 4, y - 4), fill="white", width=3)


def _heading(query):
    """What is known of a query (a row of ``reid.queries``), in two parts: the first is set bold."""
    one = query["positives"] == 1
    return f"query {query['bbox_idx']}   AP {query['AP']:.3f}", (
        f"action {query['action_idx']}  ·  {query['clazz'].replace('_', ' ')}  ·  {query['height']} pixels high  ·  "
        f"{query['positives']} right {'box' if one else 'boxes'} of {query['gallery_size']}, "
        f"{'at' if one else 'the first at'} rank {query['first_right']}"
    )


def worst_sheet(path, split, trained_on, queries, total, store):
    """Draw queries with their best ranked boxes as PNG.

    Args:
        path: the file to make.
        split: its name.
        trained_on: whether it was trained on; the sheet then says that it is no result.
        queries: list of (dict, int, list of Box): a row of ``reid.queries``, its row in the index, its boxes.
        total: how many queries the split has.
        store: thumbnails, uint8 N x H x W x 3.
    """
    height = _HEIGHT
    width = min(_WIDEST, max(1, round(height * store.shape[2] / store.shape[1])))
    step, first = max(width, 56) + _GAP, 2 * _GAP
    gallery = first + step + 3 * _GAP
    page = gallery + BOXES * step + 5 * _GAP + step + _GAP
    line = _LINE + height + 2 * _GAP + _LINE + 2 * _GAP
    small, normal, bold, title = font(12), font(13), font(13, bold=True), font(17, bold=True)
    top = 4 * _GAP + 3 * _LINE + (2 * _LINE if trained_on else 0)
    page = max(page, 900)
    sheet = Image.new("RGB", (page, top + len(queries) * line), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((first, _GAP), f"{split}: the queries of lowest AP", fill=TEXT, font=title)
    for i, text in enumerate(_KEY):
        draw.text((first, _GAP + 28 + 17 * i), text.format(len(queries), total, PER_ACTION), fill=QUIET, font=small)
    if trained_on:
        text, y = NOTICE.format(split), top - 2 * _LINE - _GAP
        box = draw.textbbox((first + _GAP, y + 5), text, font=bold)
        draw.rectangle((first, y, box[2] + _GAP, y + 27), fill="#fff1d0", outline=ORANGE)
        draw.text((first + _GAP, y + 5), text, fill=TEXT, font=bold)

    def picture(x, y, row):
        sheet.paste(tile(store[row], height, width), (x, y))

    for number, (query, row, boxes) in enumerate(queries):
        y = top + number * line
        draw.line((first, y - _GAP, page - first, y - _GAP), fill="#d5dae0")
        known, more = _heading(query)
        draw.text((first, y), known, fill=TEXT, font=bold)
        draw.text((first + draw.textlength(known, font=bold) + 2 * _GAP, y), more, fill=TEXT, font=normal)
        y += _LINE + _GAP
        picture(first, y, row)
        draw.rectangle((first - 3, y - 3, first + width + 2, y + height + 2), outline=BLUE, width=3)
        for place, box in enumerate(boxes):
            x = gallery + place * step
            if box.rank > BOXES:
                x = gallery + BOXES * step + 5 * _GAP
                middle = x - 3 * _GAP - _GAP // 2
                draw.line((middle, y, middle, y + height), fill=GREY, width=2)
            picture(x, y, box.row)
            if box.right:
                draw.rectangle((x - 3, y - 3, x + width + 2, y + height + 2), outline=_RIGHT, width=3)
            _mark(draw, x + width - 10, y + height - 10, box.right)
            text = f"{box.distance:.3f}" if box.rank <= BOXES else f"rank {box.rank}: {box.distance:.3f}"
            draw.text((x, y + height + 5), text, fill=TEXT, font=small)
    save_sheet(sheet, path)
