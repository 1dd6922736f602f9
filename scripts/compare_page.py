"""Make a page of two results: which queries B ranks better or worse than A, both rankings over each other.

A and B are files of distances (results/distances/valid.parquet), folders of results, Git revisions or DVC experiments:

    python scripts/compare_page.py HEAD results --split test
    python scripts/compare_page.py main my-experiment --out results/compare/difference.html

The page opens from disk. The rankings and images lie beside it, in a folder of its name.
"""

from pathlib import Path

from reid.core import cli
from reid.core.errors import ReidError
from reid.core.splits import SCORED
from reid.evaluation.comparison import find_result, open_result
from reid.page.content import COLUMNS
from reid.page.gallery import write_page
from reid.page.header import About, differences
from reid.page.rankings import rank_actions
from reid.params.reading import read_params
from reid.ranking.distances import read_distances
from reid.ranking.query_gallery import read_queried


def main(args):
    params = read_params(args.params)
    index = args.index or Path("data/index", f"{args.split}.parquet")
    table, about = read_queried(index, COLUMNS, labelled=True)
    split = about["split"]
    thumbnails = args.thumbnails or Path("data/thumbnails", f"{split}.npy")
    out = args.out or Path("results/compare", f"{split}.html")
    runs = []
    for name in (args.a, args.b):
        source, called = find_result(name, f"distances/{split}.parquet", "scripts/distances.py")
        runs.append(rank_actions(table, read_distances(source, called), called))
    trained = [name for name in (args.a, args.b) if trained_on(name, split)]
    if not trained and split in params.rankings_trained_on():
        trained = [f"by {args.params} a model"]
    for name in trained:
        cli.log.warning("%s was trained on %s: its rankings are not a valid result", name, split)
    page = About(split, bool(trained), about["sha256"], runs=(args.a, args.b))
    scores = differences(*runs, params.evaluate.resamples, params.evaluate.seed)
    write_page(out, page, scores, table, runs[1], thumbnails, before=runs[0], workers=args.threads)


def trained_on(name, split):
    """Whether a result's scores say that its split was trained on; distances alone do not say."""
    if Path(name).is_file():
        return False
    try:
        return open_result(name, split)[1]["trained_on"]
    except ReidError:  # ranked and not scored
        return False


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    parser.add_argument("--split", choices=SCORED, default="valid")
    parser.add_argument("--index", type=Path, help="default: data/index/{split}.parquet")
    parser.add_argument("--thumbnails", type=Path, help="default: data/thumbnails/{split}.npy, of the index")
    parser.add_argument("--out", type=Path, help="the page to make (HTML); default: results/compare/{split}.html")
    parser.add_argument("--params", default="params.yaml", help="for the bootstrap, and what was trained on")
    parser.add_argument("--threads", type=cli.THREADS, default=1)
    cli.run(main, parser)
