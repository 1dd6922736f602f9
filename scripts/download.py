"""Bring the raw zip of one split, from the source that params.yaml names.

Makes {split}.zip and its receipt {split}.json (SHA-256, bytes, images). The synthetic source also writes
challenge_bbox_info.json, the hidden labels of its challenge, beside the zip.
"""

from pathlib import Path

from reid.core import cli
from reid.core.checksums import sums_path
from reid.core.errors import ReidError
from reid.core.files import write_json
from reid.core.splits import SPLITS
from reid.params import read_params
from reid.sources.checks import check_zip
from reid.sources.local import from_local
from reid.sources.soccernet import from_soccernet
from reid.synthetic.dataset import make_split


def main(args):
    params = read_params(args.params).download
    pin = params.sha256.get(args.split)
    labels = args.out.parent / "challenge_bbox_info.json"
    if params.source == "synthetic":
        actions = getattr(params.synthetic.actions, args.split)
        make_split(args.out, args.split, actions, params.synthetic.seed, labels, args.threads)
        try:
            receipt = {**check_zip(args.out, args.split, pin), "source": "synthetic"}
        except ReidError:
            args.out.unlink()  # it is not the pinned one
            sums_path(args.out).unlink(missing_ok=True)
            raise
    elif params.source == "soccernet":
        receipt = from_soccernet(args.split, args.out, args.work, pin)
    else:
        receipt = from_local(args.split, args.out, params.path, pin)
    if args.split == "challenge" and params.source != "synthetic":
        labels.unlink(missing_ok=True)  # those of an earlier source
    write_json(args.receipt, receipt)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--split", required=True, choices=SPLITS)
    parser.add_argument("--out", required=True, type=Path, help="the zip to make")
    parser.add_argument("--receipt", required=True, type=Path, help="the receipt to make")
    parser.add_argument("--work", type=Path, default="data/download", help="folder that keeps the SoccerNet download")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--threads", type=int, default=1)
    cli.run(main, parser)
