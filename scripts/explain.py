"""Draw why boxes were ranked first: activation maps of queries and of their best ranked boxes, as one PNG.

By default of the queries with the lowest AP; of a split without labels name some with --queries.
"""

from pathlib import Path

from reid.core import cli
from reid.core.errors import ReidError
from reid.data.thumbnails import open_store
from reid.models import device
from reid.models.checkpoint import load
from reid.ranking.distances import read_distances
from reid.ranking.query_gallery import read_queried
from reid.reports.chosen_queries import COLUMNS, LARGEST, choose
from reid.reports.explanation import maps_of
from reid.reports.explanation_sheet import draw


def main(args):
    queries = len(args.queries) if args.queries else args.worst
    if (images := queries * (2 + args.matches)) > LARGEST:
        raise ReidError(f"{queries} queries with {args.matches} boxes are up to {images} images, {LARGEST} the most")
    table, _ = read_queried(args.index, COLUMNS)
    store = open_store(args.thumbnails, len(table))
    chosen = choose(table, read_distances(args.distances), args.distances, args.queries, args.worst, args.matches)
    device.prepare(args.threads)
    network = load(args.checkpoint).to(device.device())
    draw(args.out, chosen, maps_of(network, chosen, store), table, store)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--checkpoint", required=True, type=Path)
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--thumbnails", required=True, type=Path)
    parser.add_argument("--distances", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="the image to make (PNG)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--queries", type=cli.IDX, nargs="+", metavar="BBOX_IDX", help="of the queries to explain")
    which.add_argument(
        "--worst", type=cli.whole(1, 1000), default=8, help="how many queries, those of the lowest AP (default 8)"
    )
    parser.add_argument(
        "--matches", type=cli.whole(1, 1000), default=5, help="how many boxes of each query (default 5)"
    )
    parser.add_argument("--threads", type=cli.THREADS, default=1)
    cli.run(main, parser)
