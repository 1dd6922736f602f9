"""Score a ranking JSON against labels and print mAP, rank-k and chance level as JSON; it is checked first.

With --queries two rankings of one split can be compared, or one with a run:

    python scripts/score_ranking.py a.json --labels data/index/test.parquet --queries results/a.parquet
    python scripts/score_ranking.py b.json --labels data/index/test.parquet --queries results/b.parquet
    python scripts/compare.py results/a.parquet results/b.parquet
"""

import json
from pathlib import Path

from reid.core import cli
from reid.core.errors import ReidError
from reid.evaluation.queries import INDEX_COLUMNS, query_table, write_queries
from reid.evaluation.true_matches import scored_rows
from reid.ranking.query_gallery import read_boxes, read_queried
from reid.ranking.ranking_file import check_ranking, read_ranking
from reid.retrieval.metrics import score


def main(args):
    if args.queries:  # only an index says which split it is of
        boxes, about = read_queried(args.labels, INDEX_COLUMNS, labelled=True)
    else:
        boxes = read_boxes(args.labels)
    if boxes["person_uid"].null_count:
        raise ReidError(f"{args.labels}: has no labels (the challenge's are hidden); use scripts/check_ranking.py")
    ranked = check_ranking(read_ranking(args.ranking), boxes, args.ranking, args.labels)
    match, gallery_row, query_row = scored_rows(ranked, boxes, args.ranking)
    if args.queries:
        queries = query_table(match, ranked.start, gallery_row, query_row, boxes)
        write_queries(args.queries, queries, about["split"], trained_on=False)
    print(json.dumps(score(match, ranked.start, args.ranks), indent=2))


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument(
        "ranking", type=Path, help="the ranking JSON, of this pipeline, the dev kit or another program"
    )
    parser.add_argument(
        "--labels", required=True, type=Path, help="index (.parquet), raw zip or bbox_info.json of the same split"
    )
    parser.add_argument("--ranks", type=cli.whole(1, 10_000), nargs="+", default=[1, 5, 10], help="the k of rank-k")
    parser.add_argument(
        "--queries", type=Path, help="the table of all queries to make (Parquet), for compare.py; --labels is an index"
    )
    cli.run(main, parser)
