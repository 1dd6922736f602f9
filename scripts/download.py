"""Bring the raw zip of one split, from the source that params.yaml names.

Makes {split}.zip and its receipt {split}.json (SHA-256, bytes, images). The synthetic source also writes
challenge_bbox_info.json, the hidden labels of its challenge, beside the zip. A team's shared place (REID_SHARED) is
looked into first, and gets what was not there.
"""

from pathlib import Path

from reid.core import cli, shared
from reid.core.checksums import difference, read_sums, sums_path
from reid.core.errors import ReidError
from reid.core.files import write_json
from reid.core.splits import SPLITS
from reid.params.reading import read_params
from reid.sources.checks import check_zip
from reid.sources.local import from_local
from reid.sources.soccernet import from_soccernet
from reid.sources.together import fetch_zip, put_zip
from reid.synthetic.dataset import make_split, write_labels


def main(args):
    params = read_params(args.params).download
    labels = args.out.parent / "challenge_bbox_info.json"
    place = shared.place()
    receipt = place and fetch_zip(place, params, args.split, args.out)
    if not receipt:
        receipt = from_source(params, args, labels)
        if place:
            put_zip(place, params, args.split, args.out, receipt)
    elif params.source == "synthetic" and args.split == "challenge":
        write_labels(labels, params.synthetic.actions.challenge, params.synthetic.seed)
    if args.split == "challenge" and params.source != "synthetic" and (sums := read_sums(labels)):
        if labels.exists() and difference(labels, sums) is None:  # others than an earlier source's are somebody's own
            labels.unlink()
        sums_path(labels).unlink()
    write_json(args.receipt, receipt)


def from_source(params, args, labels):
    pin = params.sha256.get(args.split)
    if params.source == "soccernet":
        return from_soccernet(args.split, args.out, args.work, pin)
    if params.source == "local":
        return from_local(args.split, args.out, params.path, pin)
    actions = getattr(params.synthetic.actions, args.split)
    make_split(args.out, args.split, actions, params.synthetic.seed, labels, args.threads)
    try:
        return {**check_zip(args.out, args.split, pin), "source": "synthetic"}
    except ReidError:
        args.out.unlink()  # it is not the pinned one
        sums_path(args.out).unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--split", required=True, choices=SPLITS)
    parser.add_argument("--out", required=True, type=Path, help="the zip to make")
    parser.add_argument("--receipt", required=True, type=Path, help="the receipt to make")
    parser.add_argument("--work", type=Path, default="data/download", help="folder that keeps the SoccerNet download")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--threads", type=cli.THREADS, default=1)
    cli.run(main, parser)
