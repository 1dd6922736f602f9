"""Draw the scores of a labelled split, and its queries of lowest AP with what was ranked first for them.

The scores: headline numbers with their intervals beside chance, CMC curve, AP of the queries, mAP of slices.
"""

from pathlib import Path

import numpy as np

from reid.core import cli
from reid.core.errors import ReidError
from reid.core.tables import values
from reid.data.thumbnails import open_store
from reid.evaluation.queries import read_queries
from reid.evaluation.true_matches import scored_rows
from reid.ranking.distances import read_distances
from reid.ranking.query_gallery import BOX_COLUMNS, read_queried
from reid.reports.scorecard import draw_scores, fits_queries, fits_scores, read_cmc, read_scores, read_slices
from reid.reports.worst import worst_answers, worst_sheet
from reid.retrieval.metrics import average_precision
from reid.retrieval.order import rank


def main(args):
    queries, about = read_queries(args.queries, args.queries)
    split, trained_on, scores = read_scores(args.metrics)
    table, of_index = read_queried(args.index, BOX_COLUMNS, labelled=True)
    for path, other in ((args.queries, about["split"]), (args.index, of_index["split"])):
        if other != split:
            raise ReidError(f"{path}: is of {other}, but {args.metrics} is of {split}")
    cmc, slices = read_cmc(args.cmc), read_slices(args.slices)
    store, pairs = open_store(args.thumbnails, len(table)), read_distances(args.distances)
    ranked = rank(pairs)
    match, gallery_row, query_row = scored_rows(ranked, table, args.distances)
    ap = values(queries, "AP")
    if trained_on != about["trained_on"] or not np.array_equal(ap, average_precision(match, ranked.start)):
        raise ReidError(f"{args.queries}: are not the scores of {args.distances}; run scripts/evaluate.py again")
    for path, fits in (
        (args.metrics, abs(scores["mAP"] - ap.mean()) < 1e-9 and scores["queries"] == len(ap)),
        (args.cmc, fits_scores(cmc, scores)),
        (args.slices, fits_queries(slices, ap)),
    ):
        if not fits:
            raise ReidError(f"{path}: is not of {args.queries}; run scripts/evaluate.py again")

    draw_scores(args.scores, split, trained_on, scores, cmc, ap, slices)
    answers = worst_answers(queries, ranked, match, gallery_row, query_row, pairs)
    worst_sheet(args.worst, split, trained_on, answers, len(queries), store)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--thumbnails", required=True, type=Path)
    parser.add_argument("--distances", required=True, type=Path)
    parser.add_argument("--metrics", required=True, type=Path, help="of scripts/evaluate.py, as the next three (JSON)")
    parser.add_argument("--queries", required=True, type=Path, help="Parquet")
    parser.add_argument("--slices", required=True, type=Path, help="CSV")
    parser.add_argument("--cmc", required=True, type=Path, help="CSV")
    parser.add_argument("--scores", required=True, type=Path, help="the figure of the scores to make (SVG)")
    parser.add_argument("--worst", required=True, type=Path, help="the sheet of the worst queries to make (PNG)")
    cli.run(main, parser)
