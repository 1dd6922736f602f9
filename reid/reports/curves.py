"""How a training went, as one figure: loss, learning rate and mAP of valid in each epoch."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reid.core.errors import ReidError
from reid.core.files import read_csv, read_json
from reid.core.forms import COUNT, FINITE, NAME, SHARE, Number, fit
from reid.reports.drawing import new_figure, save_figure, style
from reid.reports.palette import BLUE, GREEN, GREY, GRID, PURPLE, QUIET, TEXT, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAKER = "scripts/train.py"
_MOST_SEEDS = 1000
_SUMMARY = {
    "model": NAME,
    "backbone": NAME,
    "parameters": COUNT,
    "flops": Number(0, 1e30),
    "thumbnails": COUNT,
    "identities": COUNT,
    "seeds": [{"images": COUNT, "best": (None, {"mAP": SHARE, "epoch": COUNT, "weights": NAME})}],
}
Curve = tuple[np.ndarray, np.ndarray]
Line = tuple[Curve, str, str, str]


def read_curve(path: Path | str, name: str) -> Curve:
    """Read one curve of a training.

    Args:
        path: a file of scripts/train.py (TSV).
        name: of its column.

    Returns:
        (int64 array, float64 array): epochs from 1, through all seeds; values. Both empty for a header alone.

    Raises:
        ReidError: the file is missing or another.
    """
    rows = read_csv(path, {"step": COUNT.of_text, name: FINITE.of_text}, _MAKER, delimiter="\t")
    steps, values = np.array([row["step"] for row in rows], np.int64), np.array([row[name] for row in rows])
    if (np.diff(steps) <= 0).any():
        raise ReidError(f"{path}: is not a curve of a training (its steps do not ascend); make it with {_MAKER}")
    return steps + 1, values


def read_summary(path: Path | str) -> dict[str, Any]:
    """Read the summary of a training.

    Returns:
        ``model``, ``backbone``, ``parameters``, ``flops`` (of an image), ``thumbnails``, ``identities``, and a list
        of ``seeds``: ``{"seed", "images", "best"}``; best is ``{"mAP", "epoch", "weights"}``, None without validation

    Raises:
        ReidError: the file is missing or another.
    """
    summary: dict[str, Any] = read_json(path, maker=_MAKER)
    try:
        fit(summary, _SUMMARY)
        if not 1 <= len(summary["seeds"]) <= _MOST_SEEDS:
            raise ValueError(f"it has {len(summary['seeds'])} seeds")
        return summary
    except ValueError as error:
        raise ReidError(f"{path}: is not the summary of a training ({error}); make it with {_MAKER}") from error


def seed_ends(seeds: list[dict[str, Any]], epochs: int) -> list[int]:
    """The last epoch of each seed, counted through all of them.

    They train one after the other and may end early. A summary holds how many images each saw, and an epoch has about
    as many as the next.

    Args:
        seeds: of a summary.
        epochs: how many there are in all.
    """
    seen = np.cumsum([seed["images"] for seed in seeds])
    return np.rint(epochs * seen / max(1, seen[-1])).astype(int).tolist()


def best_epochs(summary: dict[str, Any], epochs: int) -> list[tuple[int, float, str]]:
    """The best epoch of each seed that has one.

    Args:
        summary: of a training.
        epochs: how many there are in all.

    Returns:
        list of (epoch, counted through all seeds; mAP of valid; which weights it is of)
    """
    starts = [0, *seed_ends(summary["seeds"], epochs)]
    best = [(start, seed["best"]) for start, seed in zip(starts, summary["seeds"], strict=False) if seed["best"]]
    return [(start + one["epoch"], float(one["mAP"]), str(one["weights"])) for start, one in best]


def facts(summary: dict[str, Any]) -> str:
    """What a summary says of size and cost, in one line."""
    seen = sum(seed["images"] for seed in summary["seeds"])
    return " · ".join(
        [
            summary["backbone"],
            f"{summary['parameters'] / 1e6:.1f} million parameters",
            f"{summary['flops'] / 1e9:.2f} GFLOPs an image",
            f"{summary['thumbnails']:,} thumbnails of {summary['identities']:,} identities",
            f"{seen:,} images seen",
        ]
    )


def _caption(summary: dict[str, Any], best: list[tuple[int, float, str]]) -> str:
    lines = [facts(summary)]
    if len(summary["seeds"]) > 1:
        lines.append(f"{len(summary['seeds'])} seeds, trained one after the other; dotted: where one ends")
    if best:
        words = [f"epoch {epoch} with {score:.3f} ({weights} weights)" for epoch, score, weights in best]
        lines.append(f"dashed and star: best mAP of valid, in {', '.join(words)}")
    return "\n".join(lines)


def _draw_panel(axes: "Axes", lines: list[Line], ends: list[int]) -> None:
    """Curves of one kind; between seeds their lines break.

    Args:
        axes: to draw on.
        lines: each a curve as :func:`read_curve` returns it, its colour, marker and name.
        ends: 0, and the last epoch of each seed.
    """
    epochs = ends[-1]
    for (epoch, value), colour, marker, name in lines:
        for first, last in pairwise(ends):
            own = (epoch > first) & (epoch <= last)
            dots: dict[str, Any] = {"marker": marker, "markersize": 4} if epochs <= 60 else {}
            label = "" if first else name
            axes.plot(epoch[own], value[own], color=colour, linewidth=1.8, label=label, **dots)
    for last in ends[1:-1]:
        axes.axvline(last + 0.5, color=GREY, linestyle=":", linewidth=1)
    axes.set_xlim(0.5, epochs + 0.5)
    axes.set_ylim(bottom=min(0, *(value.min(initial=0) for (_, value), *_ in lines)))
    axes.locator_params(axis="x", integer=True, nbins=8)
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if len(lines) > 1:
        axes.legend(framealpha=1, edgecolor="none", fontsize=9)


def draw_curves(
    path: Path | str, loss: Curve, learning_rate: Curve, valid: Curve, averaged: Curve, summary: dict[str, Any]
) -> None:
    """Draw the curves of a training as SVG.

    Args:
        path: the file to make.
        loss, learning_rate, valid: as :func:`read_curve` returns them; without points of valid it has no panel.
        averaged: mAP of valid with averaged weights, in the panel of valid; without points in a training without them.
        summary: of :func:`read_summary`.
    """
    panels: list[tuple[str, list[Line]]] = [
        ("loss", [(loss, BLUE, "o", "")]),
        ("learning rate", [(learning_rate, GREEN, "s", "")]),
    ]
    scores = [(valid, VERMILLION, "^", "raw weights"), (averaged, PURPLE, "D", "averaged weights")]
    if drawn := [line for line in scores if len(line[0][0])]:
        panels.append(("mAP of valid", drawn))
    epochs = len(loss[0])
    ends, best = [0, *seed_ends(summary["seeds"], epochs)], best_epochs(summary, epochs)
    with style():
        figure = new_figure(3.8)
        figure.suptitle(f"{summary['model']}: training", x=0.01, ha="left", fontsize=14)
        figure.supxlabel(_caption(summary, best), x=0.01, ha="left", color=QUIET, fontsize=9)
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for one, (name, lines) in zip(axes, panels, strict=True):
            one.set_title(name, loc="left")
            one.set_xlabel("epoch")
            if not epochs:
                one.set_axis_off()
                one.text(0, 0.8, "no epoch was trained", color=TEXT, transform=one.transAxes)
                continue
            _draw_panel(one, lines, ends)
            for epoch, *_ in best:
                one.axvline(epoch, color=TEXT, linestyle="--", linewidth=1)
        for epoch, score, _ in best:
            axes[-1].plot([epoch], [score], "*", color=TEXT, markersize=11, clip_on=False)
        save_figure(figure, path)
