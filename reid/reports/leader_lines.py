"""Lines between images on a grid that run through no other image."""

import numpy as np
from PIL import Image, ImageDraw

from reid.reports.palette import BLUE, GREEN, ORANGE, PURPLE, TEXT, VERMILLION, WHITE

_COLOURS = (TEXT, BLUE, VERMILLION, GREEN, PURPLE, ORANGE)  # of the queries in turn: lines may meet
_STEP = 2  # pixels, between the places of a line that are tested
_LANES, _LANE = 3, 2  # ways side by side in the space between images, and pixels from one to the next


def draw_links(
    sheet: Image.Image, links: list[tuple[int, int]], corner: np.ndarray, size: tuple[int, int], apart: int
) -> None:
    """Lines over a sheet, from the edge of a query to a dot at the edge of a match; those of a query have one colour.

    Args:
        sheet: to draw on.
        links: (query, box), positions in ``corner``.
        corner: int array N x 2, (x, y) of the images.
        size: (width, height) of an image.
        apart: pixels between neighbours on the grid.
    """
    fine = 2  # drawn twice as large for smooth edges
    edge, wide = (5, 2) if len(corner) <= 200 else (3, 1)  # a white edge, or a dark line is lost on a dark image
    ways = [(i, route(i, j, corner, size, apart) * fine) for i, j in links]
    turn = {query: number % len(_COLOURS) for number, query in enumerate(dict(links))}

    def put(chosen: list[np.ndarray], colour: str, width: int, share: float) -> None:
        mask = Image.new("L", (sheet.width * fine, sheet.height * fine))
        pen, reach = ImageDraw.Draw(mask), (width + 4) / 2 * fine
        for way in chosen:
            pen.line([tuple(place) for place in way.tolist()], fill=255, width=width * fine, joint="curve")
            pen.ellipse((*(way[-1] - reach), *(way[-1] + reach)), fill=255)
        mask = mask.resize(sheet.size, Image.Resampling.BOX).point(lambda value: round(value * share))
        sheet.paste(Image.new("RGB", sheet.size, colour), mask=mask)

    put([way for _, way in ways], WHITE, edge, 0.7)
    for number in sorted(set(turn.values())):
        put([way for i, way in ways if turn[i] == number], _COLOURS[number], wide, 1)


def route(i: int, j: int, corner: np.ndarray, size: tuple[int, int], apart: int) -> np.ndarray:
    """The way from one image to another: straight if nothing is in between, else along the spaces of the grid.

    Args:
        i, j: positions in ``corner``.
        corner, size, apart: as for :func:`draw_links`.

    Returns:
        float64 array, places x 2: (x, y) from the edge of i to the edge of j
    """
    straight = _straight(corner[i], corner[j], size)
    others = np.delete(corner, [i, j], axis=0)
    return straight if _is_free(straight, others, size) else _around(i, corner[i], corner[j], size, apart)


def _straight(one: np.ndarray, other: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    half = np.array(size) / 2
    way = (other - one).astype(np.float64)
    inside = (half + 2) / np.maximum(abs(way), 1e-9)  # share of the way that lies in an image, for each side
    return np.array([one + half + inside.min() * way, other + half - inside.min() * way])


def _is_free(way: np.ndarray, corners: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether no place of a straight line lies in an image."""
    steps = max(2, int(np.abs(way[1] - way[0]).max() / _STEP))
    places = way[0] + np.linspace(0, 1, steps)[:, None] * (way[1] - way[0])
    within = (places[:, None] > corners - 1) & (places[:, None] < corners + np.array(size) + 1)
    return not within.all(axis=2).any()


def _around(i: int, one: np.ndarray, other: np.ndarray, size: tuple[int, int], apart: int) -> np.ndarray:
    """From above or below the first image, between the rows, between the columns, to the side of the other."""
    (width, height), lane = size, (i % _LANES - _LANES // 2) * _LANE
    down, right = other[1] > one[1], other[0] > one[0]
    x = one[0] + width / 2 + lane
    start = one[1] + height + 2 if down else one[1] - 2
    between_rows = (one[1] + height + apart / 2 if down else one[1] - apart / 2) + lane
    between_columns = (other[0] - apart / 2 if right else other[0] + width + apart / 2) + lane
    y = other[1] + height / 2
    end = other[0] - 2 if right else other[0] + width + 2
    return np.array(
        [(x, start), (x, between_rows), (between_columns, between_rows), (between_columns, y), (end, y)], np.float64
    )
