"""What came out of a study, as plain values: the one source of its table, its CSV and its page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from reid.core.files import read_json
from reid.core.tables import values
from reid.evaluation.comparison import moved
from reid.evaluation.slices import divide
from reid.params.base import Section
from reid.reports.curves import read_curve
from reid.studies.changes import difference as pasted
from reid.studies.jobs import score_path, training_path
from reid.studies.plan import AxisPlan, Plan
from reid.studies.rows import Row
from reid.studies.scores import Scores, difference, intervals

_QUERIES = 8  # those that moved most
_SLICES = 6  # parts of the queries that are shown of a row
_FEWEST = 20  # queries that such a part must have


class Scored(Protocol):
    """The scores on disk (reid.engines.studies.Results)."""

    def scores(self, row: Row, seeds: Sequence[int], split: str) -> Scores | None:
        """Those of a row and split; None where one is missing."""

    def problem(self, row: Row, seeds: Sequence[int]) -> str:
        """What kept a row from being scored."""


def result(name: str, plan: Plan, scored: Scored, folder: Path) -> dict[str, Any]:
    """Everything that a study found.

    Args:
        name: of the study.
        plan: all its axes, decided.
        scored: their scores.
        folder: of its results.

    Returns:
        dict of plain values: facts of the study, ``axes``, each with ``rows``, and ``whole``: what stays against the
        base
    """
    first, last = plan.axes[0], plan.axes[-1]
    kept = last.kept or last.reference
    shared = [seed for seed in first.seeds if seed in last.seeds]
    whole = _row(kept, shared, plan.base, plan, scored, folder) if kept is not plan.base and shared else None
    axes = [_axis(part, plan, scored, folder) for part in plan.axes]
    return {
        "study": name,
        "base": plan.study.base,
        "trainings": len(plan.trainings()),
        "runs": len(plan.scores()),
        "comparisons": sum(row["change"] is not None for axis in axes for row in axis["rows"]),
        "queries": {split: _size(scored.scores(plan.base, first.seeds, split)) for split in plan.study.splits},
        "resamples": plan.base.params.evaluate.resamples,
        "axes": axes,
        "kept": kept.name,
        "whole": whole,
        "difference": pasted(plan.file, kept.content),
    }


def _size(scores: Scores | None) -> dict[str, int]:
    assert scores is not None
    return {"queries": len(scores.queries), "actions": len(np.unique(values(scores.queries, "action_idx")))}


def _axis(part: AxisPlan, plan: Plan, scored: Scored, folder: Path) -> dict[str, Any]:
    rows = [_row(part.reference, part.seeds, None, plan, scored, folder)]
    for name in part.axis.all_rows():
        row = next((row for row in part.rows if row.name == name), None)
        if row is None:
            rows.append(_failed(name, part.problems[name]))
        elif problem := scored.problem(row, part.seeds):
            rows.append(_failed(name, problem))
        else:
            same = row.jobs(0) == part.reference.jobs(0)
            found = _row(row, part.seeds, None if same else part.reference, plan, scored, folder)
            rows.append({**found, "stays": row is part.kept, "same": same})
    rows[0] |= {"stays": part.kept is part.reference, "same": False}
    return {
        "axis": part.axis.axis,
        "rule": part.stays,
        "seeds": part.seeds,
        "why": part.why,
        "kept": part.kept.name if part.kept else part.reference.name,
        "rows": rows,
    }


def _failed(name: str, problem: str) -> dict[str, Any]:
    return {"row": name, "problem": problem, "stays": False, "same": False, "change": None}


def _row(
    row: Row, seeds: Sequence[int], reference: Row | None, plan: Plan, scored: Scored, folder: Path
) -> dict[str, Any]:
    """Figures of a row: means over the seeds, each seed, and the difference from what it is compared with."""
    evaluate, change = row.params.evaluate, {}
    found: dict[str, Any] = {}
    slices: list[dict[str, Any]] = []
    for split in plan.study.splits:
        scores = scored.scores(row, seeds, split)
        assert scores is not None
        interval = intervals({"mAP": scores.ap.mean(0)}, scores.queries, evaluate)["mAP"]
        found[split] = {
            "mAP": float(scores.ap.mean()),
            "rank-1": float(scores.first.mean()),
            "interval": interval,
            "seeds": scores.ap.mean(1).tolist(),
        }
        before = reference and scored.scores(reference, seeds, split)
        if before:
            change[split] = {
                **difference(before, scores, evaluate),
                **moved(before.queries, before.ap.mean(0), scores.ap.mean(0), _QUERIES),
            }
            if split == "valid":
                slices = _slices(before, scores, evaluate)
    return {
        "row": row.name,
        "problem": "",
        "changes": row.changes,
        "difference": pasted(plan.file, row.content),
        **found,
        "change": change or None,
        "slices": slices,
        **_cost(row, seeds, folder),
        "curves": [_valid_curve(row, seed, folder) for seed in seeds],
        "losses": [_curve(training_path(folder, row, seed, "curves/loss.tsv"), "loss") for seed in seeds],
        "results": [str(score_path(folder, row, seed, "valid", "").relative_to(folder).parent) for seed in seeds],
        "trainings": [str(training_path(folder, row, seed, "").relative_to(folder)) for seed in seeds],
        "gallery": _gallery(row, seeds, folder),
    }


def _slices(before: Scores, after: Scores, evaluate: Section) -> list[dict[str, Any]]:
    """The parts of the queries of valid in which two rows differ most, with the paired interval of each.

    They are the extremes of many: that one of them leaves out zero says little.
    """
    change = after.ap.mean(0) - before.ap.mean(0)
    found = []
    for name, (part, parts) in divide(before.queries).items():
        for i, value in enumerate(parts):
            chosen = np.flatnonzero(part == i)
            if len(chosen) >= _FEWEST and len(chosen) < len(change):
                found.append((name, value, chosen, float(change[chosen].mean())))
    found.sort(key=lambda one: -abs(one[3] - change.mean()))
    rows = []
    for name, value, chosen, mean in found[:_SLICES]:
        interval = intervals({"mAP": change[chosen]}, before.queries.take(chosen), evaluate)["mAP"]  # type: ignore[arg-type]
        rows.append({"slice": name, "value": value, "queries": len(chosen), "difference": mean, "interval": interval})
    return rows


def _cost(row: Row, seeds: Sequence[int], folder: Path) -> dict[str, Any]:
    """Parameters, FLOPs of an image, images seen and seconds of training, means over the seeds.

    Seconds are those of the epochs, without evaluations on valid; a training that was killed counts each epoch once.
    """
    images, seconds, summary = [], [], {}
    for seed in seeds:
        summary = read_json(training_path(folder, row, seed, "summary.json"))
        seen = sum(one["images"] for one in summary["seeds"])
        path = training_path(folder, row, seed, "speed/images_per_second.tsv")
        rates = [rate for _, rate in _curve(path, "images_per_second")]
        images.append(seen)
        seconds.append(seen * float(np.mean([1 / rate for rate in rates])) if rates else 0.0)
    return {
        "parameters": summary["parameters"],
        "flops": summary["flops"],
        "images": float(np.mean(images)),
        "seconds": float(np.mean(seconds)),
    }


def _valid_curve(row: Row, seed: int, folder: Path) -> list[list[float]]:
    """mAP of valid in each epoch: of the averaged weights, where there are any by then."""
    names = ("valid_mAP", "valid_mAP_averaged")
    raw, averaged = (_curve(training_path(folder, row, seed, f"curves/{name}.tsv"), name) for name in names)
    points = {epoch: value for epoch, value in [*raw, *averaged]}
    return [[epoch, points[epoch]] for epoch in sorted(points)]


def _curve(path: Path, name: str) -> list[list[float]]:
    """Epochs from 1, and values; empty where there is no such file."""
    if not path.exists():
        return []
    epochs, points = read_curve(path, name)
    return [list(pair) for pair in zip(epochs.tolist(), points.tolist(), strict=True)]


def _gallery(row: Row, seeds: Sequence[int], folder: Path) -> str | None:
    path = folder / "browse" / row.jobs(seeds[0]).score / "valid.html"
    return str(path.relative_to(folder)) if path.exists() else None
