"""Which part of the recipe is worth what: the dev kit's recipe, then one part after the other, on synthetic matches.

Every row trains the same network from scratch on the same number of pictures, with each of three seeds. A part stays
if it raises the mean mAP of valid over the seeds; what it is worth is told on test. A second table goes on from what
stays with twice as many pictures. Runs are kept in results/ablation, so that an interrupted table goes on. Writes
docs/ablation.md and docs/ablation.json.
"""

import argparse
import concurrent.futures
import copy
import hashlib
import itertools
import json
import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "benchmarks")]

from machine import machine  # noqa: E402

from reid.cli import log  # noqa: E402
from reid.files import read_json, replacing, write_json  # noqa: E402

SEEDS = (1, 2, 3)
ACTIONS = {"train": 260, "valid": 40, "test": 70}  # about 10,000 thumbnails
PICTURES, LONGER = 8_000, 16_000  # seen by each training of the first and the second table
HEIGHT, WIDTH = 128, 64
RESAMPLES = 4000
VIEWS = ("plain", "plain+flip")
FOLDER = ROOT / "results/ablation"

# The dev kit's baseline with the network and size of this table. last_stride is that of the kit's own resnet18.
KIT = {
    "network.backbone": "resnet18",
    "network.weights": None,
    "network.last_stride": 2,
    "network.projection": None,
    "input": {"height": HEIGHT, "width": WIDTH},
    "subset": 1.0,
    "epochs": 100,
    "budget": PICTURES,
    "threads": 1,
}
CONTRAST = {"kind": "supcon", "weight": 1.0, "temperature": 0.05}


CROP = {"probability": 1.0, "margin": 0.1}
LIGHT = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.0}
ERASING = {"probability": 0.5, "smallest": 0.02, "largest": 0.4}


def share(temperature):
    return {"kind": "softmax", "temperature": temperature, "rounds": 1, "weight": 1.0}


def contrast(negatives):
    loss = {"negatives": negatives, "contrast": CONTRAST, "triplet": None, "centroid": None, "softmax": None}
    return {"model": {"loss": loss}, "distances": {"metric": "cosine"}}


# Each part: its name, and the ways to do it, of which the best stays. ``always`` stays whatever its mAP of valid.
PARTS = [
    {
        "name": "batches of whole actions, bf16",  # which later parts need
        "ways": {
            "": {
                "model": {
                    "sampler": {"kind": "actions", "actions": 4, "people": 8, "images": 2, "neighbours": "any"},
                    "precision": "bf16",
                }
            }
        },
        "always": True,
    },
    {
        "name": "supervised contrast",
        "ways": {
            "negatives of the same action": contrast("action"),
            "everybody as negative": contrast("everything"),
            "the same action and other games": contrast("action+games"),
        },
    },
    {
        "name": "projection after the pooling",
        "ways": {"": {"model": {"network.projection": {"width": 128, "kind": "linear"}}}},
    },
    {
        "name": "changed pictures",
        "ways": {
            "crop": {"model": {"pictures.crop": CROP}},
            "crop, light, erasing": {
                "model": {"pictures.crop": CROP, "pictures.light": LIGHT, "pictures.erasing": ERASING}
            },
        },
    },
    {
        "name": "one-cycle AdamW",
        "ways": {
            "": {
                "model": {
                    "optimiser.kind": "adamw",
                    "optimiser.learning_rate": 0.001,
                    "optimiser.weight_decay": 0.01,
                    "schedule": {"kind": "one_cycle", "warm_up": 0.3},
                }
            }
        },
    },
    {"name": "weight averaging (0.95)", "ways": {"": {"model": {"averaging": {"kind": "ema", "decay": 0.95}}}}},
    {
        "name": "softmax over queries",
        "ways": {f"temperature {t}": {"distances": {"queries": share(t)}} for t in (0.05, 0.1, 0.2)},
    },
    {
        "name": "k-reciprocal re-ranking",
        "ways": {"": {"distances": {"reranking": {"k1": 3, "k2": 1, "original": 0.7}, "scale": "mean"}}},
    },
]


def falling(kind, hold):
    """Twice the learning rate of the first table, falling to nothing in the end."""
    schedule = {"kind": "cosine", "warm_up": 0.0, "hold": hold, "end": 0.0}
    return {"model": {"optimiser.kind": kind, "optimiser.learning_rate": 0.0006, "schedule": schedule}}


# With more pictures, on top of what stays of the first table.
LONGER_PARTS = [
    {
        "name": "smaller pictures first (0.75, half of the training)",
        "ways": {"": {"model": {"pictures.progressive": {"scale": 0.75, "until": 0.5}}}},
    },
    {"name": "embeddings with the mirror image", "ways": {"": {"embed": {"views": "plain+flip"}}}},
    {
        "name": "twice the learning rate, cosine",
        "ways": {
            "AdamW": falling("adamw", 0.0),
            "AdamW, from half of the training": falling("adamw", 0.5),
        },
    },
    {  # what makes no difference here does on photographs: see docs/ablation.md
        "name": "twice the learning rate, cosine: Adam, from 0.7 of the training",
        "ways": {"": falling("adam", 0.7)},
        "always": True,
    },
]


def merged(settings, way):
    """Settings with those of a way on top."""
    return {part: {**settings.get(part, {}), **way.get(part, {})} for part in ("model", "embed", "distances")}


def params_of(settings, seed):
    """The checked parameter file of a row: the dev kit's recipe with ``settings``.

    Returns:
        reid.params.Params with one model, ``"model"``
    """
    from reid.params import check_params

    content = yaml.safe_load((ROOT / "recipes/dev-kit-baseline.yaml").read_text(encoding="utf-8"))
    model = next(iter(content["models"].values()))
    for place, value in copy.deepcopy({**KIT, **settings["model"], "seed": seed}).items():
        *sections, key = place.split(".")
        found = model
        for section in sections:
            found = found[section]
        found[key] = value
    content["models"] = {"model": model}
    content["embed"] |= settings.get("embed", {})
    content["distances"] |= settings["distances"]
    return check_params(content, "benchmarks/ablation.py")


def make_data(split):
    """Zip, index and store of a split in results/ablation/data; nothing is made twice."""
    from reid.index import build_index, write_index
    from reid.synthetic import make_split
    from reid.thumbnails import build_store

    folder = FOLDER / "data"
    zip_path, index, store = (folder / f"{split}.{end}" for end in ("zip", "parquet", "npy"))
    if not store.exists():
        make_split(zip_path, split, ACTIONS[split], 1, threads=2)
        table, _ = build_index(zip_path, split)
        write_index(index, table, split, "0" * 64)
        build_store(zip_path, table, store, HEIGHT, WIDTH, "bilinear", 2)


def read_data(split):
    from reid.index import read_index
    from reid.thumbnails import open_store

    table, _ = read_index(FOLDER / f"data/{split}.parquet")
    return table, open_store(FOLDER / f"data/{split}.npy", len(table))


def trained(params):
    """Folder of a training: its CPU seconds, and the embeddings of valid and test of all views; made once."""
    model = params.models["model"]
    identity = json.dumps([ACTIONS, model.model_dump()], sort_keys=True)
    folder = FOLDER / "runs" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if not (folder / "run.json").exists():
        from reid.embedding import embed, write_embeddings
        from reid.training import train
        from reid.trainset import Pictures, select_people

        table, store = read_data("train")
        people = select_people([table], model.subset)
        started = time.process_time()  # of one thread: the machine may be busy with other things
        found = train(people, Pictures([store]), model, progress=False)
        seconds = time.process_time() - started
        for split, views in itertools.product(("valid", "test"), VIEWS):
            changes = {"views": views, "threads": model.threads, "precision": model.precision}
            how = params.embed.model_copy(update=changes)
            embeddings = embed(found.chosen, read_data(split)[1], how, progress=False)
            write_embeddings(folder / f"{split}.{views}.npy", embeddings)
        run = {"pictures": found.summary["seeds"][0]["pictures"], "seconds": seconds}
        write_json(folder / "run.json", {**run, "model": model.model_dump()})
    return folder


def scored(settings, seed):
    """Train if need be, and score.

    Returns:
        dict: seconds, pictures, mAP of valid and test, and AP of each query of test with its action
    """
    from reid.actions import group_actions
    from reid.distances import action_distances, read_embeddings
    from reid.metrics import precision_of_actions
    from reid.tables import column

    params = params_of(settings, seed)
    folder = trained(params)
    found = {key: value for key, value in read_json(folder / "run.json").items() if key != "model"}
    for split in ("valid", "test"):
        table, _ = read_data(split)
        actions, person = group_actions(table), column(table, "person_uid")
        embeddings = read_embeddings(folder / f"{split}.{params.embed.views}.npy", len(table))
        distances = action_distances([embeddings], actions, params.distances)
        precision = precision_of_actions(actions, person)(distances)
        found[split] = float(precision.mean())
        if split == "test":
            found["AP"] = precision.tolist()
            found["action"] = np.repeat(np.arange(len(actions)), [len(a.query) for a in actions]).tolist()
    return found


def interval(values, action, rng):
    """95 % interval of a mean over queries, from a bootstrap over actions (queries of one share a gallery).

    Args:
        values: float array, one per query.
        action: int array, the action of each.
    """
    count = np.bincount(action)
    total = np.bincount(action, values)
    drawn = rng.integers(0, len(count), (RESAMPLES, len(count)))
    return np.quantile(total[drawn].sum(1) / count[drawn].sum(1), [0.025, 0.975])


def table_row(name, runs, before, rng):
    """Figures of a row: means over the seeds, and the difference to the row that it builds on."""
    precision, action = np.mean([run["AP"] for run in runs], axis=0), np.array(runs[0]["action"])
    low, high = interval(precision, action, rng)
    row = {
        "row": name,
        "valid": float(np.mean([run["valid"] for run in runs])),
        "test": float(precision.mean()),
        "interval": [float(low), float(high)],
        "seeds": [run["test"] for run in runs],
        "seconds": [run["seconds"] for run in runs],
        "pictures": [run["pictures"] for run in runs],
    }
    if before:
        change = precision - np.mean([run["AP"] for run in before], axis=0)
        row["change"] = float(change.mean())
        row["change_interval"] = [float(value) for value in interval(change, action, rng)]
    return row


def _all_seeds(ways, pool):
    """Scores of each way with every seed."""
    tasks = {(way, seed): pool.submit(scored, settings, seed) for way, settings in ways.items() for seed in SEEDS}
    return {way: [tasks[way, seed].result() for seed in SEEDS] for way in ways}


def run(jobs):
    """Both tables.

    Returns:
        dict: that of :func:`compare` with the pictures of the first table, and as ``longer`` that of the second one
    """
    rng = np.random.default_rng(0)
    for split in ACTIONS:
        make_data(split)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        first = compare(PARTS, {"model": {}, "distances": {}}, pool, rng)
        kept = {"name": "what stays of the first table", "ways": {"": first["settings"]}, "always": True}
        longer = compare([kept, *LONGER_PARTS], {"model": {"budget": LONGER}, "distances": {}}, pool, rng)
    for found in (first, longer):
        found["paces"] = paces(found["start"], found["settings"])
    return {**first, "longer": longer}


def compare(parts, start, pool, rng):
    """The dev kit's recipe, then one part after the other.

    Args:
        parts: as in ``PARTS``.
        start: settings of the first row.
        pool: concurrent.futures.Executor
        rng: numpy.random.Generator

    Returns:
        dict: a row of :func:`table_row` for each way with ``stays``, ``full`` (all that stays against the first row),
        and ``start`` and ``settings``, those of the first row and of all that stays
    """
    settings = start
    kit = kept = _all_seeds({"": settings}, pool)[""]
    rows = [{**table_row("dev kit's recipe", kit, None, rng), "stays": True}]
    _report(rows[-1])
    for part in parts:
        ways = {way: merged(settings, change) for way, change in part["ways"].items()}
        runs = _all_seeds(ways, pool)
        valid = {way: np.mean([run["valid"] for run in found]) for way, found in runs.items()}
        best = max(valid, key=valid.get)
        stays = part.get("always", False) or valid[best] > np.mean([run["valid"] for run in kept])
        for way, found in runs.items():
            name = part["name"] + (f": {way}" if way else "")
            rows.append({**table_row(name, found, kept, rng), "stays": bool(stays and way == best)})
            _report(rows[-1])
        if stays:
            settings, kept = ways[best], runs[best]
    return {"rows": rows, "full": table_row("full recipe", kept, kit, rng), "start": start, "settings": settings}


def paces(start, settings, rounds=30):
    """CPU milliseconds per picture of a training step: ``start`` and ``settings``, in turns, on one thread.

    Seconds of whole trainings depend on what else the machine does; those of alternating steps hardly do. The steps
    are spread over the training, for early ones may be on smaller pictures.

    Returns:
        dict: ``{"kit": float, "full": float}``
    """
    from reid.training import Trainer
    from reid.trainset import Pictures, select_people

    table, store = read_data("train")
    trainers = {}
    for name, chosen in (("kit", start), ("full", settings)):
        model = params_of(chosen, SEEDS[0]).models["model"]
        trainers[name] = Trainer(select_people([table], model.subset), Pictures([store]), model)
    spent, seen = dict.fromkeys(trainers, 0.0), dict.fromkeys(trainers, 0)
    for number in range(-2, rounds):  # the first steps make their buffers
        for name, trainer in trainers.items():
            trainer.seen = trainer.params.budget * max(number, 0) // rounds
            started = time.process_time()
            pictures = trainer.step()
            if number >= 0:
                spent[name] += time.process_time() - started
                seen[name] += pictures
    return {name: 1000 * spent[name] / seen[name] for name in trainers}


def _report(row):
    change = f", {100 * row['change']:+.1f}" if "change" in row else ""
    log.info("%s: test %.1f%s%s", row["row"], 100 * row["test"], change, "" if row["stays"] else " (left out)")


def _points(value):
    return f"{100 * value:.1f}"


def _signed(value):
    return f"{'+' if value >= 0 else ''}{_points(value)}"


def page(result, data):
    """Both tables as Markdown."""
    machine, longer = result["machine"], result["longer"]
    settings = {part: changes for part, changes in longer["settings"].items() if changes}
    sizes = ", ".join(f"{split} {count:,}" for split, count in data.items())
    return f"""Made by `make ablation`: ResNet-18 from scratch, {HEIGHT} x {WIDTH}, {PICTURES:,} pictures seen by
each training, {len(SEEDS)} seeds, on {sum(data.values()):,} synthetic thumbnails ({sizes}). mAP in per cent, mean over
the seeds; intervals from a bootstrap over the actions of test. A row is compared with the last row above it that
stays; it stays if it raises the mean mAP of valid. CPU seconds of a training on one thread. {machine["cpu"]}, Python
{machine["python"]}, torch {machine["torch"]}, torchvision {machine["torchvision"]}.

{_table(result)}

The same with {LONGER:,} pictures seen by each training:

{_table(longer)}

What stays of the second table, on top of `recipes/dev-kit-baseline.yaml`:

```yaml
{yaml.safe_dump(settings, sort_keys=False, width=110)}```
"""


def _table(found):
    full, kit, pace = found["full"], found["rows"][0], found["paces"]
    gains = [b - a for a, b in zip(kit["seeds"], full["seeds"], strict=True)]
    lines = [
        "| | valid mAP | test mAP | 95 % | seeds | change | 95 % | CPU seconds | stays |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        change = ["", ""]
        if "change" in row:
            change = [_signed(row["change"]), " to ".join(map(_signed, row["change_interval"]))]
        cells = [
            row["row"],
            _points(row["valid"]),
            _points(row["test"]),
            " to ".join(map(_points, row["interval"])),
            ", ".join(map(_points, row["seeds"])),
            *change,
            f"{np.mean(row['seconds']):.0f}",
            "yes" if row["stays"] else "no",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return f"""{chr(10).join(lines)}

**Full recipe against the dev kit's: {_signed(full["change"])} points of test mAP
({" to ".join(map(_signed, full["change_interval"]))}); {", ".join(map(_signed, gains))} for each seed.
A training step, both in turns in one process: {pace["kit"]:.1f} and {pace["full"]:.1f} ms a picture, so
{pace["full"] / pace["kit"]:.2f} of the training time.**"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    args = parser.parse_args()
    import logging

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    result = {**run(args.jobs), "machine": machine(), "jobs": args.jobs}
    write_json(ROOT / "docs/ablation.json", result)
    sizes = {split: len(read_data(split)[0]) for split in ACTIONS}
    path = ROOT / "docs/ablation.md"
    before, _, after = path.read_text(encoding="utf-8").partition("<!-- table -->") if path.exists() else ("", "", "")
    after = after.partition("<!-- end -->")[2]
    with replacing(path) as partial:
        text = f"{before}<!-- table -->\n{page(result, sizes)}<!-- end -->{after}"
        partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
