"""Make the Parquet index of one split: a row per thumbnail, from the zip's directory, every name checked."""

from pathlib import Path

from reid.core import cli
from reid.core.errors import ReidError
from reid.core.files import read_json, regular, sha256
from reid.core.splits import SPLITS
from reid.data.index import build_index, write_index
from reid.raw.members import counted


def main(args):
    receipt = read_receipt(args) if args.receipt else {}
    table, passed_over = build_index(args.zip, args.split, receipt.get("source") == "soccernet")
    if passed_over:
        cli.log.info("%s: passed over %s", args.zip, counted(passed_over))
    write_index(args.out, table, args.split, receipt.get("sha256") or sha256(args.zip))
    cli.log.info("%s: %d thumbnails in %d actions", args.out, len(table), len(table["action_idx"].unique()))


def read_receipt(args):
    """The receipt of the zip as it is now."""
    receipt = read_json(args.receipt, maker="scripts/download.py")
    now = {"split": args.split, "bytes": regular(args.zip).stat().st_size}
    if isinstance(receipt, dict) and isinstance(receipt.get("sha256"), str) and now.items() <= receipt.items():
        return receipt
    raise ReidError(f"{args.receipt}: is not the receipt of {args.zip} as it is now; download it again")


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--split", required=True, choices=SPLITS)
    parser.add_argument("--zip", required=True, type=Path)
    parser.add_argument("--receipt", type=Path, help="the zip's receipt; without it the zip is hashed")
    parser.add_argument("--out", required=True, type=Path)
    cli.run(main, parser)
