"""Time and memory of the stages that need no network, at 1/8, 1/4, 1/2 and the whole of the true size.

Images are tiny here: what a thumbnail costs beyond its decoding is looked at. Embeddings are random. Writes
docs/growth.json and docs/growth.png. The whole size is a full run from the index to the submission.
"""

import argparse
import json
import logging
import os
import tempfile
from pathlib import Path

import numpy as np

import standin
from machine import machine
from measuring import program
from reid.core.cli import log
from reid.core.files import write_json
from reid.core.parallel import cores

ROOT = Path(__file__).resolve().parents[1]

SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
WIDTH = 512
STAGES = ("index", "thumbnails", "distances", "evaluate", "rank")


def stages(share, folder):
    """Run the stages of all splits.

    Args:
        share: of the true size.
        folder: where their files are made.

    Returns:
        dict: stage to {"thumbnails", "seconds", "bytes"}: thumbnails of the splits that it is run for, seconds of all
        its runs, resident bytes of the largest.
    """
    cost = {name: {"thumbnails": 0, "seconds": 0.0, "bytes": 0} for name in STAGES}
    params = ["--params", ROOT / "params.yaml"]
    rng = np.random.default_rng(0)
    tiny = standin.images(64, rng, 30, 12)

    def run(name, count, *options):
        spent, memory = program(ROOT / f"scripts/{name}.py", *options)
        about = cost[name]
        about["thumbnails"] += count
        about["seconds"] += spent
        about["bytes"] = max(about["bytes"], memory)

    for split in standin.COUNTS:
        file = {kind: folder / f"{split}.{kind}" for kind in ("zip", "json", "parquet", "npy")}
        embeddings, distances = folder / "embeddings.npy", folder / "distances.parquet"
        count = len(standin.make_zip(file["zip"], split, share, tiny).action)
        receipt = {"split": split, "bytes": os.path.getsize(file["zip"]), "sha256": "0" * 64}
        file["json"].write_text(json.dumps(receipt))
        index = ["--index", file["parquet"]]
        run(
            *("index", count, "--split", split, "--zip", file["zip"], "--receipt", file["json"]),
            *("--out", file["parquet"]),
        )
        run(
            *("thumbnails", count, "--zip", file["zip"], *index, "--out", file["npy"], "--threads", cores()),
            *params,
        )
        file["npy"].unlink()
        if split == "train":
            continue
        np.save(embeddings, rng.normal(size=(count, WIDTH)).astype(np.float32))
        run("distances", count, *index, "--embeddings", embeddings, "--out", distances, *params)
        if split != "challenge":
            cmc = ["--out", folder / "metrics.json", "--cmc", folder / "cmc.csv"]
            run("evaluate", count, *index, "--distances", distances, *cmc, *params)
        if split != "valid":
            run("rank", count, *index, "--distances", distances, "--out", folder / "ranking.json")
    return cost


def draw(rows, path):
    """Two plots over the number of thumbnails: time of each, and memory."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, marker in zip(STAGES, "osd^v", strict=True):
        count = [row[name]["thumbnails"] for row in rows]
        left.plot(count, [1e6 * r[name]["seconds"] / r[name]["thumbnails"] for r in rows], marker=marker, label=name)
        right.plot(count, [r[name]["bytes"] / 1e6 for r in rows], marker=marker, label=name)
    left.set(ylabel="µs a thumbnail, with the start of Python", yscale="log")
    right.set(ylabel="resident memory at the highest, MB", ylim=(0, None))
    for axes in (left, right):
        axes.set(xlabel="thumbnails of the stage", xscale="log")
        axes.grid(alpha=0.3)
    right.legend(frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the true size")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of growth.json and growth.png")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows = []
    for share in args.shares:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(stages(share, Path(folder)))
        for name, about in rows[-1].items():
            log.info(
                "%5.3f %-10s %7d thumbnails %6.1f s %5.0f us each %5.0f MB",
                share,
                name,
                about["thumbnails"],
                about["seconds"],
                1e6 * about["seconds"] / about["thumbnails"],
                about["bytes"] / 1e6,
            )
    write_json(args.out / "growth.json", {"shares": list(args.shares), "rows": rows, "machine": machine()})
    draw(rows, args.out / "growth.png")


if __name__ == "__main__":
    main()
