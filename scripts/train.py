"""Train one model of params.yaml and write its checkpoint, with loss and learning rate of each epoch (dvclive)."""

import hashlib
import json
import sys
from pathlib import Path

import torch
from dvclive import Live

from reid import cli, compute, networks
from reid.files import replacing
from reid.index import read_index
from reid.params import model_params, read_params
from reid.thumbnails import open_store
from reid.training import Checkpoint, train


def code_digest():
    """SHA-256 of the project's code that is loaded: a training goes on with the code that it began with."""
    loaded = [__file__, *(module.__file__ for name, module in sys.modules.items() if name.startswith("reid."))]
    return hashlib.sha256(b"".join(Path(path).read_bytes() for path in sorted(loaded))).hexdigest()


def main(args):
    whole = read_params(args.params)
    params = model_params(whole, args.model)
    table, about = read_index(args.index)
    store = open_store(args.thumbnails, len(table))
    inputs = [params.model_dump(), whole.thumbnails.model_dump(), about, store.shape]
    identity = json.dumps([*inputs, code_digest(), torch.__version__, str(compute.device())])
    checkpoint = Checkpoint(args.out.with_name(".training.pt"), identity, args.keep_every)
    plain = {"save_dvc_exp": False, "dvcyaml": None, "report": None}
    # what depends on the machine's speed stands in a folder of its own: the rest is the same in every run
    with Live(str(args.curves), **plain) as curves, Live(str(args.speed), **plain) as speed:

        def on_epoch(_, step):
            for name, value in step.losses.items():
                curves.log_metric(name, value)
            curves.log_metric("learning_rate", step.learning_rate)
            curves.next_step()
            speed.log_metric("pictures_per_second", step.pictures / step.seconds)
            speed.next_step()

        network = train(table, store, params, on_epoch, checkpoint)
    if not params.epochs:  # curves of no points
        for name in ("loss", "learning_rate"):
            with replacing(args.curves / f"plots/metrics/{name}.tsv") as partial:
                partial.write_text(f"step\t{name}\n")
    networks.save(args.out, network, params)
    checkpoint.remove()
    (args.speed / "metrics.json").unlink(missing_ok=True)  # dvc plots would take it for a curve


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--model", required=True, help="name of the model in params.yaml")
    parser.add_argument("--index", required=True, type=Path, help="index of the training split")
    parser.add_argument("--thumbnails", required=True, type=Path, help="store of the training split")
    parser.add_argument("--out", required=True, type=Path, help="the checkpoint to make (.safetensors)")
    parser.add_argument("--curves", required=True, type=Path, help="folder for loss and learning rate")
    parser.add_argument("--speed", required=True, type=Path, help="folder for pictures per second")
    parser.add_argument("--keep-every", type=float, default=60, help="seconds after which a killed training goes on")
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
