"""What a study asks for: its rows, axis by axis, as far as it is known what stays."""

from pathlib import Path
from typing import Any, NamedTuple

from reid.core.errors import ReidError, summarise
from reid.params.files import missing_files
from reid.params.reading import check_params, read_content
from reid.params.schema import Params
from reid.studies.changes import Content, changed
from reid.studies.choice import Outcomes, choose
from reid.studies.rows import Row
from reid.studies.study import Axis, Study

BASE = "base"


class Base(NamedTuple):
    """What a study begins with: its first row, and ``file``, on top of which the study's own change is in it."""

    row: Row
    file: Content


class AxisPlan(NamedTuple):
    """An axis whose rows are known.

    ``reference`` is what its rows are put on top of and compared with. ``problems`` names the rows whose parameters
    cannot be on top of it, and says why. ``kept`` goes on to the next axis, and may be the reference; it is None as
    long as scores are missing that decide.
    """

    axis: Axis
    stays: str
    seeds: list[int]
    reference: Row
    rows: list[Row]
    problems: dict[str, str]
    kept: Row | None
    why: str

    def own_trainings(self) -> set[str]:
        """Trainings of the rows, without those that differ from the reference in what follows the training alone."""
        found = set()
        for row in self.rows:
            for seed in self.seeds:
                jobs, other = row.jobs(seed), self.reference.jobs(seed)
                if jobs.training != other.training or jobs == other:
                    found.add(jobs.training)
        return found


class Plan(NamedTuple):
    """The axes of a study, up to the first whose decision is open; ``base`` and ``file`` are of :class:`Base`."""

    study: Study
    base: Row
    file: Content
    axes: list[AxisPlan]

    def runs(self) -> list[tuple[Row, int]]:
        """Each row with each of its seeds; what is on several axes stands there several times."""
        return [(row, seed) for part in self.axes for row in [part.reference, *part.rows] for seed in part.seeds]

    def scores(self) -> set[str]:
        """Names of all scores."""
        return {row.jobs(seed).score for row, seed in self.runs()}

    def trainings(self) -> set[str]:
        """Names of all trainings."""
        return {row.jobs(seed).training for row, seed in self.runs()}


def read_base(study: Study, path: Path) -> Base:
    """What a study begins with, read once: the file may be edited while it runs.

    Raises:
        ReidError: it cannot be read, is not valid, or has not just one model, trained here.
    """
    content = read_content(study.base)
    check_params(content, study.base)
    if len(content.get("models") or {}) != 1 or content.get("external_models"):
        raise ReidError(f"{path}: base: {study.base} must have one model in models, and none in external_models")
    try:
        return Base(Row(BASE, changed(content, study.change), f"{path}: change"), content)
    except ReidError as error:
        raise ReidError(_named(error, f"{path}: change")) from error


def expand(study: Study, path: Path, base: Base, outcomes: Outcomes | None = None) -> Plan:
    """The rows of a study.

    Args:
        study, path: the file, and its path for messages.
        base: of :func:`read_base`.
        outcomes: the scores that there are; None to see all axes, as if nothing but ``always`` rows stayed.

    Raises:
        ReidError: what rows are put on top of cannot be with a seed of theirs.
    """
    current, axes = base.row, []
    for axis in study.axes:
        seeds, stays = list(axis.seeds or study.seeds), axis.stays or study.stays
        current.check(seeds)
        rows, problems = [], {}
        for name, changes in axis.all_rows().items():
            where = f"{path}: {axis.axis}" + (f": {name}" if axis.change is None else "")
            try:
                row = Row(name, changed(current.content, changes), where, changes)
                if _scored_on(row.params) != _scored_on(base.row.params):
                    raise ReidError(
                        "download: must be the base's but for synthetic.actions.train, for rows are compared; put it "
                        "into the study's change"
                    )
                row.check(seeds)
                rows.append(row)
            except ReidError as error:
                problems[name] = _named(error, where)
        kept, why = choose(stays, current, rows, seeds, outcomes)
        axes.append(AxisPlan(axis, stays, seeds, current, rows, problems, kept, why))
        if kept is None:
            break
        current = kept
    return Plan(study, *base, axes)


def _scored_on(params: Params) -> Any:
    """What decides about the zips that rows are compared on: not how much is drawn to train on, nor its pin."""
    return params.download.model_dump(exclude={"sha256": {"train"}, "synthetic": {"actions": {"train"}}})


def _named(error: ReidError, where: str) -> str:
    return str(error) if str(error).startswith(where) else f"{where}: {error}"


def check(study: Study, path: Path) -> Plan:
    """Check a study before any work: each row on top of the base and of what stays for certain.

    Returns:
        Plan: all axes, as if nothing but ``always`` rows stayed

    Raises:
        ReidError: a row cannot be; all in one message.
    """
    plan = expand(study, path, read_base(study, path))
    if problems := [problem for part in plan.axes for problem in part.problems.values()]:
        raise ReidError("\n".join(problems))
    return plan


def check_files(plan: Plan, path: Path) -> None:
    """Check that the files and folders that rows name outside of the pipeline are there.

    Raises:
        ReidError: they are not; all in one message, each with the first row that names it.
    """
    problems: dict[str, str] = {}
    for part in plan.axes:
        for row in [part.reference, *part.rows]:
            for problem in missing_files(row.params):
                problems.setdefault(problem, row.name)
    if problems:
        raise ReidError(summarise([f"{row}: {problem}" for problem, row in problems.items()], str(path)))
