"""A study file: a base recipe, seeds, and changes that are tried one axis after the other."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from reid.core.errors import ReidError, summarise
from reid.params.base import PathText, Section, Seed
from reid.params.error_location import find, nearest
from reid.params.reading import read_content

FOLDER = Path("studies")
_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"  # a folder and a stage of DVC
_COMBINATIONS = 1000  # of an axis
Changes = dict[str, Any]
Text = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^|<>\x00-\x1f]+$")]
Places = dict[Annotated[str, Field(min_length=1, max_length=200)], Any]
Rows = Annotated[dict[Text, Places], Field(min_length=1)]
Seeds = Annotated[list[Seed], Field(min_length=1, max_length=100)]


class Axis(Section):
    """What is tried at one place: one change, several rows, or all combinations of several lists of them."""

    axis: Text = Field(description="its name")
    change: Places | None = Field(None, description="the only row: dotted parameters to their values")
    rows: Rows | None = Field(None, description="name to its changes")
    cross: Annotated[dict[Text, Rows], Field(min_length=1, max_length=100)] | None = Field(
        None, description="name of each factor to its rows; every combination is a row"
    )
    stays: Literal["mean", "interval", "always", "never"] | None = Field(
        None, description="when the best row goes on to the next axis; as the study has it if absent"
    )
    seeds: Seeds | None = Field(None, description="of its rows and of what they are compared with")

    def all_rows(self) -> dict[str, Changes]:
        """Name of each row to its changes."""
        if self.change is not None:
            return {self.axis: self.change}
        if self.rows is not None:
            return dict(self.rows)
        return {name: {k: v for row in rows for k, v in row.items()} for name, rows in self.combinations()}

    def combinations(self) -> Iterator[tuple[str, list[Places]]]:
        """Each of the factors' combinations: its name, and the changes of each factor."""
        for rows in product(*(factor.items() for factor in (self.cross or {}).values())):
            yield ", ".join(name for name, _ in rows), [row for _, row in rows]


class Study(Section):
    """A study file."""

    base: PathText = Field(description="a whole parameter file with one model: a recipe or params.yaml")
    seeds: Seeds
    change: Places = Field({}, description="of the base, in every row")
    stays: Literal["mean", "interval"] = Field(
        "mean",
        description="an axis's best row by the mean mAP of valid over the seeds goes on if it is above what it is "
        "compared with; or only if the paired 95 % interval of the difference is above zero",
    )
    splits: Annotated[list[Literal["valid", "test"]], Field(min_length=1)] = Field(
        ["valid", "test"], description="which rows are scored on; [valid] where there are no others with labels"
    )
    gpu_jobs: int = Field(1, ge=1, le=64, description="trainings on one GPU at a time")
    galleries: Literal["none", "stays", "all"] = Field(
        "none", description="rows whose rankings of valid get a page each, of the first seed"
    )
    axes: Annotated[list[Axis], Field(min_length=1, max_length=100)]


def study_path(name: str) -> Path:
    """The file of a study: ``name`` itself if it is a path, else ``studies/NAME.yaml``."""
    return Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"


def read_study(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        ReidError: it is missing, is no study, or names an axis or a row twice; all in one message.
    """
    content = read_content(path)
    if not isinstance(content, dict):
        raise ReidError(f"{path}: is not a study; it must have base, seeds and axes")
    if not re.fullmatch(_NAME, path.stem):
        raise ReidError(f"{path}: its name must be letters, digits, - and _, a letter or digit first")
    try:
        study = Study.model_validate(content, strict=True)
    except ValidationError as error:
        raise ReidError(summarise(dict.fromkeys(map(_line, error.errors(include_url=False))), str(path))) from error
    if problems := list(_contradictions(study)):
        raise ReidError(summarise(problems, str(path)))
    return study


def _line(item: Any) -> str:
    unknown = item["type"] == "extra_forbidden"
    where, known = find(item["loc"], Study, unknown)
    if unknown:
        return f"{where}: is not part of a study; {nearest(str(item['loc'][-1]), known)}"
    return f"{where}: {'is missing' if item['type'] == 'missing' else item['msg']}"


def _inside(places: Iterable[str], others: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each place that is one of the others or a part of one, with that one."""
    for place in places:
        names = place.split(".")
        for end in range(1, len(names) + 1):
            if (whole := ".".join(names[:end])) in others:
                yield place, whole


def _twice(row: Places, where: str) -> Iterator[str]:
    """Places of a row that lie in each other, where what stands last undoes the other."""
    order = list(row)
    for place, whole in sorted(_inside(row, row)):
        if place != whole and (order.index(place) < order.index(whole) or row[whole] is None):
            yield f"{where}: changes {whole} and {place} in it, and the last undoes the other; write all into {whole}"


def _undone(axis: Axis) -> Iterator[str]:
    """Places of a cross where a factor undoes what one before it changes: only a section may come before its parts."""
    before: set[str] = set()
    gone: set[str] = set()  # of these, what a row takes away
    for rows in (axis.cross or {}).values():
        places = {place for row in rows.values() for place in row}
        for place, whole in sorted({*_inside(before, places), *_inside(places, gone)}):
            if place == whole:
                yield f"axes: {axis.axis}: {place} is changed by two of its factors"
            elif whole in gone:
                yield f"axes: {axis.axis}: {whole} is taken away by one of its factors, and {place} changed by another"
            else:
                what = f"{place} is changed by one of its factors, and then all of {whole} by another"
                yield f"axes: {axis.axis}: {what}; put that of {whole} first"
        before |= places
        gone |= {place for row in rows.values() for place, value in row.items() if value is None}


def _contradictions(study: Study) -> Iterator[str]:
    seen: set[str] = set()
    for axis in study.axes:
        if axis.axis in seen:
            yield f"axes: {axis.axis} stands twice; give each a name of its own"
        seen.add(axis.axis)
        if sum(part is not None for part in (axis.change, axis.rows, axis.cross)) != 1:
            yield f"axes: {axis.axis}: must have one of change, rows and cross"
            continue
        if axis.cross:
            count = math.prod(map(len, axis.cross.values()))
            if count > _COMBINATIONS:
                yield f"axes: {axis.axis}: has more than {_COMBINATIONS:,} combinations, the most that there can be"
                continue
            for name, times in Counter(name for name, _ in axis.combinations()).items():
                if times > 1:
                    yield f"axes: {axis.axis}: {times} combinations have the name {name}; name their rows otherwise"
            yield from _undone(axis)
        for rows in [axis.rows or {}, *(axis.cross or {}).values()]:
            for name, row in rows.items():
                yield from _twice(row, f"axes: {axis.axis}: {name}")
        yield from _twice(axis.change or {}, f"axes: {axis.axis}")
        if any("seed" in row for row in axis.all_rows().values()):
            yield f"axes: {axis.axis}: changes seed, which every row has from seeds; name it there"
    yield from _twice(study.change, "change")
    if "seed" in study.change:
        yield "change: changes seed, which every row has from seeds; name it there"
    if study.splits not in (["valid", "test"], ["valid"]):
        yield "splits: must be [valid, test], or [valid]: by it rows are chosen"
    for name, seeds in [("seeds", study.seeds), *((a.axis, a.seeds) for a in study.axes if a.seeds)]:
        if len(set(seeds)) < len(seeds):
            yield f"{name}: a seed stands twice"
