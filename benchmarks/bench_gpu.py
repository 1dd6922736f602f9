"""How near a GPU comes to the pace of the bare network: training, embedding and memory, one run on one GPU.

The bare network does forward pass, backward pass and optimiser on one batch that lies on the GPU, in eager mode, in
turns with the pipeline's own training on random images, after some steps in which most sizes of a batch were met.
Writes docs/benchmark-gpu.json and the table of docs/benchmark-gpu.md.
``--share`` makes everything smaller, for a trial on any machine, and then nothing is written.
"""

import argparse
import functools
import gc
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from ruamel.yaml import YAML
from torch.nn.functional import normalize

import standin
from machine import machine
from reid.core.cli import log
from reid.core.files import put_table, write_json
from reid.core.parallel import cores
from reid.models import device
from reid.models.embedder import Embedder
from reid.models.embedding import embed
from reid.params.reading import check_params
from reid.training.dataset import Images, select_identities
from reid.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]

ACTIONS = 1600  # that are trained on: epochs of 100 batches of 16; the data set has 535
IMAGES = 4096  # of noise, over and over
WARM = 30  # steps in which most sizes of a batch are met
ROUNDS, SECONDS = 3, 0.6  # of each side, in turns
BATCHES = 40  # that are embedded in one go: what beginning and end cost does not count at the true size either


class Case(NamedTuple):
    """What is measured: a recipe with values at dotted places replaced; ``kind`` is train, embed or memory."""

    kind: str
    name: str
    recipe: str
    changes: dict


SMALL = {"network.backbone": "resnet18", "input": {"height": 128, "width": 64}}
COMPILED = {"compile": "default", "batch_multiple": 32}
WHOLE = {"sampler.actions": 16}  # batches of 256
CASES = [
    Case("train", "ResNet-18, 128x64", "resnet50", SMALL),
    Case("train", "ResNet-18, 128x64", "resnet50", SMALL | COMPILED),
    Case("train", "ResNet-50, 256x128", "resnet50", {}),
    Case("train", "ResNet-50, 256x128", "resnet50", {"precision": "fp32"}),
    Case("train", "ResNet-50, 256x128", "resnet50", COMPILED),
    Case("train", "ViT-B/16, 256x128", "vit-b-clip", {}),
    Case("train", "ViT-B/16, 256x128", "vit-b-clip", COMPILED),
    Case("train", "OSNet-AIN x1.0, 256x128", "osnet", {}),
    Case("train", "ViT-L/14, 224x224", "vit-l-clip-ensemble", {"sampler.actions": 8}),  # 128; the recipe has 32
    Case("embed", "ResNet-50, 256x128", "resnet50", {}),
    Case("embed", "ResNet-50, 256x128", "resnet50", {"precision": "fp32"}),
    Case("embed", "ViT-B/16, 256x128", "vit-b-clip", {}),
    Case("memory", "ViT-L/14, 224x224", "vit-l-clip-ensemble", WHOLE),
    Case("memory", "ViT-L/14, 224x224, checkpointing", "vit-l-clip-ensemble", WHOLE | {"network.checkpointing": True}),
    Case("memory", "ViT-L/14, 224x224, chunk 32", "vit-l-clip-ensemble", WHOLE | {"chunk": 32}),
]
AIMS = {  # share of the bare network's pace, by kind, name and whether compiled
    ("train", "ResNet-18, 128x64", False): 0.85,
    ("train", "ResNet-18, 128x64", True): 1.0,
    ("train", "ResNet-50, 256x128", False): 0.95,
    ("train", "ResNet-50, 256x128", True): 1.0,
    ("train", "ViT-B/16, 256x128", False): 0.95,
    ("train", "ViT-B/16, 256x128", True): 1.0,
    ("embed", "ResNet-50, 256x128", False): 0.95,
    ("embed", "ViT-B/16, 256x128", False): 0.95,
}


def params_of(case, share):
    """A model's section and the section ``embed``, from scratch; of a trial small ones of the same kind."""
    content = YAML(typ="safe", pure=True).load((ROOT / f"recipes/{case.recipe}.yaml").read_text(encoding="utf-8"))
    name, model = next(iter(content["models"].items()))
    del model["network"]["weights"]
    threads = cores() if share == 1 else 1
    _replace(model, {"epochs": 10_000, "threads": threads, "validation": None, **case.changes})
    content["embed"] |= {"threads": threads, "precision": model["precision"]}
    if share != 1:
        backbone = model["network"]["backbone"]
        kind = next(kind for kind in ("resnet", "osnet", "vit") if kind in backbone)
        small = {"resnet": "resnet18", "osnet": "osnet_x0_25", "vit": "vit_tiny_patch16_224"}[kind]
        size = {"height": 64, "width": 32}
        _replace(model, {"network.backbone": small, "input": size, "sampler.actions": 2, "sampler.identities": 2})
        # compiling alone would take longer than all of it
        model |= {"compile": None, "batch_multiple": 1, "chunk": 3 if model.get("chunk") else None}
        content["embed"]["batch_size"] = 8
    content["models"] = {name: {key: value for key, value in model.items() if value is not None}}
    content["distances"].pop("models", None)
    params = check_params(content)
    return params.models[name], params.embed


def _replace(section, changes):
    for place, value in changes.items():
        *above, key = place.split(".")
        part = section
        for name in above:
            part = part.setdefault(name, {})
        part[key] = value


@functools.cache
def index(share):
    """The index of the first actions of a stand-in of train: what a training reads of it (pyarrow.Table)."""
    boxes = standin.draw_boxes("train", max(8, ACTIONS * share) / standin.COUNTS["train"][0])
    games = [f"game {action // standin.ACTIONS_PER_GAME}" for action in boxes.action.tolist()]
    same = {level: ["one"] * len(games) for level in ("championship", "season")}
    return pa.table({"action_idx": boxes.action, "person_uid": boxes.person, **same, "game": games})


class Store:
    """Images of noise, uint8 N x H x W x 3, of a file that is mapped into memory.

    Args:
        folder: of the file.
        rows: N; the file has fewer, which come again.
        size: (height, width), pixels.
    """

    def __init__(self, folder, rows, size):
        self.shape = (rows, *size, 3)
        path = folder / "{}x{}.npy".format(*size)
        if not path.exists():
            noise = np.random.default_rng(1)
            np.save(path, noise.integers(256, size=(min(rows, IMAGES), *size, 3), dtype=np.uint8))
        self.images = np.load(path, mmap_mode="r")

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        return self.images[rows % len(self.images)]


class Bare:
    """A network and one batch, both on the device; nothing is read, changed or compared.

    Args:
        params: reid.params.model.Model
        images: in the batch.
        dtype: of convolutions and products.
    """

    def __init__(self, params, images, dtype):
        self.where, self.dtype, self.images = device.device(), dtype, images
        network = Embedder(params.network, (params.input.height, params.input.width))
        self.network = network.to(self.where).to(memory_format=torch.channels_last)
        self.x = network.normalise(torch.rand(images, 3, *network.size, device=self.where))

    def prepare_to_train(self):
        fused = self.where.type == "cuda"
        self.optimizer = torch.optim.AdamW(self.network.train().parameters(), 1e-4, fused=fused)

    def step(self):
        with device.autocast(self.dtype, self.where):
            embeddings = self.network.features(self.x)
        embeddings.square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.images

    def embed(self):
        with torch.inference_mode(), device.autocast(self.dtype, self.where):
            normalize(self.network(self.x)) + normalize(self.network(self.x))
        return self.images


def wait():
    """Until the GPU has done all that it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def pace(work, seconds):
    """Images a second of ``work``, which is called for about so many seconds and returns a number of images."""
    wait()
    started, images = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        images += work()
    wait()
    return images / (time.perf_counter() - started)


def paces(ours, bare, share):
    """Median images a second of two pieces of work, in turns so that both see the same machine."""
    seconds = SECONDS if share == 1 else 0.02
    rounds = [(pace(ours, seconds), pace(bare, seconds)) for _ in range(ROUNDS if share == 1 else 1)]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def row(case, model, dtype, batch, **more):
    """A row of the table; None where there is none.

    ``rate`` and ``bare`` are in images a second, ``memory`` in bytes, ``first`` in seconds.
    """
    found = {"rate": None, "bare": None, "memory": None, "waiting": None, "first": None, "note": "", **more}
    share = found["rate"] / found["bare"] if found["rate"] and found["bare"] else None
    kind = str(dtype).removeprefix("torch.") + (", compiled" if model.compile and case.kind != "embed" else "")
    aim = AIMS.get((case.kind, case.name, bool(model.compile)))
    return {
        "kind": case.kind,
        "name": case.name,
        "precision": kind,
        "batch": batch,
        **found,
        "share": share,
        "aim": aim,
    }


def peak():
    """Bytes of the GPU that were in use at the most; None without one."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def trainer_of(model, share, folder):
    """The pipeline's own training on random images."""
    table = index(share)
    store = Store(folder, len(table), (model.input.height, model.input.width))
    return Trainer(select_identities([table], 1.0), Images([store]), model)


def measure_training(case, model, share, folder):
    """A training next to the bare network, or for its memory alone."""
    trainer = trainer_of(model, share, folder)

    def step():
        images = trainer.step()
        if trainer.epoch_is_over:
            trainer.end_epoch()
        return images

    batch = max(map(len, trainer.batches))
    started = time.perf_counter()
    first = WARM if case.kind == "train" and share == 1 else 1
    for _ in range(first):  # kernels are chosen for every size, and compiled
        step()
    wait()
    started = time.perf_counter() - started
    if case.kind == "memory":
        rate = pace(step, SECONDS if share == 1 else 0.02)
        return row(case, model, trainer.dtype, batch, rate=rate, memory=peak())
    memory = peak()
    bare = Bare(model, batch, trainer.dtype)
    bare.prepare_to_train()
    bare.step()
    spent = waited = 0.0

    def ours():
        nonlocal spent, waited
        before = trainer.feed.waiting
        started = time.perf_counter()
        images = trainer.step()
        waited += trainer.feed.waiting - before
        if trainer.epoch_is_over:
            trainer.end_epoch()
        spent += time.perf_counter() - started
        return images

    rate, of_bare = paces(ours, bare.step, share)
    chosen = started - first * batch / rate
    values = {"rate": rate, "bare": of_bare, "memory": memory, "waiting": waited / spent, "first": max(0.0, chosen)}
    return row(case, model, trainer.dtype, batch, **values)


def measure_embedding(case, model, params, share, folder):
    """Embedding of a store next to the bare network's forward passes, of the images and of their mirror images."""
    size = model.input.height, model.input.width
    store = Store(folder, params.batch_size * (BATCHES if share == 1 else 3), size)
    network = Embedder(model.network, size)

    def ours():
        embed(network, store, params, progress=False)
        return len(store)

    dtype = device.precision(params.precision, device.device())
    ours()
    memory = peak()
    bare = Bare(model, params.batch_size, dtype)
    bare.network.eval()
    bare.embed()
    rate, of_bare = paces(ours, bare.embed, share)
    return row(case, model, dtype, params.batch_size, rate=rate, bare=of_bare, memory=memory)


def measure(case, share, folder):
    """The row of a case; one that does not fit into memory says so."""
    model, params = params_of(case, share)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        if case.kind == "embed":
            return measure_embedding(case, model, params, share, folder)
        return measure_training(case, model, share, folder)
    except torch.OutOfMemoryError:
        dtype = device.precision(model.precision, device.device())
        return row(case, model, dtype, None, note="too little memory")


def clear(case, share):
    """Free what a case left."""
    if "compile" in case.changes and share == 1:
        torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


KINDS = {"train": "training", "embed": "embedding, with mirror images", "memory": "training, memory"}


def cells(found):
    """A row of the table as texts."""
    rate, bare, share, batch = found["rate"], found["bare"], found["share"], found["batch"]
    met = "" if found["aim"] is None or share is None else "met" if share >= found["aim"] else "not met"
    return [
        f"{KINDS[found['kind']]}: {found['name']}",
        found["precision"],
        "" if batch is None else str(batch),
        "" if rate is None else f"{rate:,.0f}",
        "" if bare is None else f"{bare:,.0f}",
        "" if share is None else f"{share:.2f}",
        "" if rate is None or batch is None else f"{1000 * batch / rate:,.1f} ms",
        "" if found["memory"] is None else f"{found['memory'] / 1e9:.1f} GB",
        "" if found["waiting"] is None else f"{100 * found['waiting']:.1f} %",
        "" if found["first"] is None else f"{found['first']:.1f} s",
        "" if found["aim"] is None else f"{found['aim']:.2f}",
        met or found["note"],
    ]


def table(rows):
    """The table as Markdown."""
    head = ["part", "precision", "batch", "images a second", "bare network", "share", "a batch", "peak memory"]
    head += ["waiting for images", "once", "aim", ""]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *map(cells, rows)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the size; anything but 1 is a trial")
    parser.add_argument("--cases", type=int, nargs="+", help="a trial of these alone, by their number from 1")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.share == 1 and not torch.cuda.is_available():
        sys.exit("there is no GPU; --share 0.01 tries everything out without one")
    started, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        for case in [CASES[number - 1] for number in args.cases] if args.cases else CASES:
            rows.append(measure(case, args.share, Path(folder)))
            log.info("%s", "  ".join(cells(rows[-1])))
            clear(case, args.share)
    spent = time.perf_counter() - started
    log.info("%.0f s", spent)
    if args.share != 1 or args.cases:
        return
    about = {**machine(), "gpu": torch.cuda.get_device_name()}
    write_json(ROOT / "docs/benchmark-gpu.json", {"rows": rows, "machine": about, "seconds": spent})
    text = (
        f"Made by `make bench-gpu` in {spent:.0f} s. {about['gpu']}; {about['cpu']}, {about['cores']} cores, "
        f"Python {about['python']}, torch {about['torch']}.\n\n{table(rows)}\n"
    )
    put_table(ROOT / "docs/benchmark-gpu.md", "table", text)


if __name__ == "__main__":
    main()
