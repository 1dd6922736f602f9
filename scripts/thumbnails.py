"""Make the thumbnail store of one split: every image of its zip decoded and resized once (uint8, N x H x W x 3)."""

from pathlib import Path

from reid.core import cli
from reid.data.index import read_index
from reid.data.thumbnails import build_store
from reid.params import read_params


def main(args):
    params = read_params(args.params).thumbnails
    table, _ = read_index(args.index)
    size = params.height, params.width
    build_store(args.zip, table, args.out, *size, params.interpolation, args.threads, fit=params.fit)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--zip", required=True, type=Path)
    parser.add_argument("--index", required=True, type=Path, help="the zip's index")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--threads", type=int, default=1)
    cli.run(main, parser)
