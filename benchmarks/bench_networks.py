"""Parts of the benchmark in which a network computes."""

from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

import reference
import standin
from bench_rows import BATCH, INPUT, against, line
from measuring import seconds
from reid.core.parallel import cores
from reid.data.index import build_index
from reid.params.reading import check_params
from reid.raw.archive import pack

ROOT = Path(__file__).resolve().parents[1]

INSTANCES = 4  # of an identity in a batch, as in the dev kit's baseline


def baseline(backbone, batch, size):
    """The dev kit's recipe from scratch, at a size and batch, with all cores and this machine's precision."""
    content = YAML(typ="safe", pure=True).load((ROOT / "recipes/dev-kit-baseline.yaml").read_text(encoding="utf-8"))
    model = next(iter(content["models"].values()))
    del model["network"]["weights"]
    model["network"]["backbone"] = backbone
    fast = {"precision": "auto", "threads": cores()}
    model.update(subset=1.0, input=dict(zip(("height", "width"), size, strict=True)), **fast)
    model["sampler"]["identities"] = batch // INSTANCES
    content["embed"].update(batch_size=batch, **fast)
    return check_params(content)


def random_store(folder, count, files, size):
    """The index of a zip with the first ``count`` boxes of train, and a store of noise.

    Args:
        folder: where they are made.
        count: how many.
        files: as ``contents`` of standin.members.
        size: (height, width) of the store.

    Returns:
        (pyarrow.Table, uint8 array N x H x W x 3)
    """
    boxes = standin.Boxes(*(column[:count] for column in standin.draw_boxes("train")))
    pack(folder / "train.zip", standin.members("train", boxes, files))
    table, _ = build_index(folder / "train.zip", "train")
    store = np.lib.format.open_memmap(folder / "train.npy", "w+", np.uint8, (len(table), *size, 3))
    store[:] = np.random.default_rng(1).integers(256, size=store.shape, dtype=np.uint8)
    return table, store


def networks(share, kit, folder):
    """A training step and embedding, ResNet-50."""
    from reid.models.embedder import Embedder
    from reid.models.embedding import embed
    from reid.training.dataset import Images, select_identities
    from reid.training.trainer import Trainer

    whole = share == 1
    steps, batch, size = (3, BATCH, INPUT) if whole else (1, 8, (64, 32))
    params = baseline("resnet50" if whole else "resnet18", batch, size)
    model = next(iter(params.models.values()))
    files = standin.images(batch, np.random.default_rng(0))
    table, store = random_store(folder, 40 * batch, files, size)
    trainer = Trainer(select_identities([table], 1.0), Images([store]), model)
    # the same network, in plain float32 and plane by plane
    plain = reference.Training(Embedder(model.network, size), [content for content, _, _ in files], size, INSTANCES)

    ours, theirs = [], []
    trainer.step()
    plain.step()
    for _ in range(steps):  # in turns, so that both see the same machine
        ours.append(seconds(trainer.step))
        theirs.append(seconds(plain.step))
    kind = str(trainer.dtype).removeprefix("torch.")
    rows = [_against("training step", min(theirs), min(ours), 2.5, batch, kind)]
    waiting = 100 * trainer.feed.waiting / trainer.seconds
    about = f"{waiting:.2f} %"
    rows.append(line("share of a step waiting for images", None, "under 5 %", waiting < 5, None, None, about))

    part = store[: 3 * batch]
    network = Embedder(model.network, size)
    embed(network, part[:batch], params.embed, progress=False)
    plain.embed(3)
    ours = seconds(lambda: embed(network, part, params.embed, progress=False), steps)
    theirs = seconds(lambda: plain.embed(3), steps)
    row = _against("embedding", theirs, ours, 3, len(part), kind)
    row["note"] += "; all of it is computing, and the ratio is that of the processor's bf16 and float32 convolutions"
    return [*rows, row]


def _against(part, theirs, ours, aim, images, kind):
    note = f"{images / ours:.1f} images a second in {kind} against {images / theirs:.1f} in float32"
    return against(f"{part}, ResNet-50 256 x 128", theirs, ours, aim, None, note)
