"""Measure the distances between each query and the gallery boxes of its own action, averaged over models."""

from pathlib import Path

from reid.core import cli
from reid.core.errors import ReidError
from reid.data.actions import group_actions
from reid.params.reading import read_params
from reid.ranking.distances import action_distances, write_distances
from reid.ranking.query_gallery import read_queried
from reid.retrieval.embeddings import read_embeddings


def weights_of(paths, given, fused):
    """Weight of each file: as given; else that of the model that its folder is named after; else all alike."""
    if given is None:
        names = [path.parent.name for path in paths]
        return [fused[name] for name in names] if sorted(names) == sorted(fused) else [1.0] * len(paths)
    if len(given) != len(paths):
        raise ReidError(f"--weights: needs {len(paths)} numbers, one for each file of --embeddings, not {len(given)}")
    return given


def main(args):
    params = read_params(args.params)
    weights = weights_of(args.embeddings, args.weights, params.fused())
    table, _ = read_queried(args.index, ["role", "bbox_idx", "action_idx"])
    embeddings = [read_embeddings(path, len(table)) for path in args.embeddings]
    actions = group_actions(table)
    if len(weights) > 1:
        cli.log.info("weights: %s", ", ".join(f"{w:g} {p}" for w, p in zip(weights, args.embeddings, strict=True)))
    write_distances(args.out, table, actions, action_distances(embeddings, actions, params.distances, weights))


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--embeddings", required=True, type=Path, nargs="+", help="one file per model")
    parser.add_argument(
        "--weights",
        type=cli.number(1e-6, 1e6),
        nargs="+",
        help="one per file; by default those of params.yaml where the files' folders bear the names of its models, "
        "else all alike",
    )
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
