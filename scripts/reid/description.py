"""Statistics of the data: how many of what, how large, and what colours; from the indexes and thumbnail stores."""

from contextlib import nullcontext

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reid.filenames import CLASSES
from reid.files import replacing
from reid.tables import column, has_role, is_query, labels

INDEX_COLUMNS = ["role", "bbox_idx", "action_idx", "person_uid", "clazz", "id", "height", "width"]
INDEX_COLUMNS += ["championship", "season", "game"]
# of the real data. Source: the dev kit's README
PUBLISHED = {
    "train": {"thumbnails": 248234, "people": 161443, "actions": 9189},
    "valid": {"thumbnails": 45993, "queries": 11638, "gallery": 34355, "people": 29534, "actions": 1751},
    "test": {"thumbnails": 46766, "queries": 11777, "gallery": 34989, "people": 30059, "actions": 1715},
    "challenge": {"thumbnails": 35103, "queries": 9021, "gallery": 26082, "actions": 1310},
}
QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
JERSEYS = ("number", "letter", "none")  # none: seen in no other frame
SAMPLE = 4096  # pictures whose colours are counted, of a split that has more: the real train store holds 24 GB
_BLOCK = 64  # pictures at a time; their sums of squares fit uint32


def _number_of(*columns):
    """How many different rows some columns have; rows with a negative value (null) are left out."""
    known = np.all([values >= 0 for values in columns], axis=0)
    code = np.zeros(np.count_nonzero(known), np.int64)
    for values in columns:
        code = code * (values.max() + 1) + values[known]
        code = np.unique(code, return_inverse=True)[1]  # keeps the product small
    return len(np.unique(code))


def _per(group, chosen=None):
    """How many of the ``chosen`` rows each group has, groups with none included; null (negative) is no group."""
    _, code = np.unique(group[group >= 0], return_inverse=True)
    chosen = None if chosen is None else chosen[group >= 0]
    return np.bincount(code, chosen).astype(np.int64)


def _texts(table, name):
    """How often each text of a column occurs; null does not count."""
    code, texts = labels(table, name)
    return dict(zip(texts, np.bincount(code[code >= 0], minlength=len(texts)).tolist(), strict=True))


def _jersey(text):
    """Which of :data:`JERSEYS` the field ID of a name is."""
    return JERSEYS[2] if text == "None" else JERSEYS[0] if text.isdigit() else JERSEYS[1]


def distributions(table):
    """The values of a split that are counted.

    Args:
        table: its index (:data:`INDEX_COLUMNS`).

    Returns:
        dict: name to int64 or float64 array, or for texts to dict of how often each occurs; empty for what the split
        does not have (the training split has no queries, the challenge no labels). ``pictures per person`` has an
        element per person, ``boxes``, ``queries`` and ``gallery per action`` one per action, all else one per
        thumbnail.
    """
    action, person = column(table, "action_idx"), column(table, "person_uid")
    height, width = column(table, "height"), column(table, "width")
    query, gallery = is_query(table), has_role(table, "gallery")
    nothing = np.zeros(0, np.int64)
    jersey = dict.fromkeys(JERSEYS, 0)
    for text, count in _texts(table, "id").items():
        jersey[_jersey(text)] += count
    classes = _texts(table, "clazz")
    return {
        "pictures per person": _per(person),
        "boxes per action": _per(action),
        "queries per action": _per(action, query) if query.any() else nothing,
        "gallery per action": _per(action, gallery) if gallery.any() else nothing,
        "height": height,
        "width": width,
        "height / width": height / width,
        "class": {name: classes[name] for name in CLASSES if name in classes},
        "jersey": {name: count for name, count in jersey.items() if count},
    }


def totals(table):
    """Number of thumbnails, queries, gallery boxes, people, actions, games and championships.

    Returns:
        dict: name to int; None for what the split does not tell (the challenge its people) or have (train queries)
    """
    action, person = column(table, "action_idx"), column(table, "person_uid")
    league, season, game = (labels(table, name)[0] for name in ("championship", "season", "game"))
    found = {
        "thumbnails": len(table),
        "queries": int(is_query(table).sum()),
        "gallery": int(has_role(table, "gallery").sum()),
        "people": _number_of(person),
        "actions": _number_of(action),
        "games": _number_of(league, season, game),
        "championships": _number_of(league),
    }
    return {name: count or None for name, count in found.items()}


def _blocks(store, rows):
    """Some rows of a store, a block at a time, as uint8 n x (H W 3).

    A memory map is read as a file: its pages would count as memory of this process, and each would be a fault.
    """
    size = int(np.prod(store.shape[1:]))
    with open(store.filename, "rb", buffering=0) if isinstance(store, np.memmap) else nullcontext() as file:
        for first in range(0, len(rows), _BLOCK):
            chosen = rows[first : first + _BLOCK]
            if file is None:
                yield store[chosen].reshape(len(chosen), size)
                continue
            block = np.empty((len(chosen), size), np.uint8)
            for line, row in zip(block, chosen.tolist(), strict=True):
                file.seek(store.offset + row * size)
                file.readinto(line)
            yield block


def channels(store, sample=SAMPLE):
    """Mean and standard deviation of each colour over all pixels of a thumbnail store.

    Of a store with more pictures than ``sample`` that many are taken, evenly spaced. Sums are whole numbers, so the
    result does not depend on how they are split; memory does not depend on the store.

    Args:
        store: uint8 array or memory map, N x H x W x 3.
        sample: how many pictures at most.

    Returns:
        dict: ``{"mean": [r, g, b], "std": [r, g, b], "pictures", "of"}``; colours from 0 to 1
    """
    count = min(len(store), sample)
    rows = np.arange(count) * len(store) // count
    total = square = np.zeros(3, np.uint64)
    for block in _blocks(store, rows):
        # over pictures first: that is along memory, and much faster than over the pixels of one channel
        total = total + block.sum(axis=0, dtype=np.uint32).reshape(-1, 3).sum(axis=0, dtype=np.uint64)
        squares = np.square(block, dtype=np.uint16).sum(axis=0, dtype=np.uint32)
        square = square + squares.reshape(-1, 3).sum(axis=0, dtype=np.uint64)
    pixels = count * store.shape[1] * store.shape[2]
    mean = total / pixels / 255
    std = [
        float(np.sqrt(pixels * int(q) - int(t) ** 2) / pixels / 255) for t, q in zip(total, square, strict=True)
    ]  # in whole numbers up to the root: nothing cancels
    return {"mean": mean.tolist(), "std": std, "pictures": count, "of": len(store)}


def _counted(values):
    """Different values and how often each occurs, in order; ratios in steps of 0.1."""
    if isinstance(values, dict):
        return list(values.items())
    if values.dtype == np.float64:
        return [(f"{step / 10:.1f}", count) for step, count in _counted(np.floor(values * 10 + 1e-9).astype(np.int64))]
    found, counts = np.unique(values, return_counts=True)
    return list(zip(found.tolist(), counts.tolist(), strict=True))


def summary(values):
    """Mean and quantiles of numbers; how often each text occurs.

    Returns:
        dict, or None for no values
    """
    if not len(values):
        return None
    if isinstance(values, dict):
        return values
    quantiles = np.quantile(values, QUANTILES).tolist()
    named = {f"{q:.0%}": value for q, value in zip(QUANTILES, quantiles, strict=True)}
    return {"count": len(values), "mean": float(np.mean(values)), "quantiles": named}


def statistics(tables, found, stores):
    """All statistics, as JSON holds them.

    Args:
        tables: dict from split to its index.
        found: dict from split to what :func:`distributions` returns.
        stores: dict from split to its thumbnail store.

    Returns:
        dict: split to ``{"totals": {name: {"found", "published"}}, "distributions": {name: ...}, "channels": ...}``
    """
    result = {}
    for split, table in tables.items():
        result[split] = {
            "totals": {
                name: {"found": count, "published": PUBLISHED[split].get(name)}
                for name, count in totals(table).items()
            },
            "distributions": {name: summary(values) for name, values in found[split].items()},
            "channels": channels(stores[split]),
        }
    return result


def long_table(tables, found):
    """Every count in one table: columns split, quantity, value, count.

    Totals have the values ``found`` and ``published``. All other rows say how often a value occurs; heights and widths
    are pixels, ``height / width`` the lower edge of steps of 0.1.

    Args:
        tables: dict from split to its index.
        found: dict from split to what :func:`distributions` returns.

    Returns:
        pyarrow.Table
    """
    rows = []
    for split, table in tables.items():
        for name, total in totals(table).items():
            both = (("found", total), ("published", PUBLISHED[split].get(name)))
            rows += [(split, name, kind, count) for kind, count in both if count is not None]
        for name, values in found[split].items():
            rows += [(split, name, str(value), count) for value, count in _counted(values)]
    kinds = (pa.string(), pa.string(), pa.string(), pa.int64())
    names = ("split", "quantity", "value", "count")
    columns = zip(*rows, strict=True)
    return pa.table({n: pa.array(c, k) for n, c, k in zip(names, columns, kinds, strict=True)})


def write_table(path, table):
    """Write :func:`long_table`."""
    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def typical_actions(table, number):
    """The actions whose number of boxes is nearest to the median.

    Args:
        table: an index (column action_idx).
        number: how many at most.

    Returns:
        list of int: action_idx, ascending
    """
    actions, counts = np.unique(column(table, "action_idx"), return_counts=True)
    order = np.lexsort((actions, np.abs(counts - np.median(counts))))
    return sorted(actions[order[:number]].tolist())
