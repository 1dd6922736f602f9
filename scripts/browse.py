"""Make the gallery page of one split: each query with its ranked gallery, matches marked, and whole actions.

The page opens from disk. The rankings and images lie beside it, in a folder of its name.
"""

from pathlib import Path

from reid.core import cli
from reid.page.content import COLUMNS
from reid.page.gallery import write_page
from reid.page.header import About, scores_of
from reid.page.rankings import rank_actions
from reid.params.reading import read_params
from reid.ranking.distances import read_distances
from reid.ranking.query_gallery import read_queried


def main(args):
    params = read_params(args.params)
    table, about = read_queried(args.index, COLUMNS)
    rankings = rank_actions(table, read_distances(args.distances), args.distances)
    split = about["split"]
    trained_on = split in params.rankings_trained_on()
    if trained_on:
        cli.log.warning("%s was trained on (train.splits): its rankings are not a valid result", split)
    page = About(split, trained_on, about["sha256"], params.fused())
    scores = scores_of(rankings, params.evaluate.resamples, params.evaluate.seed)
    write_page(args.out, page, scores, table, rankings, args.thumbnails, workers=args.threads)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--thumbnails", required=True, type=Path)
    parser.add_argument("--distances", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="the page to make (HTML)")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--threads", type=cli.THREADS, default=1)
    cli.run(main, parser)
