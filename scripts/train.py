"""Train one model of params.yaml and write its checkpoint, with loss and learning rate of each epoch (dvclive)."""

import os
from pathlib import Path

from dvclive import Live

from reid import cli, networks
from reid.index import read_index
from reid.params import model_params, read_params
from reid.thumbnails import open_store
from reid.training import train


def main(args):
    params = model_params(read_params(args.params), args.model)
    table, _ = read_index(args.index)
    store = open_store(args.thumbnails, len(table))
    os.environ["DVC_NO_ANALYTICS"] = "1"
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

        network = train(table, store, params, on_epoch)
    networks.save(args.out, network, params)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--model", required=True, help="name of the model in params.yaml")
    parser.add_argument("--index", required=True, type=Path, help="index of the training split")
    parser.add_argument("--thumbnails", required=True, type=Path, help="store of the training split")
    parser.add_argument("--out", required=True, type=Path, help="the checkpoint to make (.safetensors)")
    parser.add_argument("--curves", required=True, type=Path, help="folder for loss and learning rate")
    parser.add_argument("--speed", required=True, type=Path, help="folder for pictures per second")
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
