"""Fetch the weights that one model of params.yaml starts from, and keep those that fit (none, if from scratch).

A team's shared place (REID_SHARED) is looked into first, and gets what was not there.
"""

import argparse
from pathlib import Path

from reid.core import cli, shared
from reid.core.cli import log
from reid.models.init_file import content_facts, read_about
from reid.models.pretrained import find_init, read_init, write_init
from reid.params.model import Model
from reid.params.parsing import shown
from reid.params.reading import model_params, read_params


def main(args: argparse.Namespace) -> None:
    model = model_params(read_params(args.params), args.model)
    if model.network.weights is None:
        write_init(args.out, None, {"name": None})
        return
    if shared.obtain(args.out, "weights", lambda: content_facts(model), lambda: fit(model, args.out), read_init):
        about = read_about(args.out)
        for what, text in (("missing", "starts at random: %s"), ("left_out", "left out: %s")):
            for name in about[what]:
                log.info(text, shown(name))


def fit(model: Model, out: Path) -> None:
    match, about = find_init(model)
    log.info("%s: %d arrays fit, %.1f %% of the backbone", model.network.weights, len(match.arrays), 100 * match.share)
    if "prefix" in about:
        log.info("names behind %s", shown(about["prefix"]))
    if "also" in about:
        log.info("there would be as much behind %s", shown(", ".join(about["also"])))
    for name in match.missing:
        log.info("starts at random: %s", name)
    for name, why in match.left_out:
        log.info("left out: %s (%s)", shown(name), why)
    write_init(out, match, about)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--model", required=True, help="name of the model in params.yaml")
    parser.add_argument("--out", required=True, type=Path, help="the weights to make (.safetensors)")
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
