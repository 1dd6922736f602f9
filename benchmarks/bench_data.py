"""Parts of the benchmark from the zips to the batches of an epoch."""

import io
import json
import multiprocessing
import os
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

import reference
import standin
from bench_rows import BATCH, INPUT, against, line
from measuring import program, seconds
from reid.core.parallel import cores
from reid.data.index import build_index
from reid.data.thumbnails import build_store, decode, open_store
from reid.params.data import Thumbnails
from reid.raw.archive import pack
from reid.training.samplers import action_batches, identity_batches

ROOT = Path(__file__).resolve().parents[1]


def index(share, kit, folder):
    """The index of all four splits."""
    spent, memory = 0.0, 0
    for split in standin.COUNTS:
        zip_path = folder / f"{split}.zip"
        standin.make_zip(zip_path, split, share)
        receipt = {"split": split, "bytes": os.path.getsize(zip_path), "sha256": "0" * 64}
        (folder / "receipt.json").write_text(json.dumps(receipt), encoding="utf-8")
        took, high = program(
            *[ROOT / "scripts/index.py", "--split", split, "--zip", zip_path],
            *["--receipt", folder / "receipt.json", "--out", folder / f"{split}.parquet"],
        )
        spent, memory = spent + took, max(memory, high)
    started = time.perf_counter()
    with zipfile.ZipFile(folder / "valid.zip") as archive:
        archive.extractall(folder)
    extracted = time.perf_counter() - started
    count = len(standin.draw_boxes("valid", share).action)
    factor = sum(len(standin.draw_boxes(split, share).action) for split in standin.COUNTS) / count
    both = [folder / "valid" / role for role in ("query", "gallery")]
    listed = seconds(lambda: [reference.list_files(part) for part in both])
    note = (
        f"one split after the other, checks included; dev kit's: that of valid times {factor:.1f}, without the "
        f"{factor * extracted:.0f} s that extraction takes (with images of a few bytes)"
    )
    met = spent < 15 and memory < 1e9
    return [line("index of all splits", spent, "under 15 s, 1 GB", met, factor * listed, memory, note)]


def thumbnails(share, kit, folder):
    """The thumbnail store, and a training batch from it."""
    rng = np.random.default_rng(0)
    contents = standin.images(max(20, round(400 * min(1, 4 * share))), rng)
    count = round(9600 * min(1, 4 * share))  # so that starting the processes counts as little as at the true size
    boxes = standin.draw_boxes("train")
    boxes = standin.Boxes(*(column[:count] for column in boxes))
    pack(folder / "train.zip", standin.members("train", boxes, contents))
    table, _ = build_index(folder / "train.zip", "train")
    path, thumbnails = folder / "train.npy", Thumbnails(height=INPUT[0], width=INPUT[1])

    def plain():
        for content, _, _ in contents:
            with Image.open(io.BytesIO(content)) as image:
                image.convert("RGB").resize(INPUT[::-1], Image.Resampling.BILINEAR)

    def alone():
        for content, h, w in contents:
            decode(content, *INPUT, (h, w))

    def stage():
        build_store(folder / "train.zip", table, path, thumbnails, cores(), False)

    plain()  # each once untimed: memory that a machine's host has to find first is slow
    single = seconds(plain, 3) / len(contents) * count
    stage()
    spent = seconds(stage, 3)
    aim = 0.9 * cores()
    size = np.mean([len(content) for content, _, _ in contents])

    def together():
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=alone) for _ in range(cores())]
        for child in children:
            child.start()
        for child in children:
            child.join()

    bare = cores() * len(contents) / seconds(together, 3)  # what the machine gives when all its cores decode
    note = (
        f"reference: Pillow alone on one core; {count:,} images of {size / 1e3:.0f} KB on average, "
        f"{count / spent:,.0f} a second on {cores()} cores, where our bare decoders side by side reach {bare:,.0f}"
    )
    rows = [against("thumbnails, 256 x 128", single, spent, aim, None, note)]

    store = open_store(path)
    shuffled = rng.permutation(count)
    batches = [shuffled[i : i + BATCH] for i in range(0, count - BATCH + 1, BATCH)]

    def read():
        for batch in batches:
            store[batch]

    mapped = seconds(read, 5) / len(batches)
    files = [contents[i % len(contents)][0] for i in batches[0]]
    decoded = seconds(lambda: reference.images(files, *INPUT), 3)
    rows.append(against(f"a training batch of {BATCH}", decoded, mapped, 50, None, "from the page cache"))
    return rows


def order(share, kit, folder):
    """The order of an epoch, with the true structure of train."""
    boxes = standin.draw_boxes("train", share)
    rows, rng = np.arange(len(boxes.action)), np.random.default_rng(0)
    theirs = seconds(lambda: kit.identity_order(boxes.person, BATCH, 4))
    ours = {
        "an epoch's order: dev kit's sampler": lambda: identity_batches(rows, boxes.person, BATCH // 4, 4, rng),
        "an epoch's order: whole actions": lambda: action_batches(rows, boxes.person, boxes.action, 4, 8, 2, rng),
    }
    note = f"{len(boxes.person):,} images"
    return [against(name, theirs, seconds(draw, 3), 200, None, note) for name, draw in ours.items()]
