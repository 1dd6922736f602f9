"""The page of a study: one HTML file that opens from disk, without a network and without a program in it but copying.

Charts are laid out in per cent of their width, so that their text keeps its size on a narrow screen.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reid.core.files import replacing
from reid.studies import table

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_POINTS = 80  # of a curve that is drawn
_LINES = 8  # colours and dashes of curves; then they begin again


class Scale:
    """Places of values in per cent of a width or height, with round ticks.

    Args:
        values: all that must have a place.
        least: span at least, so that equal values do not fill it with noise.
    """

    def __init__(self, values: Sequence[float], least: float = 1e-6) -> None:
        low, high = min(values), max(values)
        room = max(high - low, least) * 0.06
        self.low, self.high = low - room, high + room
        step = 10.0 ** np.floor(np.log10((self.high - self.low) / 2))
        step *= next(factor for factor in (5, 2, 1, 0.5) if (self.high - self.low) / (factor * step) >= 2.5)
        first = int(np.ceil(self.low / step))
        self.ticks = [round(step * i, 12) + 0.0 for i in range(first, int(np.floor(self.high / step)) + 1)]

    def __call__(self, value: float) -> float:
        return round(100 * (value - self.low) / (self.high - self.low), 3)


def _rows_chart(rows: list[dict[str, Any]], splits: Sequence[str]) -> dict[str, Any]:
    """mAP on each split of each row with intervals and seeds, and the changes; all in points."""
    live = [row for row in rows if not row["problem"]]
    scores = [100 * v for row in live for s in splits for v in [*row[s]["seeds"], *(row[s]["interval"] or [])]]
    spans = [row["change"][s]["mAP"] for row in live if row["change"] for s in splits]
    changes = [0.0, *(100 * v for c in spans for v in [c["difference"], *(c["interval"] or [])])]
    return {"score": Scale(scores, 1), "change": Scale(changes, 1) if spans else None}


def _curves(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Curves of rows over each other, means over the seeds: mAP of valid where there are any, else the loss.

    Each training once; None where there is but one.
    """
    for key, title, factor in (("curves", "mAP of valid", 100.0), ("losses", "loss", 1.0)):
        lines: list[dict[str, Any]] = []
        trained: list[Any] = []
        for number, row in enumerate(rows):
            if row["problem"] or row["trainings"] in trained or not (mean := _mean_curve(row[key])):
                continue
            trained.append(row["trainings"])
            lines.append({"row": row["row"], "style": number % _LINES, "points": [(x, factor * y) for x, y in mean]})
        if len(lines) > 1:
            xs, ys = zip(*(point for line in lines for point in line["points"]), strict=True)
            x, y = Scale([0, *xs]), Scale(ys, 0.02 * factor)
            for line in lines:
                line["places"] = [(x(a), 100 - y(b)) for a, b in line["points"]]
            return {"title": title, "x": x, "y": y, "lines": lines}
    return None


def _mean_curve(curves: list[list[list[float]]]) -> list[tuple[float, float]]:
    """Mean of several curves at the epochs that all of them have, thinned."""
    if not curves or not all(curves):
        return []
    by_epoch = [{int(epoch): value for epoch, value in curve} for curve in curves]
    epochs = sorted(set.intersection(*(set(one) for one in by_epoch)))
    chosen = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), _MOST_POINTS)).round().astype(int))
    return [(epochs[i], float(np.mean([one[epochs[i]] for one in by_epoch]))) for i in chosen]


def _cost(result: dict[str, Any]) -> dict[str, Any]:
    """Seconds of training against mAP of valid, each row once, and the way of what stays."""
    points: list[dict[str, Any]] = []
    way: list[dict[str, Any]] = []
    number = 0
    for axis in result["axes"]:
        for place, row in enumerate(axis["rows"]):
            if row["problem"] or row["same"] or (place == 0 and points):  # what stays of the axis before
                continue
            number += 1
            points.append({"number": number, "axis": axis["axis"] if place else "", "row": row, "numbers": []})
            if place == 0 or (row["stays"] and axis["rule"] != "never"):
                way.append(points[-1])
    x = Scale([0, *(point["row"]["seconds"] for point in points)], 1)
    y = Scale([100 * point["row"]["valid"]["mAP"] for point in points], 0.5)
    for point in points:
        point |= {"x": x(point["row"]["seconds"]), "y": 100 - y(100 * point["row"]["valid"]["mAP"])}
        near = [one for one in points if abs(one.get("x", 999) - point["x"]) < 2 and abs(one["y"] - point["y"]) < 4]
        near[0]["numbers"].append(point["number"])
    for point in points:
        point["label"] = _spans(point["numbers"])
    return {"points": points, "way": way, "x": x, "y": y}


def _spans(numbers: list[int]) -> str:
    """Ascending numbers, three and more in a row as first–last."""
    rows: list[list[int]] = []
    for number in numbers:
        if rows and number == rows[-1][-1] + 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    return ", ".join(f"{row[0]}–{row[-1]}" if len(row) > 2 else ", ".join(map(str, row)) for row in rows)


def write_page(path: Path, result: dict[str, Any]) -> None:
    """Write the page of a study.

    Args:
        path: the HTML file to make, in the folder of the study's results, to which its links point.
        result: of :func:`reid.studies.result.result`.
    """
    pages = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    pages.trim_blocks = pages.lstrip_blocks = True
    pages.filters |= {"points": table.points, "signed": table.signed, "duration": _duration}
    splits, axes = [*result["queries"]], []
    for axis in result["axes"]:
        axes.append({**axis, "chart": _rows_chart(axis["rows"], splits), "learning": _curves(axis["rows"])})
    style = Markup((_TEMPLATES / "study.css").read_text(encoding="utf-8"))
    html = pages.get_template("study.html").render(
        {**result, "axes": axes},
        splits=splits,
        cost=_cost(result),
        looks=table.looks(result),
        rules=table.RULES,
        span=table.span,
        signed=table.signed,
        style=style,
    )
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8")


def _duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
