"""Plots of the data's statistics as SVG, and the contact sheet of a few actions.

Splits differ in colour, and lines in their dashes, bars in their hatching as well.
"""

import numpy as np
from PIL import Image, ImageDraw

from reid.description import JERSEYS, typical_actions
from reid.drawing import BLUE, GREEN, ORANGE, PINK, TEXT, font, new_figure, save_figure, save_sheet, style, tile
from reid.filenames import CLASSES
from reid.tables import column

COLOURS = {"train": BLUE, "valid": ORANGE, "test": GREEN, "challenge": PINK}
_DASHES = {"train": "-", "valid": "--", "test": "-.", "challenge": ":"}
_MARKERS = {"train": "o", "valid": "s", "test": "^", "challenge": "D"}
_HATCHES = {"train": "", "valid": "///", "test": "\\\\\\", "challenge": "xx"}
CHARTS = ("pictures_per_person", "boxes_per_action", "sizes", "classes")


def _axes(columns, height=3.4):
    """A figure with ``columns`` panels side by side."""
    with style():
        figure = new_figure(height=height)
        return figure, figure.subplots(1, columns, squeeze=False)[0]


def _save(figure, path):
    """Save a figure, with one legend above its panels."""
    known = {}
    for axes in figure.axes:
        known |= {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    order = [name for name in COLOURS if name in known]
    handles = [known[name] for name in order]
    figure.legend(handles, order, loc="outside upper right", ncols=4, frameon=False, handlelength=3)
    save_figure(figure, path)


def _lines(axes, values, of, step=1.0):
    """How the values of each split are spread: share of them in bins of a round width, as a line.

    Args:
        values: dict from split to array; empty ones are left out.
        of: what the share is of.
        step: of what the width of the bins is a multiple.
    """
    shown = {split: found for split, found in values.items() if len(found)}
    fewest = min(map(len, shown.values()), default=0)
    bins = int(np.clip(np.sqrt(fewest) * 2, 8, 30))  # fewer for few values, or the lines would be all spikes
    top = np.quantile(np.concatenate([np.zeros(1), *shown.values()]), 0.99)
    width = max(1, np.ceil(top / bins / step)) * step
    edges = np.arange(np.ceil(top / width) + 1) * width + (0 if step != 1 else 0.5)
    for split, found in shown.items():
        counts, _ = np.histogram(found, edges)
        style = {"color": COLOURS[split], "linestyle": _DASHES[split], "marker": _MARKERS[split], "label": split}
        axes.plot((edges[1:] + edges[:-1]) / 2, 100 * counts / len(found), linewidth=1.8, markersize=4, **style)
    axes.set_ylabel(f"share of {of} (%)")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, edges[-1])
    axes.locator_params(axis="x", nbins=6, integer=True)


def _bars(axes, values, names, of, horizontal=False):
    """Bars side by side for each split: share of each name.

    Args:
        values: dict from split to dict from name to count; empty ones are left out.
        names: in the order of the axis.
        of: what the share is of.
    """
    shown = {split: found for split, found in values.items() if len(found)}
    width = 0.8 / max(1, len(shown))
    for i, (split, found) in enumerate(shown.items()):
        share = [100 * found.get(name, 0) / sum(found.values()) for name in names]
        place = np.arange(len(names)) + (i - (len(shown) - 1) / 2) * width
        style = {
            "color": COLOURS[split],
            "hatch": _HATCHES[split],
            "edgecolor": "white",
            "linewidth": 0,
            "label": split,
        }
        (axes.barh if horizontal else axes.bar)(place, share, width, **style)
    if horizontal:
        axes.set_yticks(range(len(names)), [str(name).replace("_", " ") for name in names])
        axes.invert_yaxis()
        axes.set_xlabel(f"share of {of} (%)")
    else:
        axes.set_xticks(range(len(names)), names)
        axes.set_ylabel(f"share of {of} (%)")


def draw_charts(found, folder):
    """Draw :data:`CHARTS` as ``{folder}/{chart}.svg``.

    Args:
        found: dict from split to what :func:`reid.description.distributions` returns.
        folder: pathlib.Path
    """

    def values(name):
        return {split: one[name] for split, one in found.items()}

    figure, (axes,) = _axes(1)
    people = {
        split: dict(enumerate(np.bincount(np.minimum(one, 10), minlength=11).tolist())) if len(one) else {}
        for split, one in values("pictures per person").items()
    }
    most = max([3, *(number for one in people.values() for number, count in one.items() if count)])
    _bars(axes, people, list(range(1, most + 1)), "people")
    if most == 10:
        axes.set_xticks(range(10), [*range(1, 10), "10 or more"])
    axes.set_xlabel("pictures of a person in its action")
    _save(figure, folder / "pictures_per_person.svg")

    figure, panels = _axes(3)
    for axes, name in zip(panels, ("boxes per action", "queries per action", "gallery per action"), strict=True):
        _lines(axes, values(name), "actions")
        axes.set_xlabel(name.replace("gallery", "gallery boxes"))
    _save(figure, folder / "boxes_per_action.svg")

    figure, panels = _axes(3)
    for axes, name, step in zip(panels, ("height", "width", "height / width"), (5, 5, 0.1), strict=True):
        _lines(axes, values(name), "thumbnails", step)
        axes.set_xlabel(name if "/" in name else f"{name} (pixels)")
    _save(figure, folder / "sizes.svg")

    figure, panels = _axes(2, height=4.2)
    occur = set().union(*values("class").values())
    _bars(panels[0], values("class"), [name for name in CLASSES if name in occur], "thumbnails", horizontal=True)
    _bars(panels[1], values("jersey"), JERSEYS, "thumbnails", horizontal=True)
    panels[0].set_title("class", loc="left")
    panels[1].set_title("jersey", loc="left")
    _save(figure, folder / "classes.svg")


_CELL, _GAP, _LINE, _COLUMNS = (112, 56), 4, 18, 16  # pixels: height x width of a picture, between, of text; columns


def _people(table, rows):
    """The boxes of one action as columns: of each query, then of each other person, then what has no label.

    Returns:
        list of (int or None, list of int): row of the query, rows of the other boxes
    """
    is_query = [role == "query" for role in table["role"].take(rows).to_pylist()]
    person = column(table, "person_uid")[rows].tolist()
    columns = {
        uid if uid >= 0 else (uid, row): [row, []] for row, uid, q in zip(rows, person, is_query, strict=True) if q
    }
    for row, uid, q in zip(rows, person, is_query, strict=True):
        if not q:
            columns.setdefault(uid if uid >= 0 else (uid, row), [None, []])[1].append(row)
    return list(columns.values())


def contact_sheet(path, table, store, split, actions=4):
    """Draw a few actions of typical size as PNG: a column per person, queries framed and on top.

    Args:
        path: the file to make.
        table: an index (``reid.description.INDEX_COLUMNS``).
        store: its thumbnails, uint8 N x H x W x 3.
        split: its name, for the captions.
        actions: how many at most.
    """
    height, width = _CELL
    large, small = font(13), font(12)
    page_width = _COLUMNS * (width + _GAP) + 3 * _GAP
    action = column(table, "action_idx")
    pieces, y = [], _GAP
    labelled = table["person_uid"].null_count == 0
    pieces.append((_GAP * 2, y, _caption(split, labelled), small))
    y += _LINE + _GAP
    for idx in typical_actions(table, actions):
        rows = np.flatnonzero(action == idx).tolist()
        columns = _people(table, rows)
        queries = sum(query is not None for query, _ in columns)
        place = table.slice(rows[0], 1).select(["championship", "season", "game"]).to_pylist()[0].values()
        counts = (
            f"{queries} queries, {len(rows) - queries} gallery boxes" if split != "train" else f"{len(rows)} boxes"
        )
        text = f"action {idx}: {counts}" + "".join(f"  ·  {part}" for part in place if part)
        pieces.append((_GAP * 2, y, text, large))
        y += _LINE + _GAP
        # without labels a gallery box belongs under no query, so the gallery starts a line of its own
        groups = [columns] if labelled else [columns[:queries], columns[queries:]]
        lines = [group[i : i + _COLUMNS] for group in groups for i in range(0, len(group), _COLUMNS)]
        for number, line in enumerate(lines, start=1):
            top = any(query is not None for query, _ in line)
            for i, (query, others) in enumerate(line):
                x = 2 * _GAP + i * (width + _GAP)
                if query is not None:
                    pieces.append((x, y, query, True))
                pieces += [(x, y + (k + top) * (height + _GAP), row, False) for k, row in enumerate(others)]
            y += (top + max(len(others) for _, others in line)) * (height + _GAP) + _GAP
            if labelled and number < len(lines):  # or the next pictures would seem to be the same people
                pieces.append((2 * _GAP, y, None, None))
                y += 2 * _GAP
        y += 2 * _GAP
    sheet = Image.new("RGB", (page_width, y), "white")
    draw = ImageDraw.Draw(sheet)
    for x, top, what, how in pieces:
        if what is None:
            draw.line((x, top, page_width - x, top), fill="#b0b0b0")
            continue
        if isinstance(what, str):
            draw.text((x, top), what, fill=TEXT, font=how)
            continue
        sheet.paste(tile(store[what], height, width), (x, top))
        if how:
            draw.rectangle((x - 2, top - 2, x + width + 1, top + height + 1), outline=COLOURS["train"], width=3)
    save_sheet(sheet, path)


def _caption(split, labelled):
    if split == "train":
        return f"{split}: each column is one person"
    if labelled:
        return (
            f"{split}: each column is one person; framed the query, below it the boxes to find; the rest has no query"
        )
    return f"{split}: framed the queries, then the gallery; who is who is hidden"
