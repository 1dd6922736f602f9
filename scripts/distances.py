"""Measure the distances between each query and the gallery boxes of its own action, averaged over models."""

from pathlib import Path

from reid import cli
from reid.distances import action_distances, group_actions, read_embeddings, write_distances
from reid.index import read_index
from reid.params import read_params


def main(args):
    params = read_params(args.params).distances
    table, _ = read_index(args.index, ["role", "bbox_idx", "action_idx"])
    embeddings = [read_embeddings(path, len(table)) for path in args.embeddings]
    actions = group_actions(table)
    write_distances(args.out, table, actions, list(action_distances(embeddings, actions, params.metric)))


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--embeddings", required=True, type=Path, nargs="+", help="one file per model")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
