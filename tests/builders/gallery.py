"""A split of any size for the tests of pages and sheets: its index, thumbnails and distances, at random."""

import numpy as np
import pyarrow as pa

from reid.data.actions import group_actions
from reid.data.index import SCHEMA, write_index
from reid.ranking.distances import write_distances

CLASSES = ("Player_team_left", "Player_team_right", "Goalkeeper_team_left", "Main_referee", "Staff_members")
GAMES = (
    ("england_epl", "2015-08-08 - 19-30 Bournemouth 0 - 1 Aston Villa"),
    ("spain_laliga", "2016-08-21 - 21-15 Atlético Madrid 1 - 1 Alavés"),
)


def make_index(sizes, labels=True, seed=0):
    """An index whose galleries hold one or more boxes of each query's identity, and boxes that match no query.

    Args:
        sizes: (queries, gallery boxes) of each action; at least as many boxes as queries.
        labels: False for the challenge.
        seed: of what is random.

    Returns:
        pyarrow.Table
    """
    rng = np.random.default_rng(seed)
    rows, first = {"query": [], "gallery": []}, 0
    for action, (queries, boxes) in enumerate(sizes):
        identities = np.arange(first, first + boxes)
        first += boxes
        gallery = np.concatenate([identities[:queries], rng.choice(identities, boxes - queries)])
        for role, uids in (("query", identities[:queries]), ("gallery", rng.permutation(gallery))):
            for uid in uids.tolist():
                championship, game = GAMES[action % len(GAMES)]
                hidden = dict(person_uid=uid, clazz=CLASSES[uid % 5], id=("7", "None", "A")[uid % 3])
                season = f"{game[:4]}-{int(game[:4]) + 1}"
                hidden |= dict(championship=championship, season=season, game=game, action=str(action))
                hidden |= dict(frame_idx=len(rows[role]), UAI=f"{action:03}r000_{uid:012}")
                size = dict(height=int(rng.integers(40, 600)), width=int(rng.integers(20, 200)))
                box = dict(role=role, bbox_idx=len(rows[role]), action_idx=action, **size)
                rows[role].append(box | (hidden if labels else {}))
    return pa.Table.from_pylist(rows["query"] + rows["gallery"], schema=SCHEMA)


def write_split(folder, table, split="valid", height=16, width=8, seed=0, distances=None):
    """Write index, thumbnails (plain colours with some noise) and distances of a split.

    Args:
        folder: where; made if missing.
        table: pyarrow.Table, the index.
        split: its name.
        height, width: of the thumbnails.
        seed: of what is random.
        distances: list of float arrays, one per action; at random otherwise, with ties.

    Returns:
        dict: index, thumbnails, distances to their Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = {"index": folder / "index.parquet", "thumbnails": folder / "t.npy", "distances": folder / "d.parquet"}
    write_index(paths["index"], table, split, "0" * 64)
    colours = rng.integers(0, 200, (len(table), 1, 1, 3), np.uint8)
    np.save(paths["thumbnails"], colours + rng.integers(0, 50, (len(table), height, width, 1), np.uint8))
    actions = group_actions(table)
    if distances is None:
        distances = [rng.random((len(a.query), len(a.gallery))).round(2) for a in actions]
    write_distances(paths["distances"], table, actions, distances)
    return paths
