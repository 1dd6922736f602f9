"""What the digests of files cost, as a share of the stage that writes or reads them."""

import numpy as np

import standin
from bench_networks import baseline
from bench_rows import INPUT, WIDTH, line
from measuring import seconds
from reid.core.checksums import digest, verify
from reid.core.parallel import cores
from reid.data.actions import group_actions
from reid.data.index import build_index
from reid.data.thumbnails import build_store, open_store
from reid.params.data import Thumbnails
from reid.params.schema import section_class
from reid.ranking.distances import action_distances
from reid.raw.archive import pack
from reid.retrieval.embeddings import read_embeddings, write_embeddings

_AIM = 0.02  # of a stage
_START = 0.5  # seconds: Python and its imports, of a command that reads embeddings


def checksums(share, kit, folder):
    """Digests as the thumbnails are written, as they are read for a training, and as embeddings are read."""
    rng = np.random.default_rng(0)
    count = round(2400 * min(1, 4 * share))
    boxes = standin.Boxes(*(column[:count] for column in standin.draw_boxes("train")))
    pack(folder / "train.zip", standin.members("train", boxes, standin.images(max(20, count // 6), rng)))
    table, _ = build_index(folder / "train.zip", "train")
    path, thumbnails = folder / "train.npy", Thumbnails(height=INPUT[0], width=INPUT[1])
    stage = seconds(lambda: build_store(folder / "train.zip", table, path, thumbnails, cores(), False), 3)
    store = np.array(open_store(path)[:])  # larger than the processor's caches
    blocks = [store[start : start + 64].data for start in range(0, count, 64)]
    hashing = seconds(lambda: [digest(block) for block in blocks], 5)
    rows = [_row("writing thumbnails, 256 x 128", hashing / cores(), stage, f"{count:,} images")]
    few = 64 if share == 1 else 8
    embedded = _embedding(store[:few], share) / few * count
    rows.append(_row("reading thumbnails", hashing, embedded, "the first time, next to embedding them (ResNet-50)"))

    valid = standin.draw_boxes("valid", share)
    path = folder / "valid.npy"
    write_embeddings(path, rng.normal(size=(len(valid.action), WIDTH)).astype(np.float32))
    standin.make_zip(folder / "valid.zip", "valid", share)
    actions = group_actions(build_index(folder / "valid.zip", "valid")[0])
    params = section_class("Distances").model_validate({"metric": "cosine"})
    embeddings = read_embeddings(path, len(valid.action))
    stage = seconds(lambda: action_distances([embeddings], actions, params), 3) + _START
    checked = seconds(lambda: verify(path), 9)
    rows.append(_row("reading embeddings of valid, 512-d", checked, stage, "`distances`, a command"))
    return rows


def _embedding(store, share):
    """Seconds to embed thumbnails with ResNet-50 (ResNet-18 in a trial), on the GPU if there is one."""
    from reid.models.embedder import Embedder  # here, for the parts that need no PyTorch
    from reid.models.embedding import embed

    backbone, size = ("resnet50", INPUT) if share == 1 else ("resnet18", (64, 32))
    params = baseline(backbone, 32, size)
    network = Embedder(next(iter(params.models.values())).network, size)
    return seconds(lambda: embed(network, store, params.embed, progress=False), 3)


def _row(part, ours, stage, note):
    share = ours / stage
    return line(f"checksums: {part}", ours, "under 2 %", share < _AIM, None, None, f"{share:.2%} of the stage; {note}")
