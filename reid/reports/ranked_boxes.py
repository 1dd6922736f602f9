"""The best ranked boxes of a query, as sheets show them."""

from typing import NamedTuple

import numpy as np

from reid.retrieval.order import Pairs, Ranked


class Box(NamedTuple):
    """A ranked box: row in the index, rank from 1, distance to the query, whether it is a match (None: not known)."""

    row: int
    rank: int
    distance: float
    match: bool | None


def ranked_boxes(
    ranked: Ranked, match: np.ndarray | None, gallery_row: np.ndarray, pairs: Pairs, position: int, boxes: int
) -> list[Box]:
    """The best ranked boxes of a query, and its first match where it is not among them.

    Args:
        ranked: the galleries of all queries.
        match, gallery_row: of ``reid.evaluation.true_matches.scored_rows``; no ``match`` (None) where the labels are
            hidden.
        pairs: those that were ranked.
        position: of the query in ``ranked.start``.
        boxes: how many.

    Returns:
        list of Box, by rank
    """
    first = ranked.start[position]
    size = np.append(ranked.start, len(ranked.query))[position + 1] - first
    own = pairs.query == ranked.query[first]
    distance = dict(zip(pairs.gallery[own].tolist(), pairs.distance[own].tolist(), strict=True))
    shown = list(range(min(boxes, size)))
    if match is not None and not match[first : first + len(shown)].any():
        shown.append(int(np.argmax(match[first : first + size])))
    return [
        Box(int(gallery_row[i]), k + 1, distance[int(ranked.gallery[i])], None if match is None else bool(match[i]))
        for k, i in ((k, first + k) for k in shown)
    ]
