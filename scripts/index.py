"""Make the Parquet index of one split: a row per thumbnail, from the zip's directory, every name checked."""

from pathlib import Path

from reid.core import cli
from reid.core.errors import ReidError
from reid.core.files import read_json, sha256
from reid.core.splits import SPLITS
from reid.data.index import build_index, write_index


def main(args):
    table, passed_over = build_index(args.zip, args.split)
    if args.receipt:
        receipt = read_json(args.receipt)
        if (receipt.get("split"), receipt.get("bytes")) != (args.split, args.zip.stat().st_size):
            raise ReidError(f"{args.receipt}: is not the receipt of {args.zip} as it is now; download it again")
        digest = receipt["sha256"]
    else:
        digest = sha256(args.zip)
    for kind, count in sorted(passed_over.items()):
        cli.log.info("%s: passed over %d %s", args.zip, count, kind)
    write_index(args.out, table, args.split, digest)
    cli.log.info("%s: %d thumbnails in %d actions", args.out, len(table), len(table["action_idx"].unique()))


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--split", required=True, choices=SPLITS)
    parser.add_argument("--zip", required=True, type=Path)
    parser.add_argument("--receipt", type=Path, help="the zip's receipt; without it the zip is hashed")
    parser.add_argument("--out", required=True, type=Path)
    cli.run(main, parser)
