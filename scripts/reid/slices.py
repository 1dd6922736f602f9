"""Scores of kinds of queries: each slice divides all queries, so that its parts add up to the whole.

A slice measures and does not explain: small boxes may be worse only because they are from harder actions.
"""

import itertools

import numpy as np

from reid.intervals import ratio_intervals
from reid.tables import labels, values

HEIGHTS = (64, 96, 128, 192, 256, 384)  # pixels; lower edges of all parts but the first
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.5)
GALLERIES = (6, 11, 16, 21, 31)
POSITIVES = (2, 3, 4)


def _named(table, name):
    """Number of each query's text in column ``name``, and all texts, in alphabetical order."""
    code, texts = labels(table, name)
    order = sorted(range(len(texts)), key=texts.__getitem__)
    place = np.empty(len(texts), np.int64)
    place[order] = np.arange(len(texts))
    return place[code], [texts[i] for i in order]


def _whole(edges, unit, units):
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


def divide(queries):
    """Divide the queries in several ways.

    Args:
        queries: pyarrow.Table of ``reid.queries``.

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
            _whole(POSITIVES, "right box", "right boxes"),
        ),
    }


def slice_scores(queries, action, weights):
    """mAP and rank-1 of every part that has queries.

    Args:
        queries: pyarrow.Table of ``reid.queries``.
        action: int array, action of each query, numbered from 0.
        weights: float64 array, resamples x actions, of ``reid.intervals.resample``.

    Returns:
        list of dict: ``{"slice", "value", "queries", "mAP", "low", "high", "rank-1"}``; low and high are the 95 %
        interval of mAP, None where all queries are of one action
    """
    precision, first = values(queries, "AP"), values(queries, "first_right") == 1
    actions, rows, total, count = weights.shape[1], [], [], []
    for name, (part, parts) in divide(queries).items():
        for i, value in enumerate(parts):
            chosen = np.flatnonzero(part == i)
            if not len(chosen):
                continue
            total.append(np.bincount(action[chosen], precision[chosen], actions))
            count.append(np.bincount(action[chosen], minlength=actions).astype(float))
            mean, hits = float(precision[chosen].mean()), float(first[chosen].mean())
            rows.append({"slice": name, "value": value, "queries": len(chosen), "mAP": mean, "rank-1": hits})
    intervals = ratio_intervals(np.stack(total, axis=1), np.stack(count, axis=1), weights)
    names = ("slice", "value", "queries", "mAP", "low", "high", "rank-1")
    rows = [
        row | dict(zip(("low", "high"), i or (None, None), strict=True))
        for row, i in zip(rows, intervals, strict=True)
    ]
    return [{name: row[name] for name in names} for row in rows]
