"""Which row of an axis goes on to the next: by valid, never by test."""

from collections.abc import Sequence
from typing import Protocol

from reid.studies.rows import Row
from reid.studies.scores import Scores, difference


class Outcomes(Protocol):
    """What is known of rows that ran."""

    def valid(self, row: Row, seeds: Sequence[int]) -> Scores | None:
        """Scores of valid with these seeds; None as long as one is missing."""

    def failed(self, row: Row, seeds: Sequence[int]) -> bool:
        """Whether it came to an end without scores."""


def choose(
    stays: str, reference: Row, rows: Sequence[Row], seeds: Sequence[int], outcomes: Outcomes | None
) -> tuple[Row | None, str]:
    """The row that goes on, and why.

    Args:
        stays: the rule: mean, interval, always or never.
        reference: what the rows are put on top of.
        rows: those that can be.
        seeds: of the axis.
        outcomes: None where nothing ran: then only ``always`` rows stay.

    Returns:
        (Row or None, str): None as long as it is not known
    """
    if stays == "never":
        return reference, "the axis is for comparison alone"
    if outcomes is None:
        return (rows[0] if stays == "always" and rows else reference), "not known yet"
    alive = [row for row in rows if not outcomes.failed(row, seeds)]
    if not alive:
        return reference, "no row of this axis could be scored"
    if stays == "always" and len(rows) == 1:
        return rows[0], "this axis always stays"
    scores = {row.name: outcomes.valid(row, seeds) for row in alive}
    before = outcomes.valid(reference, seeds)
    if before is None or any(one is None for one in scores.values()):
        return None, "not known yet"
    mean = {name: one.ap.mean() for name, one in scores.items() if one is not None}
    best = max(alive, key=lambda row: mean[row.name])  # the first of equals
    found = scores[best.name]
    assert found is not None
    gain = f"{100 * (mean[best.name] - before.ap.mean()):+.1f} points of mean mAP on valid"
    if stays == "always":
        return best, f"{best.name} stays, the best of an axis that always does: {gain}"
    if stays == "mean":
        better, rule = mean[best.name] > before.ap.mean(), "the mean of valid must rise"
    else:
        interval = difference(before, found, best.params.evaluate)["mAP"]["interval"]
        better, rule = interval is not None and interval[0] > 0, "the interval on valid must be above zero"
        if interval:
            gain += f", interval {100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
    if better:
        return best, f"{best.name} stays: {gain}"
    return reference, f"no row stays, for {rule}: {best.name}, the best, has {gain}"
