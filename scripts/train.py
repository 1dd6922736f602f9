"""Train one model of params.yaml: the selected checkpoint, the last one, a curve per loss and score, a summary."""

import contextlib
from pathlib import Path

from reid.core import cli
from reid.core.errors import ReidError
from reid.core.files import sha256, write_json
from reid.data.index import read_index
from reid.data.nearby import nearby
from reid.data.thumbnails import open_store
from reid.models import slots
from reid.models.checkpoint import save
from reid.models.init_file import read_about
from reid.models.pretrained import read_init
from reid.params.reading import model_params, read_params
from reid.training import ranks, trackers
from reid.training.curves import Curves
from reid.training.dataset import Images, select_identities
from reid.training.fingerprint import fingerprint
from reid.training.resume import TrainingState
from reid.training.train import train
from reid.training.untrained import as_it_comes
from reid.training.validation import Validator

CURVES = ("loss", "learning_rate", "valid_mAP", "valid_mAP_averaged")  # outputs of the rule: always there


def read_split(index, thumbnails, near):
    table, about = read_index(index)
    return table, open_store(near.enter_context(nearby(thumbnails)), len(table)), about


def main(args):
    with contextlib.ExitStack() as near:  # copies of stores that lie on a network file system
        train_model(args, near)


def train_model(args, near):
    trackers.chosen()  # what is wrong with them is said before any work
    params = read_params(args.params)
    model = model_params(params, args.model)
    slots.take(model.devices)
    ranks.require(model.devices)
    if len(args.index) != len(args.thumbnails):
        raise ReidError("--index and --thumbnails: must name one file for each split, in the same order")
    splits = [read_split(*paths, near) for paths in zip(args.index, args.thumbnails, strict=True)]
    valid = args.validation and read_split(*args.validation, near)
    names = [about["split"] for *_, about in splits]
    wanted = params.trained_on(args.model)
    if sorted(names) != sorted(wanted):
        raise ReidError(f"--index: holds {', '.join(names) or 'nothing'}, not {', '.join(wanted) or 'nothing'}")
    if bool(valid) != params.validated(args.model):
        raise ReidError(f"--validation: must {'be left out' if valid else 'name index and store of valid'}")
    init = read_init(args.init)  # before the curves of an earlier training go
    data = [[about, store.shape] for _, store, about in [*splits, *([valid] if valid else [])]]
    data.append(params.train.classes)
    of_run = fingerprint(model, params.thumbnails, sha256(args.init), data, Path(__file__))
    state = TrainingState(args.out.with_name(".training.pt"), of_run, args.keep_every)
    validator = Validator(valid[0], valid[1], model.validation.metric) if valid else None
    first = ranks.rank() == 0  # writes the files
    curves = Curves(args.curves, CURVES) if first else None
    speed = Curves(args.speed) if first else None  # depends on the machine: the rest is the same in every run

    def on_epoch(number, epoch):
        if not first:
            return
        valid_scores = {f"valid_{name}": value for name, value in epoch.valid.items()}
        values = {**epoch.losses, **valid_scores, "learning_rate": epoch.learning_rate}
        rate = {"images_per_second": epoch.images / epoch.seconds}
        curves.add(number, values)
        speed.add(number, rate)
        tracking.add(number, {**values, **rate})

    sections = {"model": model.model_dump(), "train": params.train.model_dump()}
    with trackers.begin(args.model, of_run, sections, first) as tracking:
        if names:
            identities = select_identities([table for table, *_ in splits], model.subset, params.train.classes)
            images = Images([store for _, store, _ in splits])
            trained = train(identities, images, model, init, validator, on_epoch, state)
        else:
            trained = as_it_comes(model, init, read_about(args.init)["left_out"])
        tracking.finish(trackers.final(trained.summary))
    ranks.leave()
    if not first:
        return
    save(args.out, trained.selected, model)
    save(args.last, trained.last, model)
    write_json(args.summary, {"model": args.model, "trained_on": names, **trained.summary})
    curves.end()
    speed.end()
    state.remove()


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--model", required=True, help="name of the model in params.yaml")
    parser.add_argument("--index", default=[], type=Path, nargs="*", help="index of each split of train.splits")
    parser.add_argument("--thumbnails", default=[], type=Path, nargs="*", help="their stores, in the same order")
    parser.add_argument("--validation", type=Path, nargs=2, metavar=("INDEX", "STORE"), help="those of valid")
    parser.add_argument("--init", required=True, type=Path, help="weights to start from (scripts/weights.py)")
    parser.add_argument("--out", required=True, type=Path, help="the selected checkpoint to make (.safetensors)")
    parser.add_argument("--last", required=True, type=Path, help="the same, at the end of the training")
    parser.add_argument("--summary", required=True, type=Path, help="size, cost and best epoch, to make (JSON)")
    parser.add_argument("--curves", required=True, type=Path, help="folder for losses, learning rate and valid mAP")
    parser.add_argument("--speed", required=True, type=Path, help="folder for images per second")
    parser.add_argument(
        "--keep-every", type=cli.number(0, 1e6), default=60, help="seconds after which a killed training resumes"
    )
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
