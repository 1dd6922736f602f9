"""Which part of the recipe is worth what: the dev kit's recipe, then one part after the other, on synthetic matches.

Every row trains the same network from scratch on the same number of images, with each of three seeds. A part stays if
it raises the mean mAP of valid over the seeds; what it is worth is told on test. A second table builds on what stays
with twice as many images. Runs are kept in results/ablation, so that an interrupted table resumes. Writes
docs/ablation.md and docs/ablation.json.
"""

import argparse
import concurrent.futures
import hashlib
import itertools
import json
import logging
import multiprocessing
import time
from pathlib import Path

import numpy as np

from ablation_page import page
from ablation_rows import HEIGHT, LONGER, LONGER_PARTS, PARTS, WIDTH, merged, params_of
from machine import machine
from reid.core.cli import log
from reid.core.files import read_json, replacing, write_json

ROOT = Path(__file__).resolve().parents[1]

SEEDS = (1, 2, 3)
ACTIONS = {"train": 260, "valid": 40, "test": 70}  # about 10,000 thumbnails
RESAMPLES = 4000
FOLDER = ROOT / "results/ablation"


def make_data(split):
    """Zip, index and store of a split in results/ablation/data; nothing is made twice."""
    from reid.data.index import build_index, write_index
    from reid.data.thumbnails import build_store
    from reid.synthetic.dataset import make_split

    folder = FOLDER / "data"
    zip_path, index, store = (folder / f"{split}.{end}" for end in ("zip", "parquet", "npy"))
    if not store.exists():
        make_split(zip_path, split, ACTIONS[split], 1, threads=2)
        table, _ = build_index(zip_path, split)
        write_index(index, table, split, "0" * 64)
        build_store(zip_path, table, store, HEIGHT, WIDTH, "bilinear", 2)


def read_data(split):
    from reid.data.index import read_index
    from reid.data.thumbnails import open_store

    table, _ = read_index(FOLDER / f"data/{split}.parquet")
    return table, open_store(FOLDER / f"data/{split}.npy", len(table))


def trained(params):
    """Folder of a training: its CPU seconds, and the embeddings of valid and test with and without the mirror image.

    Nothing is trained twice.
    """
    model = params.models["model"]
    identity = json.dumps([ACTIONS, model.model_dump()], sort_keys=True)
    folder = FOLDER / "runs" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if not (folder / "run.json").exists():
        from reid.models.embedding import embed
        from reid.retrieval.embeddings import write_embeddings
        from reid.training.dataset import Images, select_identities
        from reid.training.train import train

        table, store = read_data("train")
        identities = select_identities([table], model.subset)
        started = time.process_time()  # of one thread: the machine may be busy with other things
        result = train(identities, Images([store]), model, progress=False)
        seconds = time.process_time() - started
        for split, flip_test in itertools.product(("valid", "test"), (False, True)):
            changes = {"flip_test": flip_test, "threads": model.threads, "precision": model.precision}
            how = params.embed.model_copy(update=changes)
            embeddings = embed(result.selected, read_data(split)[1], how, progress=False)
            write_embeddings(_embeddings(folder, split, flip_test), embeddings)
        run = {"images": result.summary["seeds"][0]["images"], "seconds": seconds}
        write_json(folder / "run.json", {**run, "model": model.model_dump()})
    return folder


def _embeddings(folder, split, flip_test):
    return folder / f"{split}.{'flip_test' if flip_test else 'plain'}.npy"


def scored(settings, seed):
    """Train if need be, and score.

    Returns:
        dict: seconds, images, mAP of valid and test, and AP of each query of test with its action
    """
    from reid.core.tables import column
    from reid.data.actions import group_actions
    from reid.ranking.distances import action_distances
    from reid.retrieval.embeddings import read_embeddings
    from reid.retrieval.metrics import ap_of_actions

    params = params_of(settings, seed)
    folder = trained(params)
    scores = {key: value for key, value in read_json(folder / "run.json").items() if key != "model"}
    for split in ("valid", "test"):
        table, _ = read_data(split)
        actions, person = group_actions(table), column(table, "person_uid")
        embeddings = read_embeddings(_embeddings(folder, split, params.embed.flip_test), len(table))
        distances = action_distances([embeddings], actions, params.distances)
        ap = ap_of_actions(actions, person)(distances)
        scores[split] = float(ap.mean())
        if split == "test":
            scores["AP"] = ap.tolist()
            scores["action"] = np.repeat(np.arange(len(actions)), [len(a.query) for a in actions]).tolist()
    return scores


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
    ap, action = np.mean([run["AP"] for run in runs], axis=0), np.array(runs[0]["action"])
    low, high = interval(ap, action, rng)
    row = {
        "row": name,
        "valid": float(np.mean([run["valid"] for run in runs])),
        "test": float(ap.mean()),
        "interval": [float(low), float(high)],
        "seeds": [run["test"] for run in runs],
        "seconds": [run["seconds"] for run in runs],
        "images": [run["images"] for run in runs],
    }
    if before:
        change = ap - np.mean([run["AP"] for run in before], axis=0)
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
        dict: that of :func:`compare` with the images of the first table, and as ``longer`` that of the second one
    """
    rng = np.random.default_rng(0)
    for split in ACTIONS:
        make_data(split)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        first = compare(PARTS, {"model": {}, "distances": {}}, pool, rng)
        kept = {"name": "what stays of the first table", "ways": {"": first["settings"]}, "always": True}
        longer = compare([kept, *LONGER_PARTS], {"model": {"max_images": LONGER}, "distances": {}}, pool, rng)
    for table in (first, longer):
        table["paces"] = paces(table["start"], table["settings"])
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
        valid = {way: np.mean([run["valid"] for run in seeds]) for way, seeds in runs.items()}
        best = max(valid, key=valid.get)
        stays = part.get("always", False) or valid[best] > np.mean([run["valid"] for run in kept])
        for way, seeds in runs.items():
            name = part["name"] + (f": {way}" if way else "")
            rows.append({**table_row(name, seeds, kept, rng), "stays": bool(stays and way == best)})
            _report(rows[-1])
        if stays:
            settings, kept = ways[best], runs[best]
    return {"rows": rows, "full": table_row("full recipe", kept, kit, rng), "start": start, "settings": settings}


def paces(start, settings, rounds=30):
    """CPU milliseconds per image of a training step: ``start`` and ``settings``, in turns, on one thread.

    Seconds of whole trainings depend on what else the machine does; those of alternating steps hardly do. The steps
    are spread over the training, for early ones may be on smaller images.

    Returns:
        dict: ``{"kit": float, "full": float}``
    """
    from reid.training.dataset import Images, select_identities
    from reid.training.trainer import Trainer

    table, store = read_data("train")
    trainers = {}
    for name, chosen in (("kit", start), ("full", settings)):
        model = params_of(chosen, SEEDS[0]).models["model"]
        trainers[name] = Trainer(select_identities([table], model.subset), Images([store]), model)
    spent, seen = dict.fromkeys(trainers, 0.0), dict.fromkeys(trainers, 0)
    for number in range(-2, rounds):  # the first steps make their buffers
        for name, trainer in trainers.items():
            trainer.seen = trainer.params.max_images * max(number, 0) // rounds
            started = time.process_time()
            images = trainer.step()
            if number >= 0:
                spent[name] += time.process_time() - started
                seen[name] += images
    return {name: 1000 * spent[name] / seen[name] for name in trainers}


def _report(row):
    change = f", {100 * row['change']:+.1f}" if "change" in row else ""
    log.info("%s: test %.1f%s%s", row["row"], 100 * row["test"], change, "" if row["stays"] else " (left out)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    args = parser.parse_args()
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
