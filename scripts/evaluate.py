"""Score the distances of a labelled split: mAP, rank-k and chance as JSON, and the CMC curve as CSV."""

from pathlib import Path

from reid import cli
from reid.cli import log
from reid.distances import read_distances
from reid.files import replacing, write_json
from reid.index import read_index
from reid.metrics import cmc, rank, score
from reid.params import read_params
from reid.ranking import BOX_COLUMNS, check_ranked, ranked_matches


def main(args):
    params = read_params(args.params)
    table, about = read_index(args.index, BOX_COLUMNS)
    ranked = rank(read_distances(args.distances))
    check_ranked(ranked, table, args.distances)
    match, start = ranked_matches(ranked, table)
    found, split = score(match, start, params.evaluate.ranks), about["split"]
    if split in params.train.splits:
        log.warning("%s was trained on (train.splits): its scores are no result", split)
        found = {"trained_on": True, "of_training_data": found}
    write_json(args.out, {"split": split, **found})
    with replacing(args.cmc) as partial:
        rows = [f"{k},{value!r}" for k, value in enumerate(cmc(match, start, args.length).tolist(), start=1)]
        partial.write_text("\n".join(["rank,share", *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--distances", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="the metrics to make (JSON)")
    parser.add_argument("--cmc", required=True, type=Path, help="the CMC curve to make (CSV)")
    parser.add_argument("--length", type=int, default=20, help="last rank of the CMC curve")
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
