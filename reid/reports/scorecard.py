"""The scores of a split as one figure: headline numbers, CMC curve, AP of the queries, mAP of slices."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reid.core.errors import ReidError
from reid.core.files import read_csv, read_json
from reid.core.forms import COUNT, NAME, SHARE, fit, short
from reid.core.splits import SCORED
from reid.reports.drawing import new_figure, save_figure, style
from reid.reports.palette import BLUE, GRID, NOTICE, QUIET, TEXT, VERMILLION, WHITE
from reid.retrieval.metrics import ap_histogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAKER = "scripts/evaluate.py"
_MOST = 1000  # lines of a figure
_SCORES = {
    "mAP": SHARE,
    "chance": {"mAP": SHARE},
    "queries": COUNT,
    "actions": COUNT,
    "interval": {str: (None, [SHARE, SHARE])},
}
_NAME = re.compile(r"mAP|mINP|rank-[1-9]\d{0,8}", re.ASCII)  # of a score
_ROW = 0.215  # inches, of a line in a dot plot
TRAINED_ON = "{} was trained on: these scores are not a valid result"

Slices = list[dict[str, Any]]
Groups = list[tuple[str, Slices]]
Interval = Sequence[float] | None


def _bound(text: str) -> float | None:
    return SHARE.of_text(text) if text else None


def read_scores(path: Path | str) -> tuple[str, bool, dict[str, Any]]:
    """Read the metrics of a split.

    Args:
        path: a file of scripts/evaluate.py.

    Returns:
        the split, whether it was trained on, its scores

    Raises:
        ReidError: the file is missing, or holds no such metrics.
    """
    content = read_json(path, maker=_MAKER)
    try:
        fit(content, {"split": SCORED})
        trained_on = content.get("trained_on", False)
        fit(trained_on, bool, "trained_on")
        scores = content if not trained_on else content.get("of_training_data")
        fit(scores, _SCORES)
        fit(scores, dict.fromkeys(scores["interval"], SHARE))
        fit(scores["chance"], {str: SHARE}, "chance")
        names = {**scores["interval"], **scores["chance"]}
        if unknown := [name for name in names if not _NAME.fullmatch(name)]:
            raise ValueError(f"there is no score {short(unknown[0])}")
        if len(names) > _MOST:
            raise ValueError(f"it has {len(names):,} scores, and {_MOST:,} is the most that can be drawn")
        return content["split"], trained_on, scores
    except ValueError as error:
        raise ReidError(f"{path}: has no scores with intervals ({error}); make it with {_MAKER}") from error


def read_cmc(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Read a CMC curve: int64 array of ranks from 1, float64 array of shares.

    Raises:
        ReidError: the file is missing or another.
    """
    rows = read_csv(path, {"rank": COUNT.of_text, "share": SHARE.of_text}, _MAKER)
    if not rows or [row["rank"] for row in rows] != list(range(1, len(rows) + 1)):
        raise ReidError(f"{path}: is not a CMC curve (its ranks are not 1, 2, ...); make it with {_MAKER}")
    return np.array([row["rank"] for row in rows], np.int64), np.array([row["share"] for row in rows])


def read_slices(path: Path | str) -> Slices:
    """Read the scores of slices: list of dict with slice, value, queries, mAP, low and high (None: no interval).

    Raises:
        ReidError: the file is missing or another.
    """
    columns: dict[str, Any] = {
        "slice": NAME.of,
        "value": NAME.of,
        "queries": COUNT.of_text,
        "mAP": SHARE.of_text,
        "low": _bound,
        "high": _bound,
    }
    rows = read_csv(path, columns, f"{_MAKER} --slices")
    if not 1 <= len(rows) <= _MOST:
        raise ReidError(f"{path}: has {len(rows):,} slices, not 1 to {_MOST:,}; make it with {_MAKER} --slices")
    return rows


def fits_scores(cmc: tuple[np.ndarray, np.ndarray], scores: dict[str, Any]) -> bool:
    """Whether a CMC curve has the rank-k of a split's scores."""
    ranks = {name: int(name.removeprefix("rank-")) for name in scores["interval"] if name.startswith("rank-")}
    shares = dict(zip(cmc[0].tolist(), cmc[1].tolist(), strict=True))
    return all(abs(shares[k] - scores[name]) < 1e-9 for name, k in ranks.items() if k in shares)


def fits_queries(slices: Slices, ap: np.ndarray) -> bool:
    """Whether the parts of each slice have as many queries as there are, and in all their mAP."""
    parts: dict[str, np.ndarray] = {}
    for row in slices:
        part = np.array([row["queries"], row["queries"] * row["mAP"]])
        parts[row["slice"]] = parts.get(row["slice"], 0) + part
    return all(abs(part - (len(ap), ap.sum())).max() < 1e-6 for part in parts.values())


def _dots(
    axes: "Axes",
    rows: Sequence[tuple[float, Interval] | None],
    left: list[str],
    right: list[str],
    bold: Sequence[int] = (),
    size: int = 10,
) -> None:
    """Scores as points with their intervals, one line each.

    Args:
        axes: to draw on.
        rows: (score, interval or None), or None for a line without a point.
        left, right: what stands beside each line.
        bold: numbers of the lines whose left text is bold.
        size: of the text.
    """
    place = np.arange(len(rows))
    for y, row in enumerate(rows):
        if row is None:
            continue
        score, interval = row
        if interval:
            axes.plot(interval, (y, y), color=BLUE, linewidth=2.2, solid_capstyle="butt")
        face = BLUE if interval else WHITE
        axes.plot([score], [y], "o", color=BLUE, markerfacecolor=face, markersize=5.5, clip_on=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_yticks(place, left)
    for y in bold:
        axes.get_yticklabels()[y].set_fontweight("bold")
    other = axes.secondary_yaxis("right")
    other.set_yticks(place, right)
    for side in (axes, other):
        side.tick_params(axis="y", length=0, labelsize=size, pad=7)  # room for a point at 0 or 1
    axes.spines["left"].set_visible(False)
    other.spines["right"].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=GRID, linewidth=0.8)


def _diamonds(axes: "Axes", points: Sequence[tuple[float, float]]) -> None:
    """The scores of a random order."""
    axes.plot(*zip(*points, strict=True), "D", color=VERMILLION, markerfacecolor=WHITE, markersize=5, clip_on=False)


def _headline(axes: "Axes", scores: dict[str, Any]) -> None:
    names, chance = list(scores["interval"]), scores["chance"]
    right = []
    for name in names:
        interval = scores["interval"][name]
        text = f"{scores[name]:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
        right.append(text + (f", chance {chance[name]:.3f}" if name in chance else ""))
    _dots(axes, [(scores[name], scores["interval"][name]) for name in names], names, right)
    _diamonds(axes, [(chance[name], y) for y, name in enumerate(names) if name in chance])
    if scores["actions"] > 1:
        key = "point: score · line: its 95 % interval, over actions · diamond: a random order"
    else:
        key = "point: score · diamond: a random order · no interval: all queries are of one action"
    axes.set_xlabel(key, color=QUIET, fontsize=9)


def _curve(axes: "Axes", ranks: np.ndarray, share: np.ndarray, scores: dict[str, Any]) -> None:
    axes.plot(ranks, share, color=BLUE, linewidth=1.8, marker="o", markersize=3)
    known = [(int(name.removeprefix("rank-")), chance) for name, chance in scores["chance"].items() if name != "mAP"]
    known = [(k, chance) for k, chance in known if k <= ranks[-1]]
    if known:
        _diamonds(axes, known)
    for k, _ in known:
        if interval := scores["interval"].get(f"rank-{k}"):
            axes.plot((k, k), interval, color=BLUE, linewidth=2.2, solid_capstyle="butt")
    axes.set_xlim(0.3, ranks[-1] + 0.7)
    axes.set_ylim(0, 1.03)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("k (line: 95 % interval, diamond: a random order)")
    axes.set_ylabel("queries with a match\namong the first k")
    axes.set_title("CMC", loc="left")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _histogram(axes: "Axes", ap: np.ndarray) -> None:
    edges, counts, share = zip(*ap_histogram(ap), strict=True)
    width = edges[1]
    bars: dict[str, Any] = {"width": width, "align": "edge", "edgecolor": WHITE, "linewidth": 0.6}
    axes.bar(edges[:-1], np.multiply(share[:-1], 100), color=BLUE, **bars)
    axes.bar(1 + width / 2, 100 * share[-1], color=WHITE, **{**bars, "edgecolor": BLUE, "linewidth": 1}, hatch="///")
    axes.axvline(ap.mean(), color=TEXT, linestyle="--", linewidth=1)
    axes.set_xlim(0, 1 + 2 * width)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8], [f"{x:g}" for x in (0, 0.2, 0.4, 0.6, 0.8)])
    axes.set_xticks([1 + width], ["just 1"], minor=True)
    axes.tick_params(axis="x", which="minor", length=0, pad=4.5)
    axes.set_xlabel("AP of a query (dashed: mAP)")
    axes.set_ylabel("share of queries (%)")
    axes.set_title(f"AP: {counts[-1]:,} of {len(ap):,} rankings without a fault", loc="left")


def halves(sizes: Sequence[int]) -> int:
    """Where to cut a list of groups so that the longer of two columns is as short as it can be: groups before."""
    return min(range(1, len(sizes) + 1), key=lambda cut: max(sum(sizes[:cut]), sum(sizes[cut:])))


def _slices(axes: "Axes", groups: Groups, whole: float) -> None:
    rows: list[tuple[float, Interval] | None] = []
    left, right, bold = [], [], []
    for name, parts in groups:
        bold.append(len(rows))
        rows.append(None)
        left.append(name)
        right.append("")
        for part in parts:
            rows.append((part["mAP"], None if part["low"] is None else (part["low"], part["high"])))
            left.append(f"{part['value'].replace('_', ' ')} ({part['queries']:,})")
            right.append(f"{part['mAP']:.3f}")
    _dots(axes, rows, left, right, bold, size=9)
    axes.axvline(whole, color=TEXT, linestyle="--", linewidth=1, zorder=0.9)


def draw_scores(
    path: Path | str,
    split: str,
    trained_on: bool,
    scores: dict[str, Any],
    cmc: tuple[np.ndarray, np.ndarray],
    ap: np.ndarray,
    slices: Slices,
) -> None:
    """Draw the scores of a split as SVG.

    Args:
        path: the file to make.
        split: its name.
        trained_on: whether it was trained on; the figure then says that it is not a valid result.
        scores: of :func:`read_scores`.
        cmc: as :func:`read_cmc` returns it.
        ap: float64 array, AP of every query.
        slices: as :func:`read_slices` returns them.
    """
    by_name: dict[str, Slices] = {}
    for row in slices:
        by_name.setdefault(row["slice"], []).append(row)
    groups: Groups = list(by_name.items())
    sizes = [1 + len(parts) for _, parts in groups]
    cut = halves(sizes)
    columns = [part for part in (groups[:cut], groups[cut:]) if part]
    longest = max(sum(sizes[:cut]), sum(sizes[cut:]))
    heights = [0.75 + 0.26 * len(scores["interval"]) + 0.5 * trained_on, 2.7, 0.75 + _ROW * longest]
    with style():
        figure = new_figure(0.4 + sum(heights))
        parts: Any = figure.subfigures(3, 1, height_ratios=heights)
        top, middle, bottom = parts
        plural = "" if scores["actions"] == 1 else "s"
        text = f"{split}: {scores['queries']:,} queries in {scores['actions']:,} action{plural}"
        figure.suptitle(text, x=0.01, ha="left", fontsize=14)
        if trained_on:
            box = {"facecolor": NOTICE, "edgecolor": VERMILLION, "boxstyle": "round,pad=0.3"}
            top.suptitle(TRAINED_ON.format(split), x=0.012, ha="left", fontsize=12, fontweight="bold", bbox=box)
        _headline(top.subplots(), scores)
        layout: Any = figure.get_layout_engine()
        layout.set(wspace=0.05)
        panels = middle.subplots(1, 2)
        _curve(panels[0], *cmc, scores)
        _histogram(panels[1], ap)
        bottom.suptitle("mAP of slices", x=0.01, ha="left", fontsize=12)
        key = "in brackets: number of queries · dashed: all queries · open point: all of one action, no interval"
        bottom.supxlabel(key, color=QUIET, fontsize=9)
        panels = bottom.subplots(1, len(columns), squeeze=False)[0]
        for axes, part in zip(panels, columns, strict=True):
            _slices(axes, part, scores["mAP"])
            axes.set_ylim(longest - 0.4, -0.6)  # lines of both columns at one height
        save_figure(figure, path)
