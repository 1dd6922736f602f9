"""What the engine runs for a plan, as JSON, and the parameter file of each job."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from reid.core.errors import ReidError
from reid.core.files import read_json, write_json
from reid.params.schema import Params
from reid.studies.changes import as_yaml, model_name
from reid.studies.plan import Plan
from reid.studies.rows import Row, data_name, name_of, plain, source_name

RESULTS = Path("results/studies")


def score_path(folder: Path, row: Row, seed: int, split: str, name: str = "queries.parquet") -> Path:
    """Where a file of a row's scores lies."""
    return folder / "scores" / row.jobs(seed).score / split / name


def training_path(folder: Path, row: Row, seed: int, name: str) -> Path:
    """Where a file of a row's training lies."""
    return folder / "trainings" / row.jobs(seed).training / name


def write_jobs(
    folder: Path,
    plan: Plan,
    project: Params | None,
    on_gpu: bool,
    galleries: Sequence[str] = (),
    without: Collection[str] = (),
) -> dict[str, Any]:
    """Write ``plan.json`` and the parameter files into the folder of a study's results.

    Zips and stores outside of ``data/`` serve all studies, so their parameter file lies beside them: in the folder of
    one study it would be another parameter to Snakemake in the next, and all would be made again. A study that has
    begun with them stays with them, though ``params.yaml`` may come to have the same data. So one store may be
    wanted of two places with the same zips: it has a name for each.

    Args:
        folder: of the results.
        plan: the rows.
        project: ``params.yaml``, whose data are taken where they are the same; None without one.
        on_gpu: whether a training takes a GPU, or so many cores as it has threads.
        galleries: scores whose rankings get a page.
        without: scores that are not to be made.

    Returns:
        dict: each kind of job to its names, with what they need
    """
    scored = list(plan.study.splits)
    begun = _begun(folder)
    jobs: dict[str, Any] = {"folder": str(folder), "on_gpu": on_gpu, "galleries": list(galleries), "scored": scored}
    for row, seed in plan.runs():
        if row.jobs(seed).score in without:
            continue
        text = as_yaml(row.with_seed(seed))
        for kind, name, what in _needs(row, seed, project, begun):
            if name not in jobs.setdefault(kind, {}):
                shared = what.get("root", "data") != "data"
                path = Path(what["root"], "params.yaml") if shared else folder / "params" / f"{name}.yaml"
                _write(path, text)
                jobs[kind][name] = {"params": str(path), **what}
    write_json(folder / "plan.json", jobs)
    return jobs


def _begun(folder: Path) -> set[str]:
    """Where a study that has run has its zips and stores."""
    try:
        plan = read_json(folder / "plan.json")
        return {what["root"] for kind in ("sources", "data") for what in plan.get(kind, {}).values()}
    except (ReidError, AttributeError, KeyError, TypeError):  # it has not run, or this is no plan
        return set()


def _needs(row: Row, seed: int, project: Params | None, begun: set[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """The jobs of a run: kind, name, what it needs; ``section`` holds the parameters that decide about it."""
    jobs, params, name = row.jobs(seed), row.params, model_name(row.content)
    source, store, data = f"data/studies/{jobs.source}", jobs.data, f"data/studies/{jobs.data}"
    if project is not None and source_name(project) == jobs.source and source not in begun:
        source, store = "data", name_of("store", jobs.data, "data")
        data = f"data/studies/{store}"
        if data_name(project) == jobs.data and data not in begun:
            data = "data"
    section = row.section(seed)
    training = {
        "model": name,
        "weights": jobs.weights,
        "data": store,
        "trained_on": params.trained_on(name),
        "validated": params.validated(name),
        "threads": row.model.threads,
        "devices": row.model.devices,
        "section": section,
        "splits": plain(params.train),
    }
    return [
        ("sources", jobs.source, {"root": source, "section": plain(params.download)}),
        ("data", store, {"root": data, "source": source, "section": plain(params.thumbnails)}),
        ("weights", jobs.weights, {"model": name, "section": [section["network"], section["input"]]}),
        ("trainings", jobs.training, training),
        (
            "embeddings",
            jobs.embedding,
            {"training": jobs.training, "threads": params.embed.threads, "section": plain(params.embed)},
        ),
        (
            "scores",
            jobs.score,
            {"embedding": jobs.embedding, "distances": plain(params.distances), "evaluate": plain(params.evaluate)},
        ),
    ]


def _write(path: Path, text: str) -> None:
    """Write a parameter file as a whole: a job of another study may read it. There are hundreds, without digests."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{os.getpid()}.partial")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
