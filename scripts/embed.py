"""Embed every thumbnail of one split with one model (float32, N x D; row i is row i of the index)."""

from pathlib import Path

from reid import cli
from reid.embedding import embed, write_embeddings
from reid.networks import load
from reid.params import read_params
from reid.thumbnails import open_store


def main(args):
    params = read_params(args.params).embed
    write_embeddings(args.out, embed(load(args.checkpoint), open_store(args.thumbnails), params))


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--checkpoint", required=True, type=Path)
    parser.add_argument("--thumbnails", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
