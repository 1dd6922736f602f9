"""Check a ranking JSON without labels: every query, and for each all gallery boxes of its action exactly once.

Exits with 0 if the file may be submitted, else with 1 and a list of what is wrong.
"""

from pathlib import Path

from reid.core import cli
from reid.core.tables import is_query
from reid.ranking.query_gallery import read_boxes
from reid.ranking.ranking_file import check_ranking, read_ranking


def main(args):
    boxes = read_boxes(args.boxes)
    check_ranking(read_ranking(args.ranking), boxes, args.ranking, args.boxes)
    queries = int(is_query(boxes).sum())
    print(f"{args.ranking}: a valid ranking of {queries} queries over {len(boxes) - queries} gallery boxes")


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument(
        "ranking", type=Path, help="the ranking JSON, of this pipeline, the dev kit or another program"
    )
    parser.add_argument(
        "--boxes", required=True, type=Path, help="index (.parquet), raw zip or bbox_info.json of the same split"
    )
    cli.run(main, parser)
