"""The ranked galleries of a split, action by action."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from reid.core.tables import column
from reid.data.actions import Action, group_actions
from reid.evaluation.true_matches import scored_rows
from reid.ranking.ranking_file import check_ranked
from reid.retrieval.metrics import average_precision, chance, first_match_rank
from reid.retrieval.order import Pairs, rank


class Rankings(NamedTuple):
    """The ranked galleries of a split and how good they are; queries in ascending order of bbox_idx.

    Of each action, in the order of ``actions``: ``distance``, float64 arrays queries x gallery boxes, and ``order``,
    int64 arrays of the same shape: positions in the action's gallery, best first. ``query_action`` (int64) is the
    action_idx of each query. ``ap`` (float64) and ``first_match_rank`` (int64) hold one element per query, ``chance``
    mAP and rank-1 of a random order; None where the labels are hidden.
    """

    actions: list[Action]
    distance: list[np.ndarray]
    order: list[np.ndarray]
    query_action: np.ndarray
    ap: np.ndarray | None
    first_match_rank: np.ndarray | None
    chance: dict[str, float] | None


def rank_actions(table: pa.Table, pairs: Pairs, path: Path | str) -> Rankings:
    """Rank the gallery of every query by (distance, bbox_idx), and score it where there are labels.

    Args:
        table: the index of a split (columns role, bbox_idx, action_idx, person_uid).
        pairs: of the same split.
        path: their file, for messages.

    Raises:
        ReidError: the index has no queries, or the pairs are not those of its actions.
    """
    ranked = rank(pairs)
    ap = first = at_random = None
    if table["person_uid"].null_count:
        check_ranked(ranked, table, path)
    else:
        match, *_ = scored_rows(ranked, table, path)
        ap, first = average_precision(match, ranked.start), first_match_rank(match, ranked.start)
        at_random = chance(match, ranked.start, [1])
    # as they stand in the file, or not: by query, then by gallery box
    by_box = np.lexsort((pairs.gallery, pairs.query))
    distance, query_action = pairs.distance[by_box], pairs.action[by_box][ranked.start]
    bbox, queries = column(table, "bbox_idx"), ranked.query[ranked.start]
    actions, matrices, orders = group_actions(table), [], []
    for action in actions:
        gallery = bbox[action.gallery]
        start = ranked.start[np.searchsorted(queries, bbox[action.query])]
        where = start[:, None] + np.arange(len(gallery))
        matrices.append(distance[where])
        orders.append(np.searchsorted(gallery, ranked.gallery[where]))
    return Rankings(actions, matrices, orders, query_action, ap, first, at_random)
