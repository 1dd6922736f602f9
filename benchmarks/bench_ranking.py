"""Parts of the benchmark from embeddings to the submission."""

import os
import time
from pathlib import Path

import numpy as np

import standin
from bench_rows import WIDTH, against, line
from measuring import growth, program, seconds
from reid.data.actions import Action
from reid.data.index import build_index, write_index
from reid.params.schema import section_class
from reid.ranking.distances import action_distances
from reid.retrieval.metrics import average_precision
from reid.retrieval.order import Pairs, rank

ROOT = Path(__file__).resolve().parents[1]


def random_split(split, share):
    """Actions of a split as rows of an index, the person of each row, and random embeddings.

    Returns:
        (list of reid.data.actions.Action, int64 array N, float32 array N x D)
    """
    boxes = standin.draw_boxes(split, share)
    rows = np.arange(len(boxes.action))
    starts = [np.searchsorted(boxes.action[part], np.arange(boxes.action.max() + 2)) for part in _roles(boxes)]
    query, gallery = (rows[part] for part in _roles(boxes))
    actions = [
        Action(i, query[starts[0][i] : starts[0][i + 1]], gallery[starts[1][i] : starts[1][i + 1]])
        for i in range(boxes.action.max() + 1)
    ]
    rng = np.random.default_rng(0)
    places = 0.2 * rng.normal(size=(boxes.person.max() + 1, WIDTH)).astype(np.float32)  # an mAP that is not 1
    return actions, boxes.person, places[boxes.person] + rng.normal(size=(len(rows), WIDTH)).astype(np.float32)


def _roles(boxes):
    return boxes.is_query, ~boxes.is_query


def pairs_of(actions, distances):
    """Every pair of a query and a gallery box of its action, as reid.retrieval.order.Pairs.

    Args:
        actions: list of reid.data.actions.Action; their rows take the place of bbox_idx.
        distances: float arrays, queries x gallery boxes, one per action.
    """
    return Pairs(
        np.concatenate([np.repeat(a.query, len(a.gallery)) for a in actions]),
        np.concatenate([np.tile(a.gallery, len(a.query)) for a in actions]),
        np.concatenate([np.full(matrix.size, a.action_idx) for a, matrix in zip(actions, distances, strict=True)]),
        np.concatenate([matrix.ravel() for matrix in distances]),
    )


def ranking(share, kit, folder):
    """Distances, ranking and mAP."""
    actions, person, embeddings = random_split("valid", share)
    params = section_class("Distances").model_validate({"metric": "euclidean"})

    def ours():
        ranked = rank(pairs_of(actions, action_distances([embeddings], actions, params)))
        return ranked, average_precision(person[ranked.query] == person[ranked.gallery], ranked.start).mean()

    ours()
    with growth() as memory:
        ranked, score = ours()
    spent = seconds(ours, 5)

    owner = np.empty(len(person), np.int64)
    for number, action in enumerate(actions):
        owner[action.query] = owner[action.gallery] = number
    query, gallery = (np.concatenate([getattr(a, role) for a in actions]) for role in ("query", "gallery"))
    started = time.perf_counter()
    with growth() as kit_memory:
        matrix = kit.distance_matrix(embeddings[query], embeddings[gallery])
        rankings = kit.rank(matrix, owner[query], owner[gallery])
        kit_score = kit.mean_average_precision(matrix, person[query], person[gallery], owner[query], owner[gallery])
    kit_spent = time.perf_counter() - started

    same = np.concatenate([gallery[row] for row in rankings]) == ranked.gallery
    notes = [
        f"mAP {score:.6f} and {kit_score:.6f}; {np.count_nonzero(~same)} of {len(same):,} places differ "
        f"(float32 against float64)",
    ]
    if kit_memory.bytes is not None:
        notes.append(f"{kit_memory.bytes / 1e9:.1f} GB against {memory.bytes / 1e6:.0f} MB above the inputs")
    small = memory.bytes is None or memory.bytes <= 50e6
    row = against("distances, ranking, mAP of valid, 512-d", kit_spent, spent, 500, memory.bytes, "; ".join(notes))
    return [{**row, "aim": "500 x, 50 MB", "met": row["met"] and small}]


def commands(share, kit, folder):
    """The programs between embeddings and submission at the scale of valid, Python's start included."""
    standin.make_zip(folder / "valid.zip", "valid", share)
    table, _ = build_index(folder / "valid.zip", "valid")
    write_index(folder / "valid.parquet", table, "valid", "0" * 64)
    rng = np.random.default_rng(0)
    np.save(folder / "valid.npy", rng.normal(size=(len(table), WIDTH)).astype(np.float32))
    index = ["--index", folder / "valid.parquet"]
    with_params = ["--params", ROOT / "params.yaml"]
    distances = ["--distances", folder / "distances.parquet"]
    embeddings = ["--embeddings", folder / "valid.npy", "--out", folder / "distances.parquet"]
    written = ["--out", folder / "metrics.json"]
    for name in ("queries", "cmc", "slices", "ap"):
        written += [f"--{name}", folder / name]
    calls = {
        "distances": [*index, *embeddings, *with_params],
        "evaluate": [*index, *distances, *written, *with_params],
        "rank": [*index, *distances, "--out", folder / "ranking.json"],
    }
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # as Snakemake does for rules of one thread
    rows = []
    for name, options in calls.items():
        runs = [program(ROOT / f"scripts/{name}.py", *options) for _ in range(4)]
        spent, memory = sorted(runs)[1]
        rows.append(line(f"`{name}` of valid, a command", spent, "under 1 s", spent < 1, None, memory))
    return rows


def reranking(share, kit, folder):
    """k-reciprocal re-ranking of valid."""
    from scipy.spatial.distance import cdist

    actions, _, embeddings = random_split("valid", share)
    steps = {"reranking": {"k1": 3, "lambda": 0.7}}
    content = {"metric": "euclidean", "scale": "mean", "postprocessing": steps}
    params = section_class("Distances").model_validate(content)
    spent = seconds(lambda: action_distances([embeddings], actions, params), 3)
    total, few = len(embeddings), min(len(embeddings), 1500)
    query, gallery = embeddings[: few // 4].astype(np.float64), embeddings[few // 4 : few].astype(np.float64)
    pairs = [cdist(a, b) for a, b in ((query, gallery), (query, query), (gallery, gallery))]
    part = seconds(lambda: kit.rerank(*pairs))
    note = f"dev kit's: {part:.1f} s for {few:,} boxes, times the square of {total / few:.1f}, as its matrices grow"
    row = line("re-ranking of valid", spent, "under 1 s", spent < 1, part * (total / few) ** 2, None, note)
    return [row]
