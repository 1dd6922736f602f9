"""Where the time goes: the stages of the last run in this folder, and the operations of one training epoch.

Reads what Snakemake noted of the run; trains one epoch of the first model of params.yaml under PyTorch's profiler, and
measures the import of every program. Writes docs/profile.md.
"""

import json
import logging
import subprocess
import sys
from pathlib import Path

from machine import machine
from reid.core.cli import log
from reid.core.files import replacing

ROOT = Path(__file__).resolve().parents[1]

OPERATIONS = 15


def stages():
    """Seconds of each rule's jobs (their sum), and from the first start to the last end, of a run in one go.

    Returns:
        (dict, float): rule to (jobs, seconds), in the order of their first start; seconds of the whole
    """
    jobs = {}
    for path in sorted((ROOT / ".snakemake/metadata").iterdir()):
        about = json.loads(path.read_text(encoding="utf-8"))
        if about.get("starttime") and about.get("endtime"):  # one file for each output of a job
            times = jobs.setdefault((about["rule"], *about["log"]), [])
            times.append((about["starttime"], about["endtime"]))
    if not jobs:
        sys.exit("no run is noted here: `make submission` first")
    spans = sorted((min(s for s, _ in times), max(e for _, e in times), job[0]) for job, times in jobs.items())
    rules = {}
    for start, end, rule in spans:
        count, spent = rules.get(rule, (0, 0.0))
        rules[rule] = count + 1, spent + end - start
    return rules, max(end for _, end, _ in spans) - spans[0][0]


def epoch():
    """Profile one training epoch: the last one, whose images have their full size.

    Returns:
        (str, list of (str, float)): what was trained; operations and their share of the CPU's time, largest first
    """
    from torch.profiler import ProfilerActivity, profile

    from reid.data.index import read_index
    from reid.data.thumbnails import open_store
    from reid.params.reading import read_params
    from reid.training.dataset import Images, select_identities
    from reid.training.trainer import Trainer

    params = read_params(ROOT / "params.yaml")
    (name, model), *_ = params.models.items()
    table, _ = read_index(ROOT / "data/index/train.parquet")
    store = open_store(ROOT / "data/thumbnails/train.npy", len(table))
    trainer = Trainer(select_identities([table], model.subset), Images([store]), model)
    trainer.epoch = model.epochs - 1
    trainer.start_epoch()
    trainer.step()  # makes its buffers
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        while not trainer.epoch_is_over:
            trainer.step()
    events = [(event.key, event.self_cpu_time_total) for event in profiled.key_averages()]
    total = sum(spent for _, spent in events)
    shares = sorted(((key, spent / total) for key, spent in events), key=lambda pair: -pair[1])
    waiting = trainer.feed.waiting / trainer.seconds
    what = f"{name}, {trainer.seen} images, {100 * waiting:.2f} % of the time waiting for images"
    return what, shares[:OPERATIONS]


def imports():
    """Seconds until each program has its imports, Python's start included, and whether it imports PyTorch."""
    rows = []
    for path in sorted((ROOT / "scripts").glob("*.py")):
        code = (
            "import sys, time, runpy; "
            "started = time.perf_counter(); runpy.run_path(sys.argv[1], run_name='imported'); "
            "print(time.perf_counter() - started, 'torch' in sys.modules)"
        )
        call = [sys.executable, "-c", code, str(path)]
        runs = [subprocess.run(call, capture_output=True, text=True, check=True).stdout.split() for _ in range(3)]
        rows.append((path.stem, sorted(float(spent) for spent, _ in runs)[1], runs[0][1] == "True"))
    return rows


def main():
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    about = machine()
    rules, whole = stages()
    what, shares = epoch()
    lines = [
        "# Where the time goes",
        "",
        f"Made by `make profile`. {about['cpu']}, {about['cores']} cores, Python {about['python']}, "
        f"torch {about['torch']}.",
        "",
        "## The demonstration",
        "",
        f"The run in this folder: {whole:.0f} s from the first job's start to the last one's end. Jobs of a rule "
        "side by side count each for itself.",
        "",
        "| rule | jobs | seconds |",
        "|---|---|---|",
        *(f"| {rule} | {count} | {spent:.1f} |" for rule, (count, spent) in rules.items()),
        "",
        "## One training epoch",
        "",
        f"{what}. Operations by their own share of the CPU's time:",
        "",
        "| operation | share |",
        "|---|---|",
        *(f"| `{key}` | {100 * share:.1f} % |" for key, share in shares),
        "",
        "## Imports",
        "",
        "| program | seconds | imports torch |",
        "|---|---|---|",
        *(f"| {name} | {spent:.2f} | {'yes' if torch else ''} |" for name, spent, torch in imports()),
        "",
    ]
    with replacing(ROOT / "docs/profile.md") as partial:
        partial.write_text("\n".join(lines), encoding="utf-8")
    log.info("docs/profile.md")


if __name__ == "__main__":
    main()
