"""Draw why boxes were ranked first: activation maps of queries and of their best ranked boxes, as one PNG.

By default of the queries with the lowest AP; of a split without labels name some with --queries.
"""

from pathlib import Path

import numpy as np

from reid import cli, compute
from reid.activation import find_places, similarity_maps
from reid.distances import read_distances
from reid.errors import ReidError
from reid.explanation import COLUMNS, choose, draw
from reid.index import read_index
from reid.networks import load
from reid.thumbnails import open_store


def main(args):
    for name in ("worst", "matches"):
        if getattr(args, name) < 1:
            raise ReidError(f"--{name} {getattr(args, name)}: must be 1 or more")
    table, _ = read_index(args.index, COLUMNS)
    store = open_store(args.thumbnails, len(table))
    pairs = read_distances(args.distances)
    rows = choose(table, pairs, args.distances, args.queries, args.worst, args.matches)
    compute.prepare(args.threads)
    network = load(args.checkpoint).to(compute.device())
    places = find_places(network)
    maps = []
    for row in rows:
        pictures = store[[row.row, *(box.row for box in row.boxes)]]
        # the query with its first box, each box with the query
        maps.append(similarity_maps(network, np.asarray(pictures), [1] + [0] * len(row.boxes), places)[0])
    draw(args.out, rows, maps, table, store)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--checkpoint", required=True, type=Path)
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--thumbnails", required=True, type=Path)
    parser.add_argument("--distances", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="the picture to make (PNG)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--queries", type=int, nargs="+", metavar="BBOX_IDX", help="of the queries to explain")
    which.add_argument("--worst", type=int, default=8, help="how many queries, those of the lowest AP (default 8)")
    parser.add_argument("--matches", type=int, default=5, help="how many boxes of each query (default 5)")
    parser.add_argument("--threads", type=int, default=1)
    cli.run(main, parser)
