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

import reference
from bench_checksums import checksums
from bench_data import index, order, thumbnails
from bench_engines import nothing_to_do
from bench_networks import networks
from bench_ranking import commands, ranking, reranking
from bench_rows import cells, table
from machine import machine
from reid.core.cli import log
from reid.core.files import put_table, write_json

ROOT = Path(__file__).resolve().parents[1]

# Each takes the share of the true size, the dev kit's functions (of reference) and an empty folder; it returns rows.
PARTS = {
    part.__name__: part
    for part in (ranking, commands, reranking, index, thumbnails, checksums, order, networks, nothing_to_do)
}


def _run(name, share, kit_path, results):
    kit = reference.kit(kit_path) if kit_path else reference.plain()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        results.put(PARTS[name](share, kit, Path(folder)))


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the true size; anything but 1 is a trial")
    parser.add_argument("--kit", help="a checkout of SoccerNet/sn-reid: its own code instead of its algorithms")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), help="a trial of these alone")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    started = time.perf_counter()
    rows = run(args.share, args.kit, args.parts or list(PARTS))
    spent = time.perf_counter() - started
    log.info("%.0f s", spent)
    if args.share != 1 or args.parts:
        return
    about = {**machine(), "reference": (reference.kit(args.kit) if args.kit else reference.plain()).name}
    write_json(ROOT / "docs/benchmark.json", {"rows": rows, "machine": about, "seconds": spent})
    versions = ", ".join(f"{name} {about[name]}" for name in ("torch", "torchvision", "numpy", "snakemake", "dvc"))
    text = (
        f"Made by `make bench` in {spent / 60:.0f} minutes. Reference: {about['reference']}. {about['cpu']}, "
        f"{about['cores']} cores, Python {about['python']}, {versions}.\n\n{table(rows)}\n"
    )
    put_table(ROOT / "docs/benchmark.md", "table", text)


if __name__ == "__main__":
    main()
