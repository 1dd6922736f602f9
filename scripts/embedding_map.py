"""Draw a map of the embeddings of chosen actions or of a game, with the thumbnails as its points, as PNG.

    python scripts/embedding_map.py --index data/index/valid.parquet --thumbnails data/thumbnails/valid.npy \\
        --embeddings results/embeddings/resnet18/valid.npy --action 3 --out results/map.png
"""

from pathlib import Path

from reid.core import cli
from reid.core.errors import ReidError
from reid.data.index import read_index
from reid.data.thumbnails import open_store
from reid.reports.embedding_map import COLUMNS, LARGEST, draw_map
from reid.reports.named_rows import rows_of_actions, rows_of_game
from reid.reports.projection import project
from reid.retrieval.embeddings import read_embeddings


def main(args):
    table, about = read_index(args.index, COLUMNS)
    store, embeddings = open_store(args.thumbnails, len(table)), read_embeddings(args.embeddings, len(table))
    rows, name = rows_of_actions(table, args.action) if args.game is None else rows_of_game(table, args.game)
    if len(rows) > LARGEST:
        raise ReidError(f"{len(rows)} boxes are too many to be seen, {LARGEST} the most; name fewer with --action")
    title = f"{about['split']}: {name}, {len(rows)} boxes"
    draw_map(args.out, table, rows, project(embeddings[rows], args.seed), store, title)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--thumbnails", required=True, type=Path)
    parser.add_argument("--embeddings", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="the image to make (PNG)")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--action", type=cli.IDX, nargs="+", metavar="ACTION_IDX")
    which.add_argument("--game", metavar="NAME", help="or a part of its name that no other game has")
    parser.add_argument(
        "--seed", type=cli.whole(0, 2**32 - 1), default=0, help="of what is random (more than 60 boxes)"
    )
    cli.run(main, parser)
