"""Write what a submission was made of beside it: commit, parameters, SHA-256 of inputs, versions, machine, time."""

from pathlib import Path

from reid.core import cli
from reid.core.files import write_json
from reid.lineage.provenance import provenance
from reid.params.reading import read_params


def main(args):
    params = read_params(args.params).model_dump(by_alias=True, exclude_none=True)
    found = provenance(args.split, args.ranking, params, args.receipts, args.inputs, args.checkpoints)
    write_json(args.out, found)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--split", required=True)
    parser.add_argument("--ranking", required=True, type=Path, help="the submission")
    parser.add_argument("--receipts", required=True, type=Path, nargs="+", help="of the zips that it was made of")
    parser.add_argument("--inputs", required=True, type=Path, nargs="+", help="indexes, stores, weights, embeddings")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        nargs="*",
        default=[],
        help="of the models that were fused, and of those that they start from",
    )
    parser.add_argument("--out", required=True, type=Path, help="the provenance to make (JSON)")
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
