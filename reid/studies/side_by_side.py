"""Two rows' rankings of the queries that changed most, side by side, as small images inside the page."""

import base64
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from reid.core.files import read_json
from reid.data.thumbnails import open_store
from reid.evaluation.queries import INDEX_COLUMNS
from reid.evaluation.true_matches import scored_rows
from reid.ranking.distances import read_distances
from reid.ranking.query_gallery import read_queried
from reid.reports.drawing import tile
from reid.reports.ranked_boxes import ranked_boxes
from reid.retrieval.order import Pairs, Ranked, rank
from reid.studies.jobs import score_path
from reid.studies.plan import Plan
from reid.studies.rows import Row

QUERIES, BOXES = 4, 5  # of a row; of each query
_HEIGHT, _WIDEST = 80, 80  # pixels


class _Ranking(NamedTuple):
    ranked: Ranked
    match: np.ndarray
    gallery_row: np.ndarray
    query_row: np.ndarray
    pairs: Pairs


def add_images(found: dict[str, Any], plan: Plan, folder: Path) -> None:
    """Put ``rankings`` beside the queries that moved most, in each row that is compared: of its first seed on valid.

    Args:
        found: of :func:`reid.studies.result.result`.
        plan, folder: of which it was made.
    """
    jobs, seen = read_json(folder / "plan.json"), dict[str, _Ranking]()
    for axis, part in zip(found["axes"], plan.axes, strict=True):
        rows = {row.name: row for row in part.rows}
        seed = part.seeds[0]
        names = part.reference.jobs(seed)
        index = Path(jobs["sources"][names.source]["root"], "index/valid.parquet")
        data = jobs["trainings"][names.training]["data"]
        store = open_store(Path(jobs["data"][data]["root"], "thumbnails/valid.npy"))
        table, _ = read_queried(index, INDEX_COLUMNS, labelled=True)
        for row in axis["rows"]:
            if row["change"]:
                both = [_ranking(one, seed, table, folder, seen) for one in (part.reference, rows[row["row"]])]
                for query in row["change"]["valid"]["moved"][:QUERIES]:
                    query |= _shown(query["bbox_idx"], both, store)


def _ranking(row: Row, seed: int, table: pa.Table, folder: Path, seen: dict[str, _Ranking]) -> _Ranking:
    path = score_path(folder, row, seed, "valid", "distances.parquet")
    if str(path) not in seen:
        pairs = read_distances(path)
        ranked = rank(pairs)
        seen[str(path)] = _Ranking(ranked, *scored_rows(ranked, table, path), pairs)
    return seen[str(path)]


def _shown(bbox: int, both: list[_Ranking], store: Any) -> dict[str, Any]:
    """The image of a query, and of each ranking its first boxes."""
    rankings = []
    for one in both:
        position = int(np.flatnonzero(one.ranked.query[one.ranked.start] == bbox)[0])
        boxes = ranked_boxes(one.ranked, one.match, one.gallery_row, one.pairs, position, BOXES)
        rankings.append([{"image": _image(store[b.row]), "rank": b.rank, "match": b.match} for b in boxes])
    return {"image": _image(store[one.query_row[position]]), "rankings": rankings}


def _image(thumbnail: np.ndarray) -> str:
    """A thumbnail (uint8 H x W x 3) as a small JPEG in text."""
    width = min(_WIDEST, max(1, round(_HEIGHT * thumbnail.shape[1] / thumbnail.shape[0])))
    stream = io.BytesIO()
    tile(thumbnail, _HEIGHT, width).save(stream, format="JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode()
