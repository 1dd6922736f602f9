"""Draw the ranked lists of queries, one to a line, as one PNG: a query and its best boxes, matches marked.

    python scripts/ranked_list.py --queries 4711 12 --out results/lists.png
    python scripts/ranked_list.py --split challenge --queries 7 --boxes 20 --out results/lists.png

By default of the queries with the lowest AP; of a split without labels name some with --queries.
"""

from pathlib import Path

from reid.core import cli
from reid.core.errors import ReidError
from reid.core.splits import RANKED
from reid.data.thumbnails import open_store
from reid.params.reading import read_params
from reid.ranking.distances import read_distances
from reid.ranking.query_gallery import read_queried
from reid.reports.chosen_queries import COLUMNS, LARGEST, choose
from reid.reports.ranked_list import draw_ranked_list


def main(args):
    queries = len(args.queries) if args.queries else args.worst
    if (images := queries * (2 + args.boxes)) > LARGEST:
        raise ReidError(f"{queries} queries with {args.boxes} boxes are up to {images} images, {LARGEST} the most")
    index = args.index or Path("data/index", f"{args.split}.parquet")
    table, about = read_queried(index, COLUMNS)
    split = about["split"]
    distances = args.distances or Path("results/distances", f"{split}.parquet")
    store = open_store(args.thumbnails or Path("data/thumbnails", f"{split}.npy"), len(table))
    chosen = choose(table, read_distances(distances), distances, args.queries, args.worst, args.boxes)
    trained_on = split in read_params(args.params).rankings_trained_on()
    draw_ranked_list(args.out, split, trained_on, chosen, args.boxes, table, store)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--split", choices=RANKED, default="valid")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--queries", "--query", type=cli.IDX, nargs="+", metavar="BBOX_IDX", help="the queries to draw")
    which.add_argument("--worst", type=cli.whole(1, 1000), default=8, help="how many of the lowest AP (default 8)")
    parser.add_argument("--boxes", type=cli.whole(1, 1000), default=10, help="how many of each query (default 10)")
    parser.add_argument("--out", required=True, type=Path, help="the image to make (PNG)")
    parser.add_argument("--index", type=Path, help="default: data/index/{split}.parquet")
    parser.add_argument("--thumbnails", type=Path, help="default: data/thumbnails/{split}.npy")
    parser.add_argument("--distances", type=Path, help="default: results/distances/{split}.parquet")
    parser.add_argument("--params", default="params.yaml", help="for what was trained on")
    cli.run(main, parser)
