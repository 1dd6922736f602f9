"""A small scored split for tests: its index, its distances, and the tables that scripts/evaluate.py makes of them."""

import numpy as np
import pyarrow as pa

from reid.data.actions import group_actions
from reid.data.index import SCHEMA, write_index
from reid.evaluation.queries import query_table
from reid.evaluation.true_matches import scored_rows
from reid.ranking.distances import read_distances, write_distances
from reid.retrieval.order import rank

CLASSES = ("Player_team_left", "Player_team_right", "Main_referee")
LEAGUES = ("england_epl", "spain_laliga")


def make_index(seed=0, actions=12, split="valid"):
    """An index whose actions have 1 to 5 queries, each with 1 to 5 true matches, and up to 12 more boxes.

    Returns:
        list of dict, by role and bbox_idx, with the fields that matter
    """
    rng = np.random.default_rng(seed)
    rows = {"query": [], "gallery": []}
    for action in range(actions):
        people = 1000 * action + np.arange(rng.integers(1, 6))
        matches = np.repeat(people, rng.choice([1, 1, 1, 2, 5], len(people)))
        others = 1000 * action + 900 + rng.integers(0, 5, rng.integers(0, 13))
        gallery = np.concatenate([matches, others])
        for role, uids in (("query", people), ("gallery", rng.permutation(gallery))):
            for uid in uids.tolist():
                rows[role].append(
                    {
                        "role": role,
                        "action_idx": action,
                        "person_uid": uid,
                        "clazz": CLASSES[uid % 3],
                        "id": ("7", "23", "A", "None")[uid % 4],
                        "height": int(rng.integers(20, 500)),
                        "width": int(rng.integers(10, 200)),
                        "championship": LEAGUES[action % 2],
                        "season": "2015-2016",
                        "game": f"game {action // 3}",
                        "action": str(action),
                        "frame_idx": action,
                        "UAI": f"{action:03}r000_{uid:012}",
                    }
                )
    return [{**row, "bbox_idx": i} for role in rows.values() for i, row in enumerate(role)]


def table_of(rows):
    """Rows of :func:`make_index` as an index; what is not given is null or 0."""
    columns = []
    for field in SCHEMA:
        default = 0 if field.name in ("offset", "packed", "size", "method", "crc") else None
        columns.append(pa.array([row.get(field.name, default) for row in rows], field.type))
    return pa.table(columns, schema=SCHEMA)


def make_distances(table, seed=0, skill=0.5):
    """Distances in which a true match is nearer by ``skill``, with ties."""
    rng = np.random.default_rng(seed)
    person, actions = np.array(table["person_uid"].to_pylist()), group_actions(table)
    near = []
    for a in actions:
        match = person[a.query][:, None] == person[a.gallery]
        near.append(np.round(rng.random(match.shape) - skill * match, 1))
    return actions, near


def write_split(folder, seed=0, actions=12, skill=0.5, split="valid"):
    """Write ``index.parquet`` and ``distances.parquet``; returns the rows of the index."""
    rows = make_index(seed, actions)
    table = table_of(rows)
    write_index(folder / "index.parquet", table, split, "0" * 64)
    write_distances(folder / "distances.parquet", table, *make_distances(table, seed, skill))
    return rows


def make_queries(folder, seed=0, actions=12, skill=0.5):
    """The table of all queries of such a split (pyarrow.Table)."""
    table = table_of(write_split(folder, seed, actions, skill))
    ranked = rank(read_distances(folder / "distances.parquet"))
    match, gallery, query = scored_rows(ranked, table, "distances")
    return query_table(match, ranked.start, gallery, query, table)
