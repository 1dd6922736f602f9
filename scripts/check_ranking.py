"""Check a ranking JSON without labels: every query, and for each all gallery boxes of its action exactly once.

Exits with 0 if the file may be submitted, else with 1 and a list of what is wrong.
"""

from pathlib import Path

from reid import cli
from reid.ranking import check, read_boxes, read_ranking


def main(args):
    boxes = read_boxes(args.boxes)
    check(read_ranking(args.ranking), boxes, args.ranking)
    print(f"{args.ranking}: a valid ranking of {len(boxes.query)} queries over {len(boxes.gallery)} gallery boxes")


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument(
        "ranking", type=Path, help="the ranking JSON, of this pipeline, the dev kit or another program"
    )
    parser.add_argument(
        "--boxes", required=True, type=Path, help="index (.parquet), raw zip or bbox_info.json of the same split"
    )
    cli.run(main, parser)
