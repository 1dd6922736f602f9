"""Plots of the data's statistics as SVG.

Splits differ in colour, and lines in their dashes, bars in their hatching as well.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reid.raw.filenames import CLASSES
from reid.reports.drawing import new_figure, save_figure, style
from reid.reports.palette import BLUE, GREEN, PURPLE, VERMILLION, WHITE
from reid.reports.statistics import JERSEYS, Distributions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"train": BLUE, "valid": VERMILLION, "test": GREEN, "challenge": PURPLE}
_DASHES = {"train": "-", "valid": "--", "test": "-.", "challenge": ":"}
_MARKERS = {"train": "o", "valid": "s", "test": "^", "challenge": "D"}
_HATCHES = {"train": "", "valid": "///", "test": "\\\\\\", "challenge": "xx"}
_MOST = 10  # images of an identity that have a bar of their own; more share the last
CHARTS = ("images_per_identity", "boxes_per_action", "sizes", "classes")


def _axes(columns: int, height: float = 3.4) -> tuple["Figure", Any]:
    """A figure with ``columns`` panels side by side, and these."""
    with style():
        figure = new_figure(height)
        return figure, figure.subplots(1, columns, squeeze=False)[0]


def _save(figure: "Figure", path: Path) -> None:
    """Save a figure, with one legend above its panels."""
    known: dict[str, Any] = {}
    for axes in figure.axes:
        known |= {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    order = [name for name in _COLOURS if name in known]
    handles = [known[name] for name in order]
    figure.legend(handles, order, loc="outside upper right", ncols=4, frameon=False, handlelength=3)
    save_figure(figure, path)


def _lines(axes: "Axes", values: dict[str, Any], of: str, step: float = 1.0) -> None:
    """How the values of each split are spread: share of them in bins of a round width, as a line.

    Args:
        axes: to draw on.
        values: split to array; empty ones are left out.
        of: what the share is of.
        step: of what the width of the bins is a multiple.
    """
    shown = {split: array for split, array in values.items() if len(array)}
    fewest = min(map(len, shown.values()), default=0)
    bins = int(np.clip(np.sqrt(fewest) * 2, 8, 30))  # fewer for few values, or the lines would be all spikes
    top = np.quantile(np.concatenate([np.zeros(1), *shown.values()]), 0.99)
    width = max(1, np.ceil(top / bins / step)) * step
    edges = np.arange(np.ceil(top / width) + 1) * width + (0 if step != 1 else 0.5)
    for split, array in shown.items():
        counts, _ = np.histogram(array, edges)
        look: dict[str, Any] = {
            "color": _COLOURS[split],
            "linestyle": _DASHES[split],
            "marker": _MARKERS[split],
            "label": split,
        }
        axes.plot((edges[1:] + edges[:-1]) / 2, 100 * counts / len(array), linewidth=1.8, markersize=4, **look)
    axes.set_ylabel(f"share of {of} (%)")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, edges[-1])
    axes.locator_params(axis="x", nbins=6, integer=True)


def _bars(axes: "Axes", values: dict[str, Any], names: list[Any], of: str, horizontal: bool = False) -> None:
    """Bars side by side for each split: share of each name.

    Args:
        axes: to draw on.
        values: split to dict from name to count; empty ones are left out.
        names: in the order of the axis.
        of: what the share is of.
        horizontal: whether the bars lie.
    """
    shown = {split: counts for split, counts in values.items() if len(counts)}
    width = 0.8 / max(1, len(shown))
    for i, (split, counts) in enumerate(shown.items()):
        share = [100 * counts.get(name, 0) / sum(counts.values()) for name in names]
        place = np.arange(len(names)) + (i - (len(shown) - 1) / 2) * width
        look: dict[str, Any] = {
            "color": _COLOURS[split],
            "hatch": _HATCHES[split],
            "edgecolor": WHITE,
            "linewidth": 0,
            "label": split,
        }
        (axes.barh if horizontal else axes.bar)(place, share, width, **look)
    if horizontal:
        axes.set_yticks(range(len(names)), [str(name).replace("_", " ") for name in names])
        axes.invert_yaxis()
        axes.set_xlabel(f"share of {of} (%)")
    else:
        axes.set_xticks(range(len(names)), names)
        axes.set_ylabel(f"share of {of} (%)")


def draw_charts(counted: dict[str, Distributions], folder: Path) -> None:
    """Draw :data:`CHARTS` as ``{folder}/{chart}.svg``.

    Args:
        counted: split to what :func:`reid.reports.statistics.distributions` returns.
        folder: where.
    """

    def values(name: str) -> dict[str, Any]:
        return {split: one[name] for split, one in counted.items()}

    figure, (axes,) = _axes(1)
    identities = {
        split: dict(enumerate(np.bincount(np.minimum(one, _MOST), minlength=_MOST + 1).tolist())) if len(one) else {}
        for split, one in values("images per identity").items()
    }
    most = max([3, *(number for one in identities.values() for number, count in one.items() if count)])
    _bars(axes, identities, list(range(1, most + 1)), "identities")
    if most == _MOST:
        axes.set_xticks(range(_MOST), [*map(str, range(1, _MOST)), f"{_MOST} or more"])
    axes.set_xlabel("images of an identity")
    _save(figure, folder / "images_per_identity.svg")

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
    occur: set[str] = set().union(*values("class").values())
    _bars(panels[0], values("class"), [name for name in CLASSES if name in occur], "thumbnails", horizontal=True)
    _bars(panels[1], values("jersey"), list(JERSEYS), "thumbnails", horizontal=True)
    panels[0].set_title("class", loc="left")
    panels[1].set_title("jersey", loc="left")
    _save(figure, folder / "classes.svg")
