"""Score the distances of a labelled split: mAP, rank-k, mINP, their 95 % intervals and chance as JSON.

Beside it what the score is made of: the CMC curve and, as far as they are asked for, a table of all queries (Parquet),
scores of slices of them, and a histogram of their AP (CSV).
"""

from pathlib import Path

from reid.core import cli
from reid.core.cli import log
from reid.core.files import write_csv, write_json
from reid.core.tables import values
from reid.evaluation.intervals import Resamples, action_codes, mean_intervals
from reid.evaluation.queries import INDEX_COLUMNS, query_table, write_queries
from reid.evaluation.slices import slice_scores
from reid.evaluation.true_matches import scored_rows
from reid.params.reading import read_params
from reid.ranking.distances import read_distances
from reid.ranking.query_gallery import read_queried
from reid.retrieval.metrics import ap_histogram, cmc, score
from reid.retrieval.order import rank


def main(args):
    params = read_params(args.params)
    table, about = read_queried(args.index, INDEX_COLUMNS, labelled=True)
    ranked = rank(read_distances(args.distances))
    match, gallery_row, query_row = scored_rows(ranked, table, args.distances)
    queries = query_table(match, ranked.start, gallery_row, query_row, table)
    metrics, split = score(match, ranked.start, params.evaluate.ranks), about["split"]

    action, actions = action_codes(values(queries, "action_idx"))
    weights = Resamples(actions, params.evaluate.resamples, params.evaluate.seed)
    first, ap = values(queries, "first_match_rank"), values(queries, "AP")
    scores = {f"rank-{k}": first <= k for k in params.evaluate.ranks}
    scores = {"mAP": ap, **scores, "mINP": values(queries, "INP")}
    metrics |= {"actions": actions, "interval": mean_intervals(action, scores, weights)}

    trained_on = split in params.rankings_trained_on()
    if trained_on:
        log.warning("%s was trained on (train.splits): its score is not a valid result", split)
        metrics = {"trained_on": True, "of_training_data": metrics}
    elif elsewhere := [name for name in params.fused() if name in params.external_models]:
        seen = " and ".join(params.train.splits)
        log.info("%s: a valid result if %s saw %s alone (train.splits)", split, " and ".join(elsewhere), seen)
    write_json(args.out, {"split": split, **metrics})
    write_csv(args.cmc, ["rank", "share"], enumerate(cmc(match, ranked.start, args.length).tolist(), start=1))
    if args.queries:
        write_queries(args.queries, queries, split, trained_on)
    if args.slices:
        rows = slice_scores(queries, action, weights)
        write_csv(args.slices, rows[0], (row.values() for row in rows))
    if args.ap:
        write_csv(args.ap, ["AP", "queries", "share"], ap_histogram(ap))


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--distances", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="the metrics to make (JSON)")
    parser.add_argument("--cmc", required=True, type=Path, help="the CMC curve to make (CSV)")
    parser.add_argument("--length", type=cli.whole(1, 10_000), default=20, help="last rank of the CMC curve")
    parser.add_argument("--queries", type=Path, help="the table of all queries to make (Parquet)")
    parser.add_argument("--slices", type=Path, help="the scores of slices to make (CSV)")
    parser.add_argument("--ap", type=Path, help="the histogram of AP to make (CSV)")
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
