"""A map of embeddings in two dimensions whose points are the thumbnails themselves."""

import difflib
import math
import textwrap

import numpy as np
from PIL import Image, ImageDraw

from reid.drawing import TEXT, font, save_sheet, tile
from reid.errors import ReidError
from reid.filenames import CLASSES
from reid.tables import column, is_query

COLUMNS = ["role", "bbox_idx", "action_idx", "person_uid", "clazz", "championship", "season", "game"]
# Okabe and Ito's colours; the letters tell apart what shares one
STYLES = dict(
    zip(
        CLASSES,
        (
            ("PL", "#0072B2"),
            ("PR", "#D55E00"),
            ("GL", "#56B4E9"),
            ("GR", "#E69F00"),
            ("MR", "#009E73"),
            ("SR", "#009E73"),
            ("ST", "#CC79A7"),
            ("P1", "#707070"),
            ("P2", "#707070"),
            ("GU", "#707070"),
        ),
        strict=True,
    )
)
_HIDDEN = ("", "#707070")
LARGEST = 1500  # boxes; more would be a picture that nobody can read
_FEW = 60  # boxes up to which distances as a whole can be kept
_ROOM = 2.2  # cells for each box: empty ones keep groups apart
_LINE, _GAP, _APART = 20, 12, 12


def rows_of_actions(table, actions):
    """Rows of an index that are of the actions: int64 array, ascending.

    Raises:
        ReidError: there is no such action.
    """
    action = column(table, "action_idx")
    known = np.unique(action)
    for idx in actions:
        if idx not in known:
            near = sorted(known[np.argsort(abs(known - idx), kind="stable")[:5]].tolist())
            raise ReidError(f"--action: there is no action {idx} in this split; near are {', '.join(map(str, near))}")
    return np.flatnonzero(np.isin(action, actions))


def rows_of_game(table, name):
    """Rows of an index that are of one game.

    Args:
        table: the index (:data:`COLUMNS`).
        name: of the game, or a part of it that no other game has; small and capital letters are the same.

    Returns:
        (int64 array, str): the rows, ascending; championship, season and game

    Raises:
        ReidError: the games are hidden, or the name fits none or several.
    """
    if table["game"].null_count:
        raise ReidError("--game: the games of this split are hidden; use --action")
    of_row = [
        " / ".join(filter(None, parts)) for parts in zip(*(table[c].to_pylist() for c in COLUMNS[-3:]), strict=True)
    ]
    games = sorted(set(of_row))
    fits = [game for game in games if game.endswith(f" / {name}")] or [g for g in games if name.lower() in g.lower()]
    if len(fits) != 1:
        near = fits or difflib.get_close_matches(name, [game.split(" / ")[-1] for game in games], n=3, cutoff=0.2)
        what = f"{len(fits)} games fit" if fits else "there is no such game"
        shown = "\n".join(f"  - {game}" for game in (near or games)[:10])
        raise ReidError(f"--game {name}: {what}; {'name one of' if fits else 'near are'}\n{shown}")
    return np.flatnonzero([game == fits[0] for game in of_row]), fits[0]


def project(embeddings, seed=0):
    """Places in the plane where near embeddings are near.

    Up to 60 embeddings by metric multidimensional scaling (SMACOF), which keeps distances on the whole; more by PCA to
    50 components and t-SNE (van der Maaten and Hinton 2008), which keeps neighbours, and no distances.

    Args:
        embeddings: float array N x D. They are compared by angle: cosine distance orders as the Euclidean one does
            between vectors of length 1.
        seed: of what t-SNE leaves to chance.

    Returns:
        float64 array N x 2
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    length = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    unit = embeddings / np.maximum(length, 1e-12)
    with threadpool_limits(1):  # threads would sum in another order, and give another map
        if len(unit) < 3 or np.ptp(unit, axis=0).max() < 1e-12:
            return np.stack([np.arange(len(unit), dtype=np.float64), np.zeros(len(unit))], axis=1)
        parts = min(50, *unit.shape)
        reduced = PCA(parts, svd_solver="full").fit_transform(unit)
        if len(unit) <= _FEW:
            return _scaled_distances(reduced)
        from sklearn.manifold import TSNE

        perplexity = min(30, len(unit) / 5)
        found = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced.astype(np.float32))
        return found.astype(np.float64)


def _scaled_distances(points, rounds=300):
    """Metric multidimensional scaling that starts at the first two principal components."""
    from scipy.spatial.distance import cdist
    from sklearn.manifold import smacof

    start = np.zeros((len(points), 2))
    start[:, : points.shape[1]] = points[:, :2]
    return smacof(cdist(points, points), init=start, n_init=1, max_iter=rounds, normalized_stress=False)[0]


def arrange(places, columns, lines):
    """Give each point a cell of its own, so that the points move as little as possible in all.

    Args:
        places: float array N x 2.
        columns, lines: of the grid; at least N cells.

    Returns:
        int64 array N x 2: column and line of each
    """
    from scipy.optimize import linear_sum_assignment

    low, span = places.min(0), np.maximum(np.ptp(places, axis=0), 1e-12)
    scaled = (places - low) / span * (columns - 1, lines - 1)
    cells = np.stack(np.meshgrid(np.arange(columns), np.arange(lines)), axis=-1).reshape(-1, 2)
    cost = np.square(scaled[:, None] - cells).sum(2)  # squared: one far move is worse than many small ones
    return cells[linear_sum_assignment(cost)[1]]


def _sizes(boxes, aspect):
    """(height, width) of a thumbnail in pixels, and columns and lines of the grid."""
    height = int(np.clip(1500 / math.sqrt(boxes), 64, 132))
    width = max(8, round(height / aspect))
    cell = height + _APART, width + _APART
    cells = max(math.ceil(boxes * _ROOM), boxes + 6)
    columns = math.ceil(math.sqrt(cells * 1.3 * cell[0] / cell[1]))  # about four to three
    return (height, width), columns, math.ceil(cells / columns)


def _pairs(table, rows):
    """Positions in ``rows`` of each query and its right boxes: list of (int, int)."""
    query, person = is_query(table)[rows], column(table, "person_uid")[rows]
    boxes = {}
    for i in np.flatnonzero(~query).tolist():
        boxes.setdefault(int(person[i]), []).append(i)
    return [(i, j) for i in np.flatnonzero(query & (person >= 0)).tolist() for j in boxes.get(int(person[i]), [])]


def draw_map(path, table, rows, places, store, title):
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
    page = max(columns * cell[0], 700) + 2 * _GAP
    query, classes = is_query(table)[rows], [table["clazz"][row].as_py() for row in rows.tolist()]
    links = _pairs(table, rows)
    caption = textwrap.wrap(_caption(query.any(), bool(links), len(rows)), int((page - 2 * _GAP) / 7.2))
    legend = _legend(classes, query, page, plain)
    top = 2 * _GAP + _LINE * (1 + len(caption)) + (_LINE + 6) * len(legend) + _GAP
    sheet = Image.new("RGB", (page, top + lines * cell[1] + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), title, fill=TEXT, font=bold)
    for i, line in enumerate(caption, start=1):
        pen.text((_GAP, _GAP + 4 + i * _LINE), line, fill=TEXT, font=plain)
    y = _GAP * 1.5 + (1 + len(caption)) * _LINE
    for line in legend:
        for x, letters, colour, framed, text in line:
            _frame(pen, (x + 4, y + 2, x + 28, y + 18), colour, framed)
            pen.text((x + 16, y + 10), letters, fill=TEXT, font=tiny, anchor="mm")
            pen.text((x + 36, y + 2), text, fill=TEXT, font=plain)
        y += _LINE + 6
    corner = (_GAP + _APART // 2, top + _APART // 2) + cells * cell
    for i in np.argsort(query, kind="stable").tolist():
        x, y = corner[i].tolist()
        letters, colour = STYLES.get(classes[i], _HIDDEN)
        sheet.paste(tile(store[rows[i]], height, width), (x, y))
        _frame(pen, (x, y, x + width - 1, y + height - 1), colour, query[i])
        if letters:
            pen.rectangle((x, y + height - 13, x + 20, y + height - 1), fill="white", outline=colour)
            pen.text((x + 10.5, y + height - 7), letters, fill=TEXT, font=tiny, anchor="mm")
    _links(sheet, links, corner, (width, height))
    save_sheet(sheet, path)


def _links(sheet, links, corner, size):
    """Lines over the pictures, from the edge of a query to a dot at the edge of a right box.

    Args:
        sheet: PIL.Image
        links: list of (query, box), positions in ``corner``.
        corner: int array N x 2, (x, y) of the pictures.
        size: (width, height) of a picture.
    """
    fine, half = 2, np.array(size) / 2  # drawn twice as large for smooth edges
    masks = [Image.new("L", (sheet.width * fine, sheet.height * fine)) for _ in range(2)]
    pens = [ImageDraw.Draw(mask) for mask in masks]
    widths = (5, 2) if len(corner) <= 200 else (3, 1)  # a white edge, or a dark line is lost on a dark picture
    for i, j in links:
        way = (corner[j] - corner[i]).astype(np.float64)
        inside = (half + 2) / np.maximum(abs(way), 1e-9)  # share of the way that lies in a picture, for each side
        start, end = corner[i] + half + inside.min() * way, corner[j] + half - inside.min() * way
        for pen, wide in zip(pens, widths, strict=True):
            pen.line((*(start * fine), *(end * fine)), fill=255, width=wide * fine)
            reach = (wide + 4) / 2 * fine
            pen.ellipse((*(end * fine - reach), *(end * fine + reach)), fill=255)
    for mask, colour, share in zip(masks, ("white", TEXT), (0.7, 1), strict=True):
        mask = mask.resize(sheet.size, Image.Resampling.BOX).point(lambda value, share=share: round(value * share))
        sheet.paste(Image.new("RGB", sheet.size, colour), mask=mask)


def _frame(pen, box, colour, double):
    """The frame of a gallery box, or the double one of a query."""
    pen.rectangle(box, outline=colour, width=2)
    if double:
        pen.rectangle((box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3), outline="black", width=3)


def _caption(queries, links, boxes):
    how = (
        "near pictures have near embeddings (multidimensional scaling of the angles)"
        if boxes <= _FEW
        else "neighbours have near embeddings, but how far apart groups lie says nothing (t-SNE)"
    )
    text = f"{how[0].upper()}{how[1:]}; moved to cells of a grid, so that none covers another."
    text += " A black frame is a query." * bool(queries)
    return text + " A line leads from a query to a dot at each of its right boxes." * links


def _legend(classes, query, page, plain):
    """Lines of (x, letters, colour, is it a query, text)."""
    items = [
        (*STYLES[name], False, f"{name.replace('_', ' ')} ({classes.count(name)})")
        for name in STYLES
        if name in classes
    ]
    if None in classes:
        items.append((*_HIDDEN, False, f"class hidden ({classes.count(None)})"))
    if query.any():
        items.append(("", "white", True, f"query ({int(query.sum())})"))
    lines, x = [[]], _GAP
    for item in items:
        wide = 36 + int(plain.getlength(item[-1])) + 2 * _GAP
        if x + wide > page and lines[-1]:
            lines.append([])
            x = _GAP
        lines[-1].append((x, *item))
        x += wide
    return lines
