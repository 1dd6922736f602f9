"""Which queries and boxes are explained, and the picture of their maps (see :mod:`reid.activation`)."""

import textwrap
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from reid.drawing import BLUE, ORANGE, TEXT, font, save_sheet, tile
from reid.errors import ReidError
from reid.metrics import average_precision, first_hit, rank
from reid.ranking import BOX_COLUMNS, check_ranked, rows_of, scored_rows
from reid.worst import ranked_boxes

COLUMNS = [*BOX_COLUMNS, "clazz", "height", "width"]
RIGHT, WRONG = BLUE, ORANGE  # a tick and a cross say it too
_FAINT = "#b0b0b0"
_HEIGHT, _GAP, _LINE = 152, 8, 19  # pixels: of a picture, between, of a line of text
_HEAT = 0.65  # share of the colours in a picture under its map
_MAP = "inferno"  # perceptually uniform, and its order survives in grey


class Row(NamedTuple):
    """A query to explain: row in the index, boxes by rank, size of its gallery, AP and rank of the first right box."""

    row: int
    boxes: list
    gallery: int
    precision: float | None
    first: int | None


def choose(table, pairs, path, queries=None, worst=8, matches=5):
    """The queries to explain with their best ranked boxes, and the first right one where it is not among these.

    Args:
        table: the index of a split (:data:`COLUMNS`).
        pairs: reid.metrics.Pairs of the same split.
        path: their file, for messages.
        queries: bbox_idx of queries; None for those of the lowest AP.
        worst: how many of these; equal ones in order of bbox_idx.
        matches: how many boxes of each.

    Returns:
        list of Row, in the order of ``queries`` or by AP

    Raises:
        ReidError: the distances are not those of the index, there is no such query, or AP is not known.
    """
    ranked = rank(pairs)
    known = ranked.query[ranked.start]
    precision = first = match = None
    if table["person_uid"].null_count == 0:
        match, gallery, own = scored_rows(ranked, table, path)
        precision, first = average_precision(match, ranked.start), first_hit(match, ranked.start)
    else:
        check_ranked(ranked, table, path)
        if queries is None:
            raise ReidError(
                "--worst: the labels of this split are hidden, so nobody knows its worst queries; name some with "
                f"--queries, as --queries {' '.join(map(str, known[:3]))}"
            )
        own, gallery = rows_of(ranked, table)
        own = own[ranked.start]
    if queries is None:
        chosen = np.argsort(precision, kind="stable")[:worst].tolist()
    else:
        position = {int(idx): i for i, idx in enumerate(known)}
        for idx in queries:
            if idx not in position:
                near = sorted(known[np.argsort(abs(known - idx), kind="stable")[:5]].tolist())
                raise ReidError(
                    f"--queries: there is no query {idx} in this split; near are {', '.join(map(str, near))}"
                )
        chosen = [position[idx] for idx in queries]
    size = np.diff(ranked.start, append=len(ranked.query))
    rows = []
    for i in chosen:
        boxes = ranked_boxes(ranked, match, gallery, pairs, i, matches)
        scores = (None, None) if first is None else (float(precision[i]), int(first[i]))
        rows.append(Row(int(own[i]), boxes, int(size[i]), *scores))
    return rows


def heat(picture, values, top):
    """A picture in grey under the colours of its map.

    Args:
        picture: PIL.Image
        values: float32 array h x w; what is below 0 is shown as 0.
        top: the value of the brightest colour.

    Returns:
        PIL.Image of the same size
    """
    from matplotlib import colormaps

    smooth = Image.fromarray(np.clip(values, 0, None).astype(np.float32)).resize(
        picture.size, Image.Resampling.BICUBIC
    )
    colours = colormaps[_MAP](np.clip(np.asarray(smooth) / max(top, 1e-12), 0, 1))[..., :3] * 255
    grey = np.asarray(picture.convert("L"), np.float64)[..., None]
    return Image.fromarray(np.rint(_HEAT * colours + (1 - _HEAT) * grey).astype(np.uint8))


def _heading(row, table):
    """What stands above a row."""
    bbox, action, name = (table[field][row.row].as_py() for field in ("bbox_idx", "action_idx", "clazz"))
    parts = [f"query {bbox}", name, f"action {action}", f"{row.gallery} boxes"]
    if row.precision is not None:
        parts += [f"AP {row.precision:.3f}", f"first right box at rank {row.first}"]
    return "  ·  ".join(part for part in parts if part)


def _caption(labelled, far, grid):
    marks = "✓ right, ✗ wrong" + ("; the first right box stands behind … where it is further down" if far else "")
    return (
        "Each picture, and beside it what raised the cosine similarity of query and box in this model: bright places "
        "added most, black ones nothing, or they lowered it. The query's own map is for its similarity to the first "
        f"box. One scale for each row; a map has {grid[0]} x {grid[1]} places and is drawn smooth. "
        f"{marks + '. ' if labelled else ''}Under a box: its rank and its distance as it was ranked."
    )


def draw(path, rows, maps, table, store):
    """Draw the queries, one to a row, as PNG: the query and its boxes, beside each the map.

    Args:
        path: the file to make.
        rows: list of Row.
        maps: list of float32 arrays, one per row: (1 + boxes) x h x w, that of the query first.
        table: the index (:data:`COLUMNS`).
        store: its thumbnails, uint8 N x H x W x 3.
    """
    bold, plain, small = font(14, bold=True), font(13), font(12)
    wide = max(1, round(_HEIGHT * store.shape[2] / store.shape[1]))
    cell = 2 * wide + 2
    far = any(box.rank != i for row in rows for i, box in enumerate(row.boxes, start=1))
    step, dots = cell + 2 * _GAP, 3 * _GAP
    width = 2 * _GAP + max(
        (1 + len(row.boxes)) * step + dots * (1 + (row.boxes[-1].rank != len(row.boxes))) for row in rows
    )
    width = max(width, 640)
    labelled = rows[0].first is not None
    lines = textwrap.wrap(
        _caption(labelled, far, maps[0].shape[1:]), int((width - 4 * _GAP) / small.getlength("n") * 1.08)
    )
    top = 2 * _GAP + len(lines) * _LINE + _LINE + 3 * _GAP
    row_height = _LINE + _GAP + _HEIGHT + _LINE + 3 * _GAP
    sheet = Image.new("RGB", (width, top + len(rows) * row_height), "white")
    pen = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        pen.text((2 * _GAP, 2 * _GAP + i * _LINE), line, fill=TEXT, font=small)
    _scale(sheet, pen, 2 * _GAP, 3 * _GAP + len(lines) * _LINE, small)
    for number, (row, found) in enumerate(zip(rows, maps, strict=True)):
        y = top + number * row_height
        pen.line((2 * _GAP, y - _GAP, width - 2 * _GAP, y - _GAP), fill=_FAINT)
        pen.text((2 * _GAP, y), _heading(row, table), fill=TEXT, font=bold)
        y += _LINE + _GAP
        highest, x, before = float(found.max()), 2 * _GAP, 0
        for box, values in zip([None, *row.boxes], found, strict=True):
            if box and box.rank == 1:
                pen.line((x + _GAP / 2, y, x + _GAP / 2, y + _HEIGHT + _LINE), fill=TEXT, width=2)
                x += dots
            elif box and box.rank != before + 1:
                pen.text((x, y + _HEIGHT // 2), "…", fill=TEXT, font=bold)
                x += dots
            picture = tile(store[box.row if box else row.row], _HEIGHT, wide)
            sheet.paste(picture, (x, y))
            sheet.paste(heat(picture, values, highest), (x + wide + 2, y))
            text, colour = "query", TEXT
            if box:
                mark = {None: "", True: "✓ ", False: "✗ "}[box.right]
                colour = {None: TEXT, True: RIGHT, False: WRONG}[box.right]
                text, before = f"{mark}{box.rank}:  {box.distance:#.3g}", box.rank
                pen.rectangle((x - 3, y - 3, x + cell + 2, y + _HEIGHT + 2), outline=colour, width=2)
            pen.text((x, y + _HEIGHT + _GAP / 2 + 1), text, fill=colour, font=plain)
            x += step
    save_sheet(sheet, path)


def _scale(sheet, pen, x, y, small):
    """The colours of the maps from none to most."""
    from matplotlib import colormaps

    pen.text((x, y), "adds nothing", fill=TEXT, font=small)
    x += int(small.getlength("adds nothing")) + _GAP
    colours = np.rint(colormaps[_MAP](np.linspace(0, 1, 160))[:, :3] * 255).astype(np.uint8)
    sheet.paste(Image.fromarray(np.repeat(colours[None], 12, 0)), (x, y + 2))
    pen.text((x + 160 + _GAP, y), "adds most in its row", fill=TEXT, font=small)
