"""Train one model of params.yaml: its checkpoint, the last weights, curves of each epoch (dvclive), a summary."""

import hashlib
import json
import sys
from pathlib import Path

import torch
from dvclive import Live

from reid import cli, compute, networks
from reid.errors import ReidError
from reid.files import replacing, sha256, write_json
from reid.index import read_index
from reid.params import model_params, read_params
from reid.thumbnails import open_store
from reid.training import Checkpoint, train
from reid.trainset import Pictures, select_people
from reid.watching import Watcher
from reid.weights import read_start

CURVES = ("loss", "learning_rate", "valid_mAP")


def code_digest():
    """SHA-256 of the project's code that is loaded: a training goes on with the code that it began with."""
    loaded = [__file__, *(module.__file__ for name, module in sys.modules.items() if name.startswith("reid."))]
    return hashlib.sha256(b"".join(Path(path).read_bytes() for path in sorted(loaded))).hexdigest()


def read_split(index, thumbnails):
    table, about = read_index(index)
    return table, open_store(thumbnails, len(table)), about


def main(args):
    whole = read_params(args.params)
    params = model_params(whole, args.model)
    if len(args.index) != len(args.thumbnails):
        raise ReidError("--index and --thumbnails: must name one file for each split, in the same order")
    splits = [read_split(*paths) for paths in zip(args.index, args.thumbnails, strict=True)]
    watch = args.watch and read_split(*args.watch)
    names = [about["split"] for *_, about in splits]
    if sorted(names) != sorted(whole.train.splits):
        raise ReidError(f"--index: holds {', '.join(names)}, but train.splits is {', '.join(whole.train.splits)}")
    if bool(watch) != bool(whole.watched(args.model)):
        raise ReidError(f"--watch: must {'be left out' if watch else 'name index and store of valid'}: see watch")
    inputs = [params.model_dump(), whole.thumbnails.model_dump(), sha256(args.start)]
    inputs += [[about, store.shape] for _, store, about in [*splits, *([watch] if watch else [])]]
    identity = json.dumps([*inputs, code_digest(), torch.__version__, str(compute.device())])
    checkpoint = Checkpoint(args.out.with_name(".training.pt"), identity, args.keep_every)
    people = select_people([table for table, *_ in splits], params.subset)
    pictures = Pictures([store for _, store, _ in splits])
    watcher = Watcher(watch[0], watch[1], params.watch.metric) if watch else None
    plain = {"save_dvc_exp": False, "dvcyaml": None, "report": None}
    # what depends on the machine's speed stands in a folder of its own: the rest is the same in every run
    with Live(str(args.curves), **plain) as curves, Live(str(args.speed), **plain) as speed:

        def on_epoch(_, step):
            for name, value in step.losses.items():
                curves.log_metric(name, value)
            for name, value in step.valid.items():
                curves.log_metric(f"valid_{name}", value)
            curves.log_metric("learning_rate", step.learning_rate)
            curves.next_step()
            speed.log_metric("pictures_per_second", step.pictures / step.seconds)
            speed.next_step()

        found = train(people, pictures, params, read_start(args.start), watcher, on_epoch, checkpoint)
    for name in CURVES:  # those of no points
        path = args.curves / f"plots/metrics/{name}.tsv"
        if not path.exists() or not (params.epochs and (watch or name != "valid_mAP")):
            with replacing(path) as partial:
                partial.write_text(f"step\t{name}\n")
    networks.save(args.out, found.chosen, params)
    networks.save(args.last, found.last, params)
    write_json(args.summary, {"model": args.model, "trained_on": names, **found.summary})
    checkpoint.remove()
    (args.speed / "metrics.json").unlink(missing_ok=True)  # dvc plots would take it for a curve


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--model", required=True, help="name of the model in params.yaml")
    parser.add_argument("--index", required=True, type=Path, nargs="+", help="index of each split of train.splits")
    parser.add_argument("--thumbnails", required=True, type=Path, nargs="+", help="their stores, in the same order")
    parser.add_argument("--watch", type=Path, nargs=2, metavar=("INDEX", "STORE"), help="those of valid, to look at")
    parser.add_argument("--start", required=True, type=Path, help="weights to start from (scripts/weights.py)")
    parser.add_argument("--out", required=True, type=Path, help="the checkpoint to make (.safetensors)")
    parser.add_argument("--last", required=True, type=Path, help="the same, at the end of the training")
    parser.add_argument("--summary", required=True, type=Path, help="size, cost and best epoch, to make (JSON)")
    parser.add_argument("--curves", required=True, type=Path, help="folder for losses, learning rate and valid mAP")
    parser.add_argument("--speed", required=True, type=Path, help="folder for pictures per second")
    parser.add_argument("--keep-every", type=float, default=60, help="seconds after which a killed training goes on")
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
