"""Make the first page of a folder of results, results/index.html: scores of the splits, and links to all pages.

python scripts/overview.py
python scripts/overview.py --results elsewhere/results
"""

from pathlib import Path

from reid.core import cli
from reid.page.overview import write_overview


def main(args):
    write_overview(args.results / "index.html", args.results)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="the folder of results")
    cli.run(main, parser)
