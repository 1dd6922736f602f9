"""How a training went, as one figure: loss, learning rate and mAP of valid in each epoch."""

from itertools import pairwise

import numpy as np

from reid.drawing import BLUE, GREEN, GREY, ORANGE, QUIET, TEXT, new_figure, save_figure, style
from reid.errors import ReidError
from reid.files import read_csv, read_json

_MAKER = "scripts/train.py"


def read_curve(path, name):
    """Read one curve of a training.

    Args:
        path: a file of scripts/train.py (TSV).
        name: of its column.

    Returns:
        (int64 array, float64 array): epochs from 1, through all seeds; values. Both empty for a header alone.

    Raises:
        ReidError: the file is missing or another.
    """
    rows = read_csv(path, {"step": int, name: float}, _MAKER, delimiter="\t")
    return np.array([row["step"] + 1 for row in rows], np.int64), np.array([row[name] for row in rows])


def read_summary(path):
    """Read the summary of a training (dict).

    Raises:
        ReidError: the file is missing or another.
    """
    found = read_json(path)
    try:
        [(seed["pictures"], seed["best"]) for seed in found["seeds"]]
        return found | {"model": str(found["model"])}
    except (KeyError, TypeError) as error:
        raise ReidError(f"{path}: is not the summary of a training ({error}); make it with {_MAKER}") from error


def seed_ends(seeds, epochs):
    """The last epoch of each seed, counted through all of them.

    They train one after the other and may end early. A summary holds the pictures that each saw, and an epoch has
    about as many as the next.

    Args:
        seeds: list of dict, of a summary.
        epochs: how many there are in all.

    Returns:
        list of int
    """
    seen = np.cumsum([seed["pictures"] for seed in seeds])
    return np.rint(epochs * seen / max(1, seen[-1])).astype(int).tolist()


def facts(summary):
    """What a summary says of size and cost, in one line; what it does not hold is left out."""
    parts = []
    if "backbone" in summary:
        parts.append(summary["backbone"])
    if "parameters" in summary:
        parts.append(f"{summary['parameters'] / 1e6:.1f} million parameters")
    if "flops" in summary:
        parts.append(f"{summary['flops'] / 1e9:.2f} GFLOPs a picture")
    if "thumbnails" in summary and "people" in summary:
        parts.append(f"{summary['thumbnails']:,} thumbnails of {summary['people']:,} people")
    seen = sum(seed["pictures"] for seed in summary["seeds"])
    parts.append(f"{seen:,} pictures seen")
    return " · ".join(parts)


def draw_curves(path, loss, learning_rate, valid, summary):
    """Draw the curves of a training as SVG.

    Args:
        path: the file to make.
        loss, learning_rate, valid: as :func:`read_curve` returns them; without points of valid it has no panel.
        summary: dict of :func:`read_summary`.
    """
    panels = [("loss", loss, BLUE, "o"), ("learning rate", learning_rate, GREEN, "s")]
    if len(valid[0]):
        panels.append(("mAP of valid", valid, ORANGE, "^"))
    epochs = len(loss[0])
    ends = [0, *seed_ends(summary["seeds"], epochs)]
    best = [
        (start + seed["best"]["epoch"], seed["best"])
        for start, seed in zip(ends, summary["seeds"], strict=False)
        if seed["best"]
    ]
    with style():
        figure = new_figure(height=3.8)
        figure.suptitle(f"{summary['model']}: training", x=0.01, ha="left", fontsize=14)
        caption = [facts(summary)]
        if len(summary["seeds"]) > 1:
            caption.append(f"{len(summary['seeds'])} seeds, trained one after the other; dotted: where one ends")
        if best:
            words = [f"epoch {at} with {found['mAP']:.3f} ({found['weights']} weights)" for at, found in best]
            caption.append(f"dashed and star: best mAP of valid, in {', '.join(words)}")
        figure.supxlabel("\n".join(caption), x=0.01, ha="left", color=QUIET, fontsize=9)
        for axes, (name, (epoch, value), colour, marker) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            axes.set_title(name, loc="left")
            axes.set_xlabel("epoch")
            if not epochs:
                axes.set_axis_off()
                axes.text(0, 0.8, "no epoch was trained", color=TEXT, transform=axes.transAxes)
                continue
            for first, last in pairwise(ends):  # of each seed: the line breaks between them
                own = (epoch > first) & (epoch <= last)
                dots = {"marker": marker, "markersize": 4} if epochs <= 60 else {}
                axes.plot(epoch[own], value[own], color=colour, linewidth=1.8, **dots)
            for last in ends[1:-1]:
                axes.axvline(last + 0.5, color=GREY, linestyle=":", linewidth=1)
            for at, _ in best:
                axes.axvline(at, color=TEXT, linestyle="--", linewidth=1)
            axes.set_xlim(0.5, epochs + 0.5)
            axes.set_ylim(bottom=min(0, value.min(initial=0)))
            axes.locator_params(axis="x", integer=True, nbins=8)
            axes.yaxis.set_major_formatter("{x:.3g}")
            axes.grid(axis="y", color="#e3e6ea", linewidth=0.8)
            axes.set_axisbelow(True)
        for at, found in best:
            axes.plot([at], [found["mAP"]], "*", color=TEXT, markersize=11, clip_on=False)
        save_figure(figure, path)
