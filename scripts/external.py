"""Bring the embeddings of one split that were made elsewhere (external_models) into the pipeline's own form.

The folder holds {split}.npy (floats, N x D, row i is row i of the index) or {split}.parquet (columns role, bbox_idx,
embedding). Every box must have one finite embedding; what is written is float32, N x D, in the order of the index.
"""

from pathlib import Path

from reid.core import cli
from reid.core.errors import ReidError
from reid.data.index import read_index
from reid.retrieval.embeddings import read_external, write_embeddings


def main(args):
    if args.out.parent.resolve() == args.folder.resolve():
        raise ReidError(f"{args.out}: lies in the folder that is read; name a file in another one")
    table, about = read_index(args.index, ["role", "bbox_idx"])
    embeddings = read_external(args.folder, about["split"], table)
    write_embeddings(args.out, embeddings)
    cli.log.info("%s: %d embeddings of %d values, of %s", args.out, *embeddings.shape, args.folder)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--index", required=True, type=Path, help="its split is the one that is looked for")
    parser.add_argument("--folder", required=True, type=Path, help="where {split}.npy or {split}.parquet lies")
    parser.add_argument("--out", required=True, type=Path, help="the embeddings to make (.npy)")
    cli.run(main, parser)
