"""A row of a study: its whole parameter file, and the jobs that it asks for.

A job is named by a hash of the parameters that decide about it, and of nothing else. So rows that differ in the
embedding or in what follows share a training, and a row keeps its training when rows come or go around it. That code
and data are still the same is the engine's to know.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from reid.core.errors import ReidError
from reid.params.reading import check_params
from reid.params.schema import Params
from reid.studies.changes import Content, changed, model_name


class Jobs(NamedTuple):
    """Names of the jobs of one row with one seed."""

    source: str
    data: str
    weights: str
    training: str
    embedding: str
    score: str


class Row:
    """A row of the table.

    Args:
        name: of the row.
        content: its whole parameter file.
        where: the study file and the row, for messages.
        changes: what it changes of the row that it is put on top of.

    Attributes:
        params: checked.

    Raises:
        ReidError: its parameters cannot be.
    """

    def __init__(self, name: str, content: Content, where: str, changes: dict[str, Any] | None = None) -> None:
        self.name, self.content, self.where, self.changes = name, content, where, changes or {}
        self.params: Params = check_params(content, where)
        if self.params.train.splits != ["train"]:
            raise ReidError(f"{where}: train.splits: must be [train] in a study, whose rows are chosen on valid")
        self._jobs: dict[int, Jobs] = {}

    def check(self, seeds: Sequence[int]) -> None:
        """Check its parameters with each seed, as its jobs have them.

        Raises:
            ReidError: they cannot be with one.
        """
        for seed in seeds:
            check_params(self.with_seed(seed), f"{self.where}: with seed {seed}")

    @property
    def model(self) -> Any:
        """The parameters of its model."""
        return self.params.models[model_name(self.content)]

    def section(self, seed: int) -> dict[str, Any]:
        """Plain parameters of its model with one seed."""
        return {**plain(self.model), "seed": seed}

    def jobs(self, seed: int) -> Jobs:
        """The jobs of this row with one seed."""
        if seed not in self._jobs:
            params, model = self.params, self.section(seed)
            source = source_name(params)
            data = data_name(params)
            weights = name_of("weights", model["network"], model["input"])
            training = name_of("training", data, plain(params.train), model)
            embedding = name_of("embedding", training, plain(params.embed))
            score = name_of("score", embedding, plain(params.distances), plain(params.evaluate))
            self._jobs[seed] = Jobs(source, data, weights, training, embedding, score)
        return self._jobs[seed]

    def with_seed(self, seed: int) -> Content:
        """The parameter file with one seed."""
        return changed(self.content, {"seed": seed})


def source_name(params: Params) -> str:
    """Name of the zips that parameters ask for."""
    return name_of("source", plain(params.download))


def data_name(params: Params) -> str:
    """Name of the thumbnails that parameters ask for."""
    return name_of("data", source_name(params), plain(params.thumbnails))


def plain(section: Any) -> Any:
    """A section's values, as JSON holds them, without what is as it is by default: a default to come names no job."""
    return section.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def name_of(*parts: Any) -> str:
    """A name for what ``parts`` decide about."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
