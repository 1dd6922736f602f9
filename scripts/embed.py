"""Embed every thumbnail of one split with one model (float32, N x D; row i is row i of the index)."""

import argparse
from pathlib import Path

from reid.core import cli
from reid.data.thumbnails import open_store
from reid.models import slots
from reid.models.checkpoint import load
from reid.models.embedding import embed
from reid.params.reading import read_params
from reid.retrieval.embeddings import write_embeddings


def main(args: argparse.Namespace) -> None:
    params = read_params(args.params).embed
    slots.take()
    write_embeddings(args.out, embed(load(args.checkpoint), open_store(args.thumbnails), params))


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--checkpoint", required=True, type=Path)
    parser.add_argument("--thumbnails", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
