"""The scores of a row: every query's AP on valid and test with each seed, and how two rows differ."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from reid.core.tables import values
from reid.evaluation.comparison import align, open_result
from reid.evaluation.intervals import Resamples, action_codes, mean_intervals
from reid.params.ranking import Evaluate

Interval = list[float] | None


class Scores(NamedTuple):
    """A split as one row ranked it.

    ``queries`` is the table of the first seed, by bbox_idx, read from ``path``; ``ap`` float64 and ``first`` bool (a
    match at rank 1) are seeds x queries.
    """

    path: str
    split: str
    queries: pa.Table
    ap: np.ndarray
    first: np.ndarray


def read_scores(paths: Sequence[Path], split: str) -> Scores:
    """Read the queries of one row.

    Args:
        paths: a table of scripts/evaluate.py for each seed.
        split: which it is of.

    Raises:
        ReidError: one is missing, or they are not of the same queries.
    """
    results = [open_result(str(path), split) for path in paths]
    first, names = results[0], list(map(str, paths))
    tables = [align(first, other, (names[0], name))[1] for other, name in zip(results, names, strict=True)]
    ap = np.stack([values(table, "AP") for table in tables])
    first_match = np.stack([values(table, "first_match_rank") == 1 for table in tables])
    return Scores(names[0], first[1]["split"], tables[0], ap, first_match)


@functools.lru_cache(4)
def _resamples(actions: int, resamples: int, seed: int) -> Resamples:
    return Resamples(actions, resamples, seed)


def intervals(scores: dict[str, np.ndarray], queries: pa.Table, evaluate: Evaluate) -> dict[str, Interval]:
    """95 % intervals of means over queries, from a bootstrap over actions.

    Args:
        scores: name to float array, one value per query.
        queries: their table.
        evaluate: resamples and seed.
    """
    action, actions = action_codes(values(queries, "action_idx"))
    return mean_intervals(action, scores, _resamples(actions, evaluate.resamples, evaluate.seed))


def difference(before: Scores, after: Scores, evaluate: Evaluate) -> dict[str, Any]:
    """By how much a row is above another on the same split: paired by query, means over the seeds.

    Returns:
        dict: ``mAP`` and ``rank-1``, each with ``difference`` and ``interval`` (95 %; None with one action)

    Raises:
        ReidError: they are not of the same queries.
    """
    one, other = ((scores.queries, {"split": scores.split}) for scores in (before, after))
    align(one, other, (before.path, after.path))
    change = {
        "mAP": after.ap.mean(0) - before.ap.mean(0),
        "rank-1": after.first.mean(0) - before.first.mean(0),
    }
    found = intervals(change, before.queries, evaluate)
    return {name: {"difference": float(change[name].mean()), "interval": found[name]} for name in change}
