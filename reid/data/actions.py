"""The actions of a split: which rows of its index are compared with which."""

from typing import Any, NamedTuple

import numpy as np

from reid.core.errors import ReidError
from reid.core.tables import column, is_query


class Action(NamedTuple):
    """The rows of one action in the index: row numbers (int64), ascending, so ascending in bbox_idx too."""

    action_idx: int
    query: np.ndarray
    gallery: np.ndarray


def group_actions(table: Any) -> list[Action]:
    """Group the rows of an index by action.

    Args:
        table: pyarrow.Table, the index of valid, test or challenge (columns role, action_idx).

    Returns:
        list of Action, in order of action_idx; actions without a query are left out, for nothing is asked of them.

    Raises:
        ReidError: there is no query at all (the training split has none).
    """
    action = column(table, "action_idx")
    query = is_query(table)
    order = np.lexsort((np.arange(len(action)), ~query, action))
    starts = np.flatnonzero(np.diff(action[order], prepend=-1))
    groups = []
    for rows in np.split(order, starts[1:]):
        queries = int(query[rows].sum())
        if queries:
            groups.append(Action(int(action[rows[0]]), rows[:queries], rows[queries:]))
    if not groups:
        raise ReidError("the index has no queries; distances are measured in valid, test and challenge")
    return groups
