"""What the pipeline costs at the true size, next to the dev kit's way; every line side by side in one process.

Writes docs/benchmark.json and the table of docs/benchmark.md. ``--share`` makes everything smaller, and then the aims,
which are for the true size, are not judged, the engines are not run and nothing is written.
"""

import argparse
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "benchmarks")]

import reference  # noqa: E402
import standin  # noqa: E402
from machine import machine  # noqa: E402
from measuring import growth, program, seconds  # noqa: E402

from reid.archive import pack  # noqa: E402
from reid.cli import log  # noqa: E402
from reid.files import replacing, write_json  # noqa: E402
from reid.parallel import cores  # noqa: E402

WIDTH = 512  # of an embedding
BATCH = 32
INPUT = (256, 128)
SPLITS = ("valid", "test", "challenge")


def line(part, ours, aim, met, reference=None, memory=None, note=""):
    """One row of the table: times in seconds, memory in bytes; ``met`` is a bool, or None where nothing was run."""
    return {
        "part": part,
        "reference": reference,
        "ours": ours,
        "ratio": reference / ours if reference else None,
        "memory": memory,
        "aim": aim,
        "met": met,
        "note": note,
    }


def against(part, reference, ours, aim, memory=None, note=""):
    """A row whose aim is a ratio."""
    return line(part, ours, f"{aim:g} x", reference / ours >= aim, reference, memory, note)


def random_split(split, share):
    """Actions of a split as rows of an index, the person of each row, and random embeddings.

    Returns:
        (list of reid.actions.Action, int64 array N, float32 array N x D)
    """
    from reid.actions import Action

    boxes = standin.draw_boxes(split, share)
    rows = np.arange(len(boxes.action))
    starts = [np.searchsorted(boxes.action[part], np.arange(boxes.action.max() + 2)) for part in _roles(boxes)]
    query, gallery = (rows[part] for part in _roles(boxes))
    actions = [
        Action(i, query[starts[0][i] : starts[0][i + 1]], gallery[starts[1][i] : starts[1][i + 1]])
        for i in range(boxes.action.max() + 1)
    ]
    rng = np.random.default_rng(0)
    places = 0.2 * rng.normal(size=(boxes.person.max() + 1, WIDTH)).astype(np.float32)  # an mAP that is not 1
    return actions, boxes.person, places[boxes.person] + rng.normal(size=(len(rows), WIDTH)).astype(np.float32)


def _roles(boxes):
    return boxes.is_query, ~boxes.is_query


def ranking(share, kit, folder):
    """Distances, ranking and mAP."""
    from reid.distances import action_distances
    from reid.metrics import Pairs, average_precision, rank
    from reid.params import Distances

    actions, person, embeddings = random_split("valid", share)
    params = Distances.model_construct(
        metric="euclidean", models=None, scale="none", expansion=None, reranking=None, queries=None
    )

    def ours():
        distances = action_distances([embeddings], actions, params)
        query = np.concatenate([np.repeat(a.query, len(a.gallery)) for a in actions])
        gallery = np.concatenate([np.tile(a.gallery, len(a.query)) for a in actions])
        ranked = rank(Pairs(query, gallery, query, np.concatenate([matrix.ravel() for matrix in distances])))
        return ranked, average_precision(person[ranked.query] == person[ranked.gallery], ranked.start).mean()

    ours()
    with growth() as memory:
        ranked, score = ours()
    spent = seconds(ours, 5)

    owner = np.empty(len(person), np.int64)
    for number, action in enumerate(actions):
        owner[action.query] = owner[action.gallery] = number
    query, gallery = (np.concatenate([getattr(a, role) for a in actions]) for role in ("query", "gallery"))
    started = time.perf_counter()
    with growth() as kit_memory:
        matrix = kit.distance_matrix(embeddings[query], embeddings[gallery])
        rankings = kit.rank(matrix, owner[query], owner[gallery])
        kit_score = kit.mean_average_precision(matrix, person[query], person[gallery], owner[query], owner[gallery])
    kit_spent = time.perf_counter() - started

    same = np.concatenate([gallery[row] for row in rankings]) == ranked.gallery
    notes = [
        f"mAP {score:.6f} and {kit_score:.6f}; {np.count_nonzero(~same)} of {len(same):,} places differ "
        f"(float32 against float64)",
    ]
    if kit_memory.bytes is not None:
        notes.append(f"{kit_memory.bytes / 1e9:.1f} GB against {memory.bytes / 1e6:.0f} MB above the inputs")
    small = memory.bytes is None or memory.bytes <= 50e6
    row = against("distances, ranking, mAP of valid, 512-d", kit_spent, spent, 500, memory.bytes, "; ".join(notes))
    return [{**row, "aim": "500 x, 50 MB", "met": row["met"] and small}]


def reranking(share, kit, folder):
    """k-reciprocal re-ranking of valid."""
    from scipy.spatial.distance import cdist

    from reid.distances import action_distances
    from reid.params import Distances, Reranking

    actions, _, embeddings = random_split("valid", share)
    params = Distances.model_construct(
        metric="euclidean",
        models=None,
        scale="mean",
        expansion=None,
        reranking=Reranking(k1=3, k2=1, original=0.7),
        queries=None,
    )
    spent = seconds(lambda: action_distances([embeddings], actions, params), 3)
    total, few = len(embeddings), min(len(embeddings), 1500)
    query, gallery = embeddings[: few // 4].astype(np.float64), embeddings[few // 4 : few].astype(np.float64)
    pairs = [cdist(a, b) for a, b in ((query, gallery), (query, query), (gallery, gallery))]
    part = seconds(lambda: kit.rerank(*pairs))
    note = f"dev kit's: {part:.1f} s for {few:,} boxes, times the square of {total / few:.1f}, as its matrices grow"
    row = line("re-ranking of valid", spent, "under 1 s", spent < 1, part * (total / few) ** 2, None, note)
    return [row]


def commands(share, kit, folder):
    """The programs between embeddings and submission at the scale of valid, Python's start included."""
    from reid.index import build_index, write_index

    standin.make_zip(folder / "valid.zip", "valid", share)
    table, _ = build_index(folder / "valid.zip", "valid")
    write_index(folder / "valid.parquet", table, "valid", "0" * 64)
    rng = np.random.default_rng(0)
    np.save(folder / "valid.npy", rng.normal(size=(len(table), WIDTH)).astype(np.float32))
    index = ["--index", folder / "valid.parquet"]
    with_params = ["--params", ROOT / "params.yaml"]
    distances = ["--distances", folder / "distances.parquet"]
    embeddings = ["--embeddings", folder / "valid.npy", "--out", folder / "distances.parquet"]
    written = ["--out", folder / "metrics.json"]
    for name in ("queries", "cmc", "slices", "precision"):
        written += [f"--{name}", folder / name]
    calls = {
        "distances": [*index, *embeddings, *with_params],
        "evaluate": [*index, *distances, *written, *with_params],
        "rank": [*index, *distances, "--out", folder / "ranking.json"],
    }
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # as Snakemake does for rules of one thread
    rows = []
    for name, options in calls.items():
        runs = [program(ROOT / f"scripts/{name}.py", *options) for _ in range(4)]
        spent, memory = sorted(runs)[1]
        rows.append(line(f"`{name}` of valid, a command", spent, "under 1 s", spent < 1, None, memory))
    return rows


def index(share, kit, folder):
    """The index of all four splits."""
    spent, memory = 0.0, 0
    for split in standin.COUNTS:
        standin.make_zip(folder / f"{split}.zip", split, share)
        (folder / "receipt.json").write_text(
            f'{{"split": "{split}", "bytes": {os.path.getsize(folder / f"{split}.zip")}, "sha256": "{"0" * 64}"}}'
        )
        took, high = program(
            *[ROOT / "scripts/index.py", "--split", split, "--zip", folder / f"{split}.zip"],
            *["--receipt", folder / "receipt.json", "--out", folder / f"{split}.parquet"],
        )
        spent, memory = spent + took, max(memory, high)
    import zipfile

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
        f"{factor * extracted:.0f} s that extraction takes (with pictures of a few bytes)"
    )
    met = spent < 15 and memory < 1e9
    return [line("index of all splits", spent, "under 15 s, 1 GB", met, factor * listed, memory, note)]


def thumbnails(share, kit, folder):
    """The thumbnail store, and a training batch from it."""
    from reid.index import build_index
    from reid.thumbnails import build_store, decode, open_store

    rng = np.random.default_rng(0)
    contents = standin.pictures(max(20, round(400 * min(1, 4 * share))), rng)
    count = round(2400 * min(1, 4 * share))
    boxes = standin.draw_boxes("train")
    boxes = standin.Boxes(*(column[:count] for column in boxes))
    pack(folder / "train.zip", standin.members("train", boxes, contents))
    table, _ = build_index(folder / "train.zip", "train")
    store = folder / "train.npy"

    def alone():
        for content, h, w in contents:
            decode(content, *INPUT, (h, w))

    alone()
    single = seconds(alone, 3) / len(contents) * count
    spent = seconds(lambda: build_store(folder / "train.zip", table, store, *INPUT, "bilinear", cores(), False), 3)
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
        f"reference: Pillow alone on one core; {count:,} pictures of {size / 1e3:.0f} KB on average, "
        f"{count / spent:,.0f} a second on {cores()} cores, where as many bare decoders side by side reach {bare:,.0f}"
    )
    rows = [against("thumbnails, 256 x 128", single, spent, aim, None, note)]

    thumbnails = open_store(store)
    shuffled = rng.permutation(count)
    batches = [shuffled[i : i + BATCH] for i in range(0, count - BATCH + 1, BATCH)]

    def read():
        for rows in batches:
            thumbnails[rows]

    mapped = seconds(read, 5) / len(batches)
    files = [contents[i % len(contents)][0] for i in batches[0]]
    decoded = seconds(lambda: reference.pictures(files, *INPUT), 3)
    rows.append(against(f"a training batch of {BATCH}", decoded, mapped, 50, None, "from the page cache"))
    return rows


def order(share, kit, folder):
    """The order of an epoch, with the true structure of train."""
    from reid.samplers import action_batches, identity_batches

    boxes = standin.draw_boxes("train", share)
    rows, rng = np.arange(len(boxes.action)), np.random.default_rng(0)
    theirs = seconds(lambda: kit.identity_order(boxes.person, BATCH, 4))
    found = []
    ours = {
        "an epoch's order: dev kit's sampler": lambda: identity_batches(rows, boxes.person, BATCH // 4, 4, rng),
        "an epoch's order: whole actions": lambda: action_batches(rows, boxes.person, boxes.action, 4, 8, 2, rng),
    }
    for name, draw in ours.items():
        found.append(against(name, theirs, seconds(draw, 3), 200, None, f"{len(boxes.person):,} pictures"))
    return found


def networks(share, kit, folder):
    """A training step and embedding, ResNet-50."""
    import torch
    import yaml

    from reid.embedding import embed
    from reid.index import build_index
    from reid.networks import Embedder
    from reid.params import check_params
    from reid.training import Trainer
    from reid.trainset import Pictures, select_people

    whole = share == 1
    steps, batch, (height, width) = (3, BATCH, INPUT) if whole else (1, 8, (64, 32))
    content = yaml.safe_load((ROOT / "recipes/dev-kit-baseline.yaml").read_text(encoding="utf-8"))
    model = next(iter(content["models"].values()))
    model["network"].update(backbone="resnet50" if whole else "resnet18", weights=None)
    model.update(subset=1.0, precision="auto", threads=cores(), input={"height": height, "width": width})
    model["sampler"]["people"] = batch // 4
    content["embed"].update(batch=batch, precision="auto", threads=cores())
    params = check_params(content)
    model = next(iter(params.models.values()))

    rng = np.random.default_rng(0)
    drawn = standin.pictures(batch, rng)
    contents = [content for content, _, _ in drawn]
    boxes = standin.draw_boxes("train")
    boxes = standin.Boxes(*(column[: 40 * batch] for column in boxes))
    pack(folder / "train.zip", standin.members("train", boxes, drawn))
    table, _ = build_index(folder / "train.zip", "train")
    store = np.lib.format.open_memmap(folder / "train.npy", "w+", np.uint8, (len(table), height, width, 3))
    store[:] = rng.integers(256, size=store.shape, dtype=np.uint8)
    trainer = Trainer(select_people([table], 1.0), Pictures([store]), model)

    network = Embedder(model.network, (height, width)).train()  # the same network, in plain float32 and plane by plane
    classifier = torch.nn.Linear(network.width, 1000)
    optimiser = torch.optim.Adam([*network.parameters(), *classifier.parameters()], 3e-4, weight_decay=5e-4)
    triplet = torch.nn.TripletMarginLoss(0.3)
    entropy = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    person = torch.arange(batch // 4).repeat_interleave(4)

    def their_step():
        x = reference.pictures(contents, height, width)
        embeddings = network.features(x)
        lengths = torch.cdist(embeddings, embeddings)
        same = person[:, None] == person
        far = torch.where(same, lengths, -1).argmax(1)
        near = torch.where(same, torch.inf, lengths).argmin(1)
        loss = 0.5 * triplet(embeddings, embeddings[far], embeddings[near])
        loss = loss + 0.5 * entropy(classifier(embeddings), person)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    ours, theirs = [], []
    trainer.step()
    their_step()
    for _ in range(steps):  # in turns, so that both see the same machine
        ours.append(seconds(trainer.step))
        theirs.append(seconds(their_step))
    ours, theirs = min(ours), min(theirs)
    kind = str(trainer.dtype).removeprefix("torch.")
    why = f"{batch / ours:.1f} pictures a second in {kind} against {batch / theirs:.1f} in float32"
    waiting = 100 * trainer.waiting / trainer.seconds
    rows = [
        against("training step, ResNet-50 256 x 128", theirs, ours, 2.5, None, why),
        line("share of a step waiting for pictures", None, "under 5 %", waiting < 5, None, None, f"{waiting:.2f} %"),
    ]

    part = store[: 3 * batch]
    network.eval()

    def their_embedding():
        with torch.no_grad():
            for _ in range(3):
                network(reference.pictures(contents, height, width))

    quick = Embedder(model.network, (height, width))
    embed(quick, part[:batch], params.embed, progress=False)
    their_embedding()
    ours = seconds(lambda: embed(quick, part, params.embed, progress=False), steps)
    theirs = seconds(their_embedding, steps)
    why = f"{len(part) / ours:.1f} pictures a second in {kind} against {len(part) / theirs:.1f} in float32"
    why += "; all of it is computing, and the ratio is that of the processor's bf16 and float32 convolutions"
    return [*rows, against("embedding, ResNet-50 256 x 128", theirs, ours, 3, None, why)]


def nothing_to_do(share, kit, folder):
    """The engines where everything is up to date; a trial does not run the pipeline of this folder."""
    if share != 1:
        return []
    snakemake = ["-m", "snakemake", "--cores", "8", "submission"]
    if not (ROOT / "results/submission/challenge.json").exists():
        return [line("nothing to do", None, "under 2 s, 1.5 s", None, note="no finished run here: `make submission`")]
    program(*snakemake, cwd=ROOT)
    program("-m", "dvc", "repro", cwd=ROOT)
    rows = []
    for name, call, limit in (("snakemake submission", snakemake, 2), ("dvc repro", ["-m", "dvc", "repro"], 1.5)):
        spent, memory = sorted(program(*call, cwd=ROOT) for _ in range(3))[1]
        note = f"{spent / limit:.2f} of the aim; half of DVC's time is reading its YAML" if name == "dvc repro" else ""
        rows.append(line(f"nothing to do: `{name}`", spent, f"under {limit:g} s", spent < limit, None, memory, note))
    return rows


PARTS = (ranking, commands, reranking, index, thumbnails, order, networks, nothing_to_do)


def _run(name, share, kit_path, results):
    kit = reference.kit(kit_path) if kit_path else reference.plain()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        results.put(globals()[name](share, kit, Path(folder)))


def run(share, kit_path, names):
    """Rows of all parts, each measured in a process of its own."""
    context = multiprocessing.get_context("spawn")
    rows = []
    for name in names:
        results = context.SimpleQueue()
        child = context.Process(target=_run, args=(name, share, kit_path, results))
        child.start()
        child.join()
        if child.exitcode:
            sys.exit(f"{name} failed")
        for row in results.get():
            rows.append(row)
            log.info("%s", "  ".join(cells(row)))
    return rows


def _time(value):
    if value is None:
        return ""
    return f"{1000 * value:.1f} ms" if value < 0.1 else f"{value:.2f} s" if value < 10 else f"{value:,.0f} s"


def cells(row):
    """A row of the table as texts."""
    met = {None: "", True: "met", False: "not met"}[row["met"]]
    return [
        row["part"],
        _time(row["reference"]),
        _time(row["ours"]),
        f"{row['ratio']:,.3g} x" if row["ratio"] else "",
        f"{row['memory'] / 1e6:,.0f} MB" if row["memory"] else "",
        row["aim"],
        met,
        row["note"],
    ]


def table(rows):
    """The table as Markdown."""
    head = ["part", "dev kit's way", "here", "ratio", "memory", "aim", "", "note"]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *map(cells, rows)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the true size; anything but 1 is a trial")
    parser.add_argument("--kit", help="a checkout of SoccerNet/sn-reid: its own code instead of its algorithms")
    parser.add_argument("--parts", nargs="+", choices=[p.__name__ for p in PARTS], help="a trial of these alone")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    started = time.perf_counter()
    rows = run(args.share, args.kit, args.parts or [part.__name__ for part in PARTS])
    spent = time.perf_counter() - started
    log.info("%.0f s", spent)
    if args.share != 1 or args.parts:
        return
    about = {**machine(), "reference": (reference.kit(args.kit) if args.kit else reference.plain()).name}
    write_json(ROOT / "docs/benchmark.json", {"rows": rows, "machine": about, "seconds": spent})
    path = ROOT / "docs/benchmark.md"
    before, _, after = path.read_text(encoding="utf-8").partition("<!-- table -->")
    versions = ", ".join(f"{name} {about[name]}" for name in ("torch", "torchvision", "numpy", "snakemake", "dvc"))
    text = (
        f"Made by `make bench` in {spent / 60:.0f} minutes. Reference: {about['reference']}. {about['cpu']}, "
        f"{about['cores']} cores, Python {about['python']}, {versions}.\n\n{table(rows)}\n"
    )
    with replacing(path) as partial:
        end = after.partition("<!-- end -->")[2]
        partial.write_text(f"{before}<!-- table -->\n{text}<!-- end -->{end}", encoding="utf-8")


if __name__ == "__main__":
    main()
