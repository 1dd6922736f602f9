"""Statistics of the data: how many of what and how large, from the indexes, beside the published counts."""

from typing import Any

import numpy as np
import pyarrow as pa

from reid.core.tables import column, has_role, is_query, labels
from reid.data import completeness
from reid.raw.filenames import CLASSES
from reid.reports.channel_statistics import channels

INDEX_COLUMNS = ["role", "bbox_idx", "action_idx", "person_uid", "clazz", "id", "height", "width"]
INDEX_COLUMNS += ["championship", "season", "game"]
_GROUPS = {  # of the real data. Source: the dev kit's README
    "train": {"identities": 161443, "actions": 9189},
    "valid": {"identities": 29534, "actions": 1751},
    "test": {"identities": 30059, "actions": 1715},
    "challenge": {"actions": 1310},
}
_ROLES = {"query": "queries", "gallery": "gallery"}  # to the name of their number
PUBLISHED = {
    split: {
        "thumbnails": sum(numbers.values()),
        **{_ROLES[role]: number for role, number in numbers.items() if role in _ROLES},
        **_GROUPS[split],
    }
    for split, numbers in completeness.PUBLISHED.items()
}
QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
JERSEYS = ("number", "letter", "none")  # none: seen in no other frame

Values = np.ndarray | dict[str, int]
Distributions = dict[str, Values]


def _number_of(*columns: np.ndarray) -> int:
    """How many different rows some columns have; rows with a negative value (null) are left out."""
    known = np.all([values >= 0 for values in columns], axis=0)
    code = np.zeros(np.count_nonzero(known), np.int64)
    for values in columns:
        code = code * (values.max() + 1) + values[known]
        code = np.unique(code, return_inverse=True)[1]  # keeps the product small
    return len(np.unique(code))


def _per(group: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
    """How many of the ``chosen`` rows each group has, groups with none included; null (negative) is no group."""
    _, code = np.unique(group[group >= 0], return_inverse=True)
    chosen = None if chosen is None else chosen[group >= 0]
    return np.bincount(code, chosen).astype(np.int64)


def _texts(table: pa.Table, name: str) -> dict[str, int]:
    """How often each text of a column occurs; null does not count."""
    code, texts = labels(table, name)
    return dict(zip(texts, np.bincount(code[code >= 0], minlength=len(texts)).tolist(), strict=True))


def _jersey(text: str) -> str:
    """Which of :data:`JERSEYS` the field ID of a name is."""
    return JERSEYS[2] if text == "None" else JERSEYS[0] if text.isdigit() else JERSEYS[1]


def distributions(table: pa.Table) -> Distributions:
    """The values of a split that are counted.

    Args:
        table: its index (:data:`INDEX_COLUMNS`).

    Returns:
        name to int64 or float64 array, or for texts to dict of how often each occurs; empty for what the split does
        not have (the training split has no queries, the challenge no labels). ``images per identity`` has an element
        per identity, ``boxes``, ``queries`` and ``gallery per action`` one per action, all else one per thumbnail.
    """
    action, identity = column(table, "action_idx"), column(table, "person_uid")
    height, width = column(table, "height"), column(table, "width")
    query, gallery = is_query(table), has_role(table, "gallery")
    nothing = np.zeros(0, np.int64)
    jersey = dict.fromkeys(JERSEYS, 0)
    for text, count in _texts(table, "id").items():
        jersey[_jersey(text)] += count
    classes = _texts(table, "clazz")
    return {
        "images per identity": _per(identity),
        "boxes per action": _per(action),
        "queries per action": _per(action, query) if query.any() else nothing,
        "gallery per action": _per(action, gallery) if gallery.any() else nothing,
        "height": height,
        "width": width,
        "height / width": height / width,
        "class": {name: classes[name] for name in CLASSES if name in classes},
        "jersey": {name: count for name, count in jersey.items() if count},
    }


def totals(table: pa.Table) -> dict[str, int | None]:
    """Number of thumbnails, queries, gallery boxes, identities, actions, games and championships.

    Returns:
        None for what the split does not tell (the challenge its identities) or have (train queries)
    """
    action, identity = column(table, "action_idx"), column(table, "person_uid")
    league, season, game = (labels(table, name)[0] for name in ("championship", "season", "game"))
    counts = {
        "thumbnails": len(table),
        "queries": int(is_query(table).sum()),
        "gallery": int(has_role(table, "gallery").sum()),
        "identities": _number_of(identity),
        "actions": _number_of(action),
        "games": _number_of(league, season, game),
        "championships": _number_of(league),
    }
    return {name: count or None for name, count in counts.items()}


def _counted(values: Values) -> list[tuple[Any, int]]:
    """Different values and how often each occurs, in order; ratios in steps of 0.1."""
    if isinstance(values, dict):
        return list(values.items())
    if values.dtype == np.float64:
        return [(f"{step / 10:.1f}", count) for step, count in _counted(np.floor(values * 10 + 1e-9).astype(np.int64))]
    different, counts = np.unique(values, return_counts=True)
    return list(zip(different.tolist(), counts.tolist(), strict=True))


def summary(values: Values) -> dict[str, Any] | None:
    """Mean and quantiles of numbers; how often each text occurs; None for no values."""
    if not len(values):
        return None
    if isinstance(values, dict):
        return values
    quantiles = np.quantile(values, QUANTILES).tolist()
    named = {f"{q:.0%}": value for q, value in zip(QUANTILES, quantiles, strict=True)}
    return {"count": len(values), "mean": float(np.mean(values)), "quantiles": named}


def statistics(
    tables: dict[str, pa.Table], counted: dict[str, Distributions], stores: dict[str, np.ndarray]
) -> dict[str, Any]:
    """All statistics, as JSON holds them.

    Args:
        tables: split to its index.
        counted: split to what :func:`distributions` returns.
        stores: split to its thumbnail store.

    Returns:
        split to ``{"totals": {name: {"found", "published"}}, "distributions": {name: ...}, "channels": ...}``
    """
    result = {}
    for split, table in tables.items():
        result[split] = {
            "totals": {
                name: {"found": count, "published": PUBLISHED[split].get(name)}
                for name, count in totals(table).items()
            },
            "distributions": {name: summary(values) for name, values in counted[split].items()},
            "channels": channels(stores[split]),
        }
    return result


def long_table(tables: dict[str, pa.Table], counted: dict[str, Distributions]) -> pa.Table:
    """Every count in one table: columns split, quantity, value, count.

    Totals have the values ``found`` and ``published``. All other rows say how often a value occurs; heights and widths
    are pixels, ``height / width`` the lower edge of steps of 0.1.

    Args:
        tables: split to its index.
        counted: split to what :func:`distributions` returns.
    """
    rows: list[tuple[str, str, str, int]] = []
    for split, table in tables.items():
        for name, total in totals(table).items():
            both = (("found", total), ("published", PUBLISHED[split].get(name)))
            rows += [(split, name, kind, count) for kind, count in both if count is not None]
        for name, values in counted[split].items():
            rows += [(split, name, str(value), count) for value, count in _counted(values)]
    kinds = (pa.string(), pa.string(), pa.string(), pa.int64())
    names = ("split", "quantity", "value", "count")
    columns = zip(*rows, strict=True)
    return pa.table({n: pa.array(c, k) for n, c, k in zip(names, columns, kinds, strict=True)})
