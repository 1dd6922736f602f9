"""Scores of kinds of queries: each slice divides all queries, so that its parts add up to the whole.

A slice measures and does not explain: small boxes may be worse only because they are from harder actions.
"""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa

from reid.core.tables import labels, values
from reid.evaluation.intervals import Resamples, ratio_intervals

HEIGHTS = (64, 96, 128, 192, 256, 384)  # pixels; lower edges of all parts but the first
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.5)
GALLERIES = (6, 11, 16, 21, 31)
POSITIVES = (2, 3, 4)


def _named(table: pa.Table, name: str) -> tuple[np.ndarray, list[str]]:
    """Number of each query's text in column ``name``, and all texts, in alphabetical order."""
    code, texts = labels(table, name)
    order = sorted(range(len(texts)), key=texts.__getitem__)
    place = np.empty(len(texts), np.int64)
    place[order] = np.arange(len(texts))
    return place[code], [texts[i] for i in order]


def _whole(edges: tuple[int, ...], unit: str, units: str) -> list[str]:
    """Names of the parts of the whole numbers from 1 on that :func:`numpy.digitize` makes at ``edges``."""
    names = []
    for low, high in zip((1, *edges), (*edges, None), strict=True):
        if high is None:
            names.append(f"{low} {units} and more")
        elif low == 1 and high > 10:
            names.append(f"under {high} {units}")
        elif high == low + 1:
            names.append(f"{low} {unit if low == 1 else units}")
        else:
            names.append(f"{low} to {high - 1} {units}")
    return names


def divide(queries: pa.Table) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Divide the queries in several ways.

    Args:
        queries: table of ``reid.evaluation.queries``.

    Returns:
        dict: name of the slice to (int64 array, list of str): the part that each query is in, and the names of the
        parts; a part may be empty
    """
    ratios = [f"{low:g} to {high:g} times as tall" for low, high in itertools.pairwise(RATIOS)]
    ratios = [f"under {RATIOS[0]:g} times as tall", *ratios, f"{RATIOS[-1]:g} times as tall and more"]
    return {
        "class": _named(queries, "clazz"),
        "jersey": (values(queries, "jersey_known").astype(np.int64), ["jersey unknown", "jersey known"]),
        "height": (np.digitize(values(queries, "height"), HEIGHTS), _whole(HEIGHTS, "pixel", "pixels")),
        "resolution ratio": (np.digitize(values(queries, "resolution_ratio"), RATIOS), ratios),
        "gallery size": (np.digitize(values(queries, "gallery_size"), GALLERIES), _whole(GALLERIES, "box", "boxes")),
        "championship": _named(queries, "championship"),
        "positives": (
            np.digitize(values(queries, "positives"), POSITIVES),
            _whole(POSITIVES, "true match", "true matches"),
        ),
    }


def slice_scores(queries: pa.Table, action: np.ndarray, weights: Resamples) -> list[dict[str, Any]]:
    """mAP and rank-1 of every part that has queries.

    Args:
        queries: table of ``reid.evaluation.queries``.
        action: int array, action of each query, numbered from 0.
        weights: of so many actions.

    Returns:
        list of dict: ``{"slice", "value", "queries", "mAP", "low", "high", "rank-1"}``; low and high are the 95 %
        interval of mAP, None where all queries are of one action
    """
    ap, first = values(queries, "AP"), values(queries, "first_match_rank") == 1
    actions, rows, total, count = weights.actions, [], [], []
    for name, (part, parts) in divide(queries).items():
        for i, value in enumerate(parts):
            chosen = np.flatnonzero(part == i)
            if not len(chosen):
                continue
            total.append(np.bincount(action[chosen], ap[chosen], actions))
            count.append(np.bincount(action[chosen], minlength=actions).astype(float))
            scores = {"mAP": float(ap[chosen].mean()), "rank-1": float(first[chosen].mean())}
            rows.append({"slice": name, "value": value, "queries": len(chosen), **scores})
    intervals = ratio_intervals(np.stack(total, axis=1), np.stack(count, axis=1), weights)
    for row, interval in zip(rows, intervals, strict=True):
        row["low"], row["high"] = interval or (None, None)
    return [
        {name: row[name] for name in ("slice", "value", "queries", "mAP", "low", "high", "rank-1")} for row in rows
    ]
