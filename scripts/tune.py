"""Choose the distances section of params.yaml by the mAP of valid: metric, query expansion, re-ranking, assignment of
boxes to queries, weights of the models. Prints what was tried and the section; --write puts it into the file.
"""

import json
from pathlib import Path

import yaml

from reid.core import cli
from reid.core.errors import ReidError
from reid.core.tables import column
from reid.data.actions import group_actions
from reid.params.reading import check_name, read_params
from reid.params.registries import POSTPROCESSING
from reid.params.schema import parts
from reid.params.section_writer import write_section
from reid.ranking.distances import action_distances
from reid.ranking.query_gallery import read_queried
from reid.ranking.tuning import LEAST_GAIN, STEPS, changed, tune
from reid.retrieval.embeddings import read_embeddings
from reid.retrieval.metrics import ap_of_actions


def main(args):
    params = read_params(args.params)
    table, about = read_queried(args.index, ["role", "bbox_idx", "action_idx", "person_uid"], labelled=True)
    if about["split"] != "valid":
        raise ReidError(f"{args.index}: is of {about['split']}; parameters are chosen on valid")
    if "valid" in params.train.splits:
        raise ReidError(f"{args.params}: train.splits holds valid; what was trained on can choose nothing")
    paths = {path.parent.name: path for path in args.embeddings}
    if len(paths) < len(args.embeddings):
        raise ReidError("--embeddings: the folder of each file must bear the name of its model, each another one")
    for name, path in paths.items():
        check_name(name, f"--embeddings: folder of {path}")
    names = [*params.models, *params.external_models]
    if args.write and not set(paths) <= set(names):
        raise ReidError(f"--write: {args.params} has the models {', '.join(names)}, not {', '.join(paths)}")
    for name in parts(params.distances.postprocessing, POSTPROCESSING):
        if not any(name in steps for steps in STEPS.values()):
            cli.log.warning("distances.postprocessing.%s: is not among what is tried here, and is left out", name)
    if params.distances.fusion != "mean":
        cli.log.warning(
            "distances.fusion: %s is not among what is tried here, and is left out", params.distances.fusion
        )
    embeddings = {name: read_embeddings(path, len(table)) for name, path in paths.items()}
    actions, person = group_actions(table), column(table, "person_uid")

    now, weights = 0.0, params.fused()
    if absent := set(weights) - set(paths):
        cli.log.warning("what %s has is not measured: no --embeddings of %s", args.params, ", ".join(sorted(absent)))
    else:
        chosen = [embeddings[name] for name in weights]
        distances = action_distances(chosen, actions, params.distances, list(weights.values()))
        now = ap_of_actions(actions, person)(distances).mean()
        print(f"mAP with {args.params} as it is: {now:.4f}\n")
    section, tried, score = tune(embeddings, actions, person)
    if "models" not in section and set(paths) != set(names):
        section = changed(section, "models", dict.fromkeys(paths, 1.0))
    print(f"{'part':<17}{'without':<9}{'with':<8}{'':<6}best candidate")
    for part, without, best, with_it, kept in tried:
        print(f"{part:<17}{without:<9.4f}{with_it:<8.4f}{'kept' if kept else '':<6}{json.dumps(best)}")
    print(f"\nmAP with the section below: {score:.4f}\n")
    print(yaml.safe_dump({"distances": section}, sort_keys=False, default_flow_style=None), end="")
    if args.write and now >= score + LEAST_GAIN:
        cli.log.warning("%s: left as it is, for what it has is better", args.params)
    elif args.write:
        write_section(args.params, "distances", section)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--index", required=True, type=Path, help="index of valid")
    parser.add_argument(
        "--embeddings", required=True, type=Path, nargs="+", help="one file per model, in a folder of the model's name"
    )
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--write", action="store_true", help="put the section into the parameter file")
    cli.run(main, parser)
