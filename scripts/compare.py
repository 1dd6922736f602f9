"""Say whether result B is better than result A: the difference in mAP and rank-1 with a paired 95 % interval.

A and B are tables of queries (results/queries/valid.parquet; of a ranking by score_ranking.py --queries), folders of
results, Git revisions or DVC experiments:

    python scripts/compare.py main my-experiment
    python scripts/compare.py HEAD results --split test --json difference.json
"""

from pathlib import Path

from reid.core import cli
from reid.core.cli import log
from reid.core.files import write_json
from reid.core.splits import SCORED
from reid.evaluation.comparison import align, compare, open_result, report
from reid.params.reading import read_params


def main(args):
    params, names = read_params(args.params).evaluate, (args.a, args.b)
    results = [open_result(name, args.split) for name in names]
    for name, (_, about) in zip(names, results, strict=True):
        if about["trained_on"]:
            log.warning("%s was trained on %s: its score is not a valid result", name, about["split"])
    difference = compare(*align(*results, names), params.resamples, params.seed, args.show)
    print(report(difference, names))
    if args.json:
        write_json(args.json, {"a": args.a, "b": args.b, "split": results[0][1]["split"], **difference})


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    parser.add_argument("--split", choices=SCORED, default="valid", help="of a folder or revision")
    parser.add_argument(
        "--show", type=cli.whole(0, 1_000_000), default=10, help="how many of the queries that moved most to list"
    )
    parser.add_argument("--json", type=Path, help="file for the same as JSON")
    parser.add_argument("--params", default="params.yaml", help="for the bootstrap (section evaluate)")
    cli.run(main, parser)
