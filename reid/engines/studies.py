"""Run a study: plan its rows, let Snakemake run what they need, see what stays, and so on until all axes are known.

An axis whose rows hang on a decision that is open waits. What is planned depends on the scores on disk alone: a study
that was killed goes on, and one that is finished is a single call of Snakemake with nothing to do.
"""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from reid.core.cli import log
from reid.core.errors import ReidError
from reid.core.files import read_json
from reid.core.forms import Number, short
from reid.core.processes import told_to_end
from reid.core.progress import time_left
from reid.engines import ending, profiles, terminal
from reid.engines.workflow import one_error, prepare, take
from reid.models import slots
from reid.params.reading import read_params
from reid.studies.jobs import score_path, training_path, write_jobs
from reid.studies.plan import Plan, expand, read_base
from reid.studies.rows import Row
from reid.studies.scores import Scores, read_scores
from reid.studies.study import Study

SNAKEFILE = "workflow/studies.smk"
_DEV = Path("/dev")
_GPUS = Number(0, 1024, whole=True)
_PAUSE = 0.2  # seconds between two looks whether Snakemake has ended
_TICK = 2.0  # seconds between two looks at what is finished

params = lru_cache(maxsize=None)(read_params)  # a file is read for several jobs


@one_error
def jobs(workflow: Any, config: dict[str, Any]) -> dict[str, Any]:
    """For the Snakefile: what scripts/study.py has planned.

    Raises:
        SystemExit: Snakemake was started otherwise.
    """
    if not isinstance(config.get("plan"), str):
        raise ReidError(f"{SNAKEFILE} is run by `python scripts/study.py NAME`")
    prepare(workflow)
    found: dict[str, Any] = read_json(config["plan"], maker="scripts/study.py")
    return found


@one_error
def begin(workflow: Any) -> None:
    """For the Snakefile, at the start of a run: take the folder, and end with all jobs when the study's process ends.

    Raises:
        SystemExit: another run is at work here, or a folder of outputs cannot be written to.
    """
    take(workflow)
    ending.end_with(os.getppid(), workflow, "the study that ran this is gone")


class Results:
    """The scores of a study's rows on disk, and what failed in this run.

    Args:
        folder: of the study's results.
        splits: that rows are scored on.

    Attributes:
        problems: name of a score to what kept it from being made.
    """

    def __init__(self, folder: Path, splits: Sequence[str]) -> None:
        self.folder, self.splits = folder, splits
        self.problems: dict[str, str] = {}
        self._read: dict[tuple[str, ...], Scores] = {}

    def scores(self, row: Row, seeds: Sequence[int], split: str) -> Scores | None:
        """Scores of a row with these seeds; None as long as one is missing."""
        paths = [score_path(self.folder, row, seed, split) for seed in seeds]
        if self.failed(row, seeds) or not all(path.exists() for path in paths):
            return None
        key = tuple(map(str, paths))
        if key not in self._read:
            self._read[key] = read_scores(paths, split)
        return self._read[key]

    def valid(self, row: Row, seeds: Sequence[int]) -> Scores | None:
        """Scores of valid; None as long as one is missing."""
        return self.scores(row, seeds, "valid")

    def failed(self, row: Row, seeds: Sequence[int]) -> bool:
        """Whether a job of a row failed in this run."""
        return any(row.jobs(seed).score in self.problems for seed in seeds)

    def problem(self, row: Row, seeds: Sequence[int]) -> str:
        """What kept a row from being scored."""
        return next((self.problems[name] for seed in seeds if (name := row.jobs(seed).score) in self.problems), "")

    def look(self, plan: Plan, since: float) -> bool:
        """After a run: what failed since a time; whether all that is planned was scored or failed."""
        self._read.clear()
        complete = True
        for row, seed in plan.runs():
            name = row.jobs(seed).score
            steps = list(self._steps(row, seed))
            if problem := next((found for log, made in steps if (found := _failure(log, made, since))), None):
                self.problems[name] = problem
            complete = complete and (name in self.problems or all(made.exists() for _, made in steps))
        return complete

    def _steps(self, row: Row, seed: int) -> Iterator[tuple[Path, Path]]:
        """The log of each job of a row, and what it makes, one after the other."""
        names, logs = row.jobs(seed), self.folder / "logs"
        yield logs / "weights" / f"{names.weights}.log", self.folder / "weights" / f"{names.weights}.safetensors"
        yield logs / "train" / f"{names.training}.log", training_path(self.folder, row, seed, "model.safetensors")
        for split in self.splits:
            embeddings = Path(names.embedding, split)
            yield logs / "embed" / f"{embeddings}.log", self.folder / "embeddings" / f"{embeddings}.npy"
        for kind, made in (("distances", "distances.parquet"), ("evaluate", "queries.parquet")):
            for split in self.splits:
                log = logs / kind / names.score / f"{split}.log"
                yield log, score_path(self.folder, row, seed, split, made)


def _failure(path: Path, made: Path, since: float) -> str | None:
    """What a job of this run ended with, by its log; None if it did not run, ended well, or was told to end."""
    lines = terminal.lines_since(path, since)
    if lines is None:
        return None
    if (said := terminal.error_of(lines)) is not None:
        return f"{said.removeprefix('error: ')} ({path})"
    if made.exists() or "interrupted" in lines[-1:]:
        return None
    return f"ended without a word, as what is killed for want of memory does ({path})"


def run(study: Study, path: Path, folder: Path, cores: str, gpus: int) -> tuple[Plan, Results]:
    """Run a study to its end.

    Args:
        study, path: the file, checked, and its path.
        folder: of its results.
        cores: as Snakemake takes them.
        gpus: how many to use; with none, trainings share the cores.

    Returns:
        (Plan, Results): all axes, and their scores

    Raises:
        ReidError: Snakemake ended before its time, or what rows are compared with could not be scored.
        KeyboardInterrupt: it was told to end.
    """
    results, base, ran, made = Results(folder, study.splits), read_base(study, path), set[str](), set[str]()
    os.environ[slots.JOBS_PER_GPU] = str(study.gpu_jobs)
    project = read_params() if Path("params.yaml").exists() else None
    while True:
        plan = expand(study, path, base, results)
        galleries = [name for name in _galleries(plan) if name not in results.problems]
        wanted = plan.scores() | {f"page of {name}" for name in galleries}
        if wanted <= ran:
            break
        planned = write_jobs(folder, plan, project, gpus > 0, galleries, results.problems)
        since = time.time()
        options = ["--cores", cores, "--resources", f"gpu={max(1, gpus * study.gpu_jobs)}"]
        data = _data(planned, study.splits)
        ended = _make_data(data - made, options) == 0 and _make_rows(folder, plan, options) == 0
        if not results.look(plan, since) or (not ended and not results.problems):
            raise ReidError("Snakemake ended before its time; see above. The same command goes on from here")
        for part in plan.axes:
            if problem := results.problem(part.reference, part.seeds):
                name = part.reference.name
                raise ReidError(f"{name}, which {part.axis.axis} is compared with, has no scores: {problem}")
        ran |= wanted
        made |= data
    return plan, results


def _galleries(plan: Plan) -> list[str]:
    """Scores whose rankings get a page."""
    rows: dict[str, None] = {}
    for part in plan.axes:
        stays = [part.reference, *([part.kept] if part.kept else [])]
        chosen = {"none": [], "stays": stays, "all": [part.reference, *part.rows]}[plan.study.galleries]
        rows |= dict.fromkeys(row.jobs(part.seeds[0]).score for row in chosen)
    return list(rows)


def _data(planned: dict[str, Any], scored: Sequence[str]) -> set[str]:
    """What rows take of the pipeline's own data."""
    targets = set()
    for name, data in planned.get("data", {}).items():
        if data["source"] == "data":
            trainings = [one for one in planned["trainings"].values() if one["data"] == name]
            splits = {*scored, *(split for one in trainings for split in one["trained_on"])}
            targets |= {f"data/index/{split}.parquet" for split in splits}
            stores = data["root"] == "data"
            targets |= {f"data/thumbnails/{s}.npy" if stores else f"data/raw/{s}.zip" for s in splits}
    return targets


def _make_data(targets: set[str], options: list[str]) -> int:
    """Let the pipeline make data of its own; the status of Snakemake."""
    return _snakemake([*options, "--", *sorted(targets)]) if targets else 0


def _make_rows(folder: Path, plan: Plan, options: list[str]) -> int:
    """Run the jobs of a plan; the status of Snakemake."""
    with _progress(folder, plan):
        config = ["--config", f"plan={folder / 'plan.json'}"]
        return _snakemake(["--snakefile", SNAKEFILE, "--keep-going", *options, *config])


def _snakemake(words: list[str]) -> int:
    """Run Snakemake; its status.

    Raises:
        KeyboardInterrupt: this process was told to end; so was Snakemake, and it has ended.
    """
    profile = profiles.chosen() or "profiles/default"
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", str(profile), *words]
    command += ["--quiet", "host", "progress", "rules", "reason"] if "--" not in words else []
    with told_to_end() as told, subprocess.Popen(command) as process:
        while process.poll() is None:
            if told.wait(_PAUSE):
                process.send_signal(signal.SIGTERM)
                process.wait()
    if told.is_set():
        raise KeyboardInterrupt
    return process.returncode


@contextmanager
def _progress(folder: Path, plan: Plan) -> Any:
    """Say meanwhile how many trainings are finished, and how long the others may take."""
    trainings = {
        row.jobs(seed).training: training_path(folder, row, seed, "summary.json") for row, seed in plan.runs()
    }
    over, start = threading.Event(), time.monotonic()

    def finished() -> int:
        return sum(path.exists() for path in trainings.values())

    def watch() -> None:
        seen = first = finished()
        log.info("%d trainings, %d of them there already", len(trainings), first)
        while not over.wait(_TICK):
            now = finished()
            if now > seen:
                left = time_left(first / len(trainings), now / len(trainings), time.monotonic() - start)
                log.info("%d of %d trainings%s", now, len(trainings), left and f", {left}")
            seen = max(seen, now)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def gpus(resources: Sequence[str]) -> int:
    """How many GPUs to use: as ``gpu=N`` says, else all that this machine has and CUDA_VISIBLE_DEVICES shows.

    Raises:
        ReidError: it is none of this form.
    """
    if resources:
        words = " ".join(resources)
        name, _, number = words.partition("=")
        try:
            return int(_GPUS.of_text(number if name == "gpu" else ""))
        except ValueError as error:
            raise ReidError(f"--resources: must be gpu=N with {_GPUS}, not {short(words)}") from error
    there = len([path for path in _DEV.glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    # CUDA shows those before the first that is none
    shown = itertools.takewhile(lambda word: word.strip() not in ("", "-1"), visible.split(","))
    return min(there, len(list(shown)))
