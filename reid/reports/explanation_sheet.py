"""The image of an explanation: queries and their boxes, beside each its map."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from reid.reports.chosen_queries import Chosen
from reid.reports.drawing import font, save_sheet, tile
from reid.reports.palette import HEAT, LINE, MATCH, NO_MATCH, TEXT, WHITE
from reid.reports.ranked_boxes import Box

_HEIGHT, _GAP, _LINE = 152, 8, 19  # pixels: of an image, between, of a line of text
_DOTS = 3 * _GAP  # pixels: before a late match
_SHARE = 0.65  # of the colours in an image under its map


def heat(image: Image.Image, values: np.ndarray, top: float) -> Image.Image:
    """An image in grey under the colours of its map, of the same size.

    Args:
        image: RGB.
        values: float32 array h x w; what is below 0 is shown as 0.
        top: the value of the brightest colour.
    """
    from matplotlib import colormaps

    smooth = Image.fromarray(np.clip(values, 0, None).astype(np.float32)).resize(image.size, Image.Resampling.BICUBIC)
    colours = colormaps[HEAT](np.clip(np.asarray(smooth) / max(top, 1e-12), 0, 1))[..., :3] * 255
    grey = np.asarray(image.convert("L"), np.float64)[..., None]
    return Image.fromarray(np.rint(_SHARE * colours + (1 - _SHARE) * grey).astype(np.uint8))


def _heading(query: Chosen, table: pa.Table) -> str:
    """What stands above a query."""
    bbox, action, name = (table[field][query.row].as_py() for field in ("bbox_idx", "action_idx", "clazz"))
    parts = [
        f"query {bbox}",
        name,
        f"action {action}",
        f"{query.gallery_size} box{'es' if query.gallery_size != 1 else ''}",
    ]
    if query.ap is not None:
        parts += [f"AP {query.ap:.3f}", f"first match at rank {query.first_match_rank}"]
    return "  ·  ".join(part for part in parts if part)


def _caption(labelled: bool, late: bool, grid: tuple[int, ...]) -> str:
    marks = "✓ match, ✗ no match" + ("; the first match stands behind … where it is further down" if late else "")
    return (
        "Each image, and beside it what raised the cosine similarity of query and box in this model: bright places "
        "added most, black ones nothing, or they lowered it. The query's own map is for its similarity to the first "
        f"box. One scale for each row; a map has {grid[0]} x {grid[1]} places and is drawn smooth. "
        f"{marks + '. ' if labelled else ''}Under a box: its rank and its distance as it was ranked."
    )


def _label(box: Box | None) -> tuple[str, str]:
    """What stands under a box (None: the query), and in what colour."""
    if box is None:
        return "query", TEXT
    mark, colour = {None: ("", TEXT), True: ("✓ ", MATCH), False: ("✗ ", NO_MATCH)}[box.match]
    return f"{mark}{box.rank}:  {box.distance:#.3g}", colour


def _is_late(query: Chosen) -> bool:
    """Whether the last box does not follow the one before it."""
    return bool(query.boxes) and query.boxes[-1].rank != len(query.boxes)


def draw(
    path: Path | str, chosen: Sequence[Chosen], maps: Sequence[np.ndarray], table: pa.Table, store: np.ndarray
) -> None:
    """Draw the queries, one to a row, as PNG: the query and its boxes, beside each the map.

    Args:
        path: the file to make.
        chosen: the queries.
        maps: of ``reid.reports.explanation.maps_of``.
        table: the index (``reid.reports.chosen_queries.COLUMNS``).
        store: its thumbnails, uint8 N x H x W x 3.
    """
    bold, plain, small = font(14, bold=True), font(13), font(12)
    wide = max(1, round(_HEIGHT * store.shape[2] / store.shape[1]))
    cell = 2 * wide + 2
    step = cell + 2 * _GAP
    width = 2 * _GAP + max((1 + len(query.boxes)) * step + _DOTS * (1 + _is_late(query)) for query in chosen)
    width = max(width, 640)
    lines = textwrap.wrap(
        _caption(chosen[0].ap is not None, any(map(_is_late, chosen)), maps[0].shape[1:]),
        int((width - 4 * _GAP) / small.getlength("n") * 1.08),
    )
    top = 2 * _GAP + len(lines) * _LINE + _LINE + 3 * _GAP
    row_height = _LINE + _GAP + _HEIGHT + _LINE + 3 * _GAP
    sheet = Image.new("RGB", (width, top + len(chosen) * row_height), WHITE)
    pen = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        pen.text((2 * _GAP, 2 * _GAP + i * _LINE), line, fill=TEXT, font=small)
    _scale(sheet, pen, 2 * _GAP, 3 * _GAP + len(lines) * _LINE, small)
    for number, (query, own) in enumerate(zip(chosen, maps, strict=True)):
        y = top + number * row_height
        pen.line((2 * _GAP, y - _GAP, width - 2 * _GAP, y - _GAP), fill=LINE)
        pen.text((2 * _GAP, y), _heading(query, table), fill=TEXT, font=bold)
        y += _LINE + _GAP
        highest, x, before = float(own.max()), 2 * _GAP, 0
        for box, values in zip([None, *query.boxes], own, strict=True):
            if box and box.rank == 1:
                pen.line((x + _GAP / 2, y, x + _GAP / 2, y + _HEIGHT + _LINE), fill=TEXT, width=2)
                x += _DOTS
            elif box and box.rank != before + 1:
                pen.text((x, y + _HEIGHT // 2), "…", fill=TEXT, font=bold)
                x += _DOTS
            image = tile(store[box.row if box else query.row], _HEIGHT, wide)
            sheet.paste(image, (x, y))
            sheet.paste(heat(image, values, highest), (x + wide + 2, y))
            text, colour = _label(box)
            if box:
                before = box.rank
                pen.rectangle((x - 3, y - 3, x + cell + 2, y + _HEIGHT + 2), outline=colour, width=2)
            pen.text((x, y + _HEIGHT + _GAP / 2 + 1), text, fill=colour, font=plain)
            x += step
    save_sheet(sheet, path)


def _scale(sheet: Image.Image, pen: ImageDraw.ImageDraw, x: int, y: int, small: ImageFont.FreeTypeFont) -> None:
    """The colours of the maps from none to most."""
    from matplotlib import colormaps

    pen.text((x, y), "adds nothing", fill=TEXT, font=small)
    x += int(small.getlength("adds nothing")) + _GAP
    colours = np.rint(colormaps[HEAT](np.linspace(0, 1, 160))[:, :3] * 255).astype(np.uint8)
    sheet.paste(Image.fromarray(np.repeat(colours[None], 12, 0)), (x, y + 2))
    pen.text((x + 160 + _GAP, y), "adds most in its row", fill=TEXT, font=small)
