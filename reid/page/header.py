"""What stands at the top of a gallery page: of what it is, and how good the rankings are beside chance.

All of it comes from the files that the page is made of and from ``params.yaml``. A commit or a date would differ where
nothing else does; they stand in the provenance of a submission, which the overview shows.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from reid.evaluation.intervals import Resamples, action_codes, mean_intervals
from reid.page.rankings import Rankings


class About(NamedTuple):
    """Of what a page is: split, whether it was trained on, SHA-256 of its zip, and weights of the models by name.

    ``models`` is empty where they are not known. ``runs`` names what is compared, the earlier one first; empty for the
    page of one run.
    """

    split: str
    trained_on: bool = False
    zip_sha256: str = ""
    models: Mapping[str, float] = {}
    runs: tuple[str, ...] = ()


class Score(NamedTuple):
    """The mean of a score over all queries, its 95 % interval (None with one action), and its value at random."""

    name: str
    value: float
    interval: list[float] | None
    chance: float | None


def _scores(rankings: Rankings) -> dict[str, np.ndarray]:
    """AP and success at rank 1 of every query of labelled rankings: float64 arrays."""
    if rankings.ap is None or rankings.first_match_rank is None:
        return {}
    return {"mAP": rankings.ap, "rank-1": (rankings.first_match_rank == 1).astype(np.float64)}


def _intervals(
    rankings: Rankings, scores: dict[str, np.ndarray], resamples: int, seed: int
) -> dict[str, list[float] | None]:
    code, actions = action_codes(rankings.query_action)
    return mean_intervals(code, scores, Resamples(actions, resamples, seed))


def scores_of(rankings: Rankings, resamples: int, seed: int) -> list[Score]:
    """mAP and rank-1 with their intervals and chance; nothing where the labels are hidden.

    Args:
        rankings: of a split.
        resamples, seed: of the bootstrap over actions.
    """
    if not (scores := _scores(rankings)):
        return []
    intervals, chance = _intervals(rankings, scores, resamples, seed), rankings.chance or {}
    return [Score(name, float(s.mean()), intervals[name], chance.get(name)) for name, s in scores.items()]


def differences(before: Rankings, after: Rankings, resamples: int, seed: int) -> list[Score]:
    """How much better the later run is, as :func:`scores_of`: both resampled together, and no chance."""
    one, other = _scores(before), _scores(after)
    change = {name: other[name] - one[name] for name in other}
    intervals = _intervals(after, change, resamples, seed)
    return [Score(name, float(value.mean()), intervals[name], None) for name, value in change.items()]


def facts(about: About, scores: list[Score]) -> list[str]:
    """The header in short sentences, one element each."""
    lines = [f"{_signed(s) if about.runs else f'{s.value:.3f}'}{_more(s, bool(about.runs))}" for s in scores]
    told = [f"{score.name} {line}" for score, line in zip(scores, lines, strict=True)]
    if about.runs:
        told = [f"B − A: {line}" for line in told]
    if about.models:
        alike = len(set(about.models.values())) == 1
        names = [name if alike else f"{weight:g} {name}" for name, weight in about.models.items()]
        told.append(f"model{'s' if len(names) > 1 else ''} {' + '.join(names)}")
    if about.zip_sha256:
        told.append(f"data {about.split}.zip, SHA-256 {about.zip_sha256[:12]}…")
    return told


def _signed(score: Score) -> str:
    return f"{score.value:+.3f}"


def _more(score: Score, signed: bool) -> str:
    """Interval and chance of a score, in brackets."""
    form = "{:+.3f} to {:+.3f}" if signed else "{:.3f} to {:.3f}"
    parts = [] if score.interval is None else [form.format(*score.interval)]
    if score.chance is not None:
        parts.append(f"chance {score.chance:.3f}")
    return f" ({', '.join(parts)})" if parts else ""


def as_content(about: About) -> dict[str, Any]:
    """What the page's scripts read of it."""
    return {"split": about.split, "trainedOn": about.trained_on, "runs": list(about.runs)}
