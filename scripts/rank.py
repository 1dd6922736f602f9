"""Rank each query's gallery by (distance, bbox_idx) and write the ranking JSON; it is checked before it is there."""

from pathlib import Path

from reid.core import cli
from reid.ranking.distances import read_distances
from reid.ranking.query_gallery import BOX_COLUMNS, read_queried
from reid.ranking.ranking_file import write_ranking
from reid.retrieval.order import rank


def main(args):
    table, _ = read_queried(args.index, BOX_COLUMNS)
    write_ranking(args.out, rank(read_distances(args.distances)), table, args.distances, args.index)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--distances", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="the ranking JSON to make")
    cli.run(main, parser)
