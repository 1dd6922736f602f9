"""Fetch the weights that one model of params.yaml starts from, and keep those that fit (none, if from scratch)."""

from pathlib import Path

from reid import cli, weights
from reid.cli import log
from reid.params import model_params, read_params


def main(args):
    model = model_params(read_params(args.params), args.model)
    if model.network.weights is None:
        weights.write_start(args.out, None, {"name": None})
        return
    found, about = weights.start(model)
    log.info("%s: %d arrays fit, %.1f %% of the backbone", model.network.weights, len(found.arrays), 100 * found.share)
    for name in found.missing:
        log.info("starts at random: %s", name)
    for name, why in found.left_out:
        log.info("left out: %s (%s)", name, why)
    weights.write_start(args.out, found, about)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--model", required=True, help="name of the model in params.yaml")
    parser.add_argument("--out", required=True, type=Path, help="the weights to make (.safetensors)")
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
