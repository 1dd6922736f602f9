"""Choosing the ``distances`` section of ``params.yaml`` by the mAP of valid, part by part, the simplest first."""

import io
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.representer import RoundTripRepresenter

from reid.distances import action_distances, between, fuse, model_distances, refine
from reid.errors import ReidError
from reid.files import replacing
from reid.metrics import precision_of_actions
from reid.params import Distances, Expansion, Queries, Reranking, read_params

LEAST_GAIN = 0.001  # mAP that a part must add, or it is left out
PASSES = 6  # over all parts, at most; two to five are enough
RATIOS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)  # weights that a model can have; 0 leaves it out

# What is tried, the simplest first. Distances have a mean of 1 here, so temperatures are shares of the mean distance.
CANDIDATES = {
    "metric": ("euclidean", "cosine"),
    "expansion": (None, *(Expansion(neighbours=n, alpha=a) for n in (1, 2, 3) for a in (1.0, 3.0))),
    "reranking": (
        None,
        *(
            Reranking(k1=k1, k2=k2, original=share)
            for k1 in (2, 3, 4, 5, 6)
            for k2 in (1, 2)
            for share in (0.9, 0.7, 0.5, 0.3)
        ),
    ),
    "queries": (
        None,
        *(
            Queries(kind=kind, temperature=temperature, rounds=rounds, weight=weight)
            for kind, rounds in (("softmax", 1), ("sinkhorn", 5))
            for temperature in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
            for weight in (0.5, 1.0)
        ),
    ),
}
SIMPLEST = Distances(metric="euclidean", models=None, scale="mean", expansion=None, reranking=None, queries=None)


class Tried(NamedTuple):
    """What came of a part: mAP without it (metric: euclidean), the best candidate, its mAP, and whether it is kept."""

    part: str
    without: float
    best: object
    score: float
    kept: bool


def _shortened(embeddings, actions):
    """Embeddings of the same distances inside each action, to rounding, in as many components as it has boxes at most.

    N boxes span N directions: a QR decomposition gives their coordinates. Distances are measured dozens of times.
    """
    width = max(len(a.query) + len(a.gallery) for a in actions)
    if embeddings.shape[1] <= width:
        return embeddings
    short = np.zeros((len(embeddings), width))
    for action in actions:
        rows = np.concatenate([action.query, action.gallery])
        coordinates = np.linalg.qr(embeddings[rows].astype(np.float64).T, mode="r").T
        short[rows, : coordinates.shape[1]] = coordinates
    return short


def _scores(embeddings, actions, person):
    """A function from reid.params.Distances to mAP; what settings have in common is not computed again."""
    precision = precision_of_actions(actions, person)
    short = {name: _shortened(array, actions) for name, array in embeddings.items()}

    @lru_cache(maxsize=16)  # a pass with and one without re-ranking
    def of_models(section):
        return {name: model_distances(array, actions, section) for name, array in short.items()}

    @lru_cache(maxsize=1)
    def fused_and_jaccard(key):
        section = Distances.model_validate_json(key)
        weights = section.models or dict.fromkeys(embeddings, 1.0)
        whole = section.reranking and CANDIDATES["reranking"][1]  # any: all need the distances between all boxes
        models = of_models(section.model_copy(update={"models": None, "reranking": whole}))
        fused = fuse([models[name] for name in weights], list(weights.values()))
        return between(fused, actions), section.reranking and refine(fused, actions, section)

    @cache
    def known(key):
        section = Distances.model_validate_json(key)
        part = section.reranking
        jaccard = part and part.model_copy(update={"original": 0.0})
        common = section.model_copy(update={"queries": None, "reranking": jaccard})
        try:
            distances, others = fused_and_jaccard(common.model_dump_json())
        except ReidError:  # an embedding of zeros, of which only the plain euclidean distance is a number
            return 0.0
        if part:
            both = zip(distances, others, strict=True)
            distances = [part.original * d + (1 - part.original) * other for d, other in both]
        distances = refine(distances, actions, section.model_copy(update={"reranking": None}))
        return float(precision(distances).mean())

    return lambda section: known(section.model_dump_json())


def _best_weights(section, names, score):
    """Weights found model by model until none improves; a weight changes only for a higher score."""
    weights = {name: (section.models or dict.fromkeys(names, 1.0)).get(name, 0.0) for name in names}
    best, found = score(section), None
    while found != weights:
        found = dict(weights)
        for name in names:
            for ratio in RATIOS:
                chosen = {key: value for key, value in {**weights, name: ratio}.items() if value}
                if chosen and (gained := score(section.model_copy(update={"models": chosen}))) > best:
                    best, weights = gained, {**weights, name: ratio}
    return {key: value for key, value in weights.items() if value}


def tune(embeddings, actions, person):
    """Choose metric, query expansion, re-ranking, division among the queries and weights of the models, by mAP.

    Part after part takes its best candidate, with the others as they are, until a pass over all changes nothing. A
    part that adds less than 0.001 to what it is without is left out; equal candidates: the first, which is the
    simplest. Each model's distances get the mean 1; where that does not matter the result has ``scale: none``.

    Args:
        embeddings: dict, name of the model to float array N x D; row i is row i of the index.
        actions: list of reid.actions.Action.
        person: int array, the person of each row; each query has a match.

    Returns:
        (reid.params.Distances, list of Tried, float): the settings, with ``models`` None for all alike; what was
        tried, in order; the mAP that reid.distances.action_distances has with the settings.

    Raises:
        ReidError: a distance is not a number.
    """
    score = _scores(embeddings, actions, person)
    parts = [*CANDIDATES, "models"] if len(embeddings) > 1 else list(CANDIDATES)
    section, tried = SIMPLEST, []
    for _ in range(PASSES):
        before = section
        for part in parts:
            candidates = CANDIDATES.get(part) or (None, _best_weights(section, embeddings, score))
            without, *others = (section.model_copy(update={part: candidate}) for candidate in candidates)
            best = max(others, key=score)  # the first of equals
            kept = score(best) - score(without) >= LEAST_GAIN
            tried.append(Tried(part, score(without), getattr(best, part), score(best), kept))
            section = best if kept else without
        if section == before:
            break
    weights = section.models or dict.fromkeys(embeddings, 1.0)
    if len(weights) == 1 and not section.reranking and not section.queries:
        section = section.model_copy(update={"scale": "none"})
    distances = action_distances([embeddings[name] for name in weights], actions, section, list(weights.values()))
    return section, tried, float(precision_of_actions(actions, person)(distances).mean())


class _Representer(RoundTripRepresenter):
    """Writes null, where ruamel.yaml would write nothing."""


_Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def _update(old, new):
    """Bring a section as ruamel.yaml holds it to other values; what is equal keeps its form and comments."""
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old[key], dict) and old[key].keys() == value.keys():
            _update(old[key], value)
        elif old[key] != value:
            if isinstance(value, dict):
                value = CommentedMap(value)
                value.fa.set_flow_style()
            old[key] = value


def write_section(path, section):
    """Put other settings into the ``distances`` section of a parameter file; the rest keeps every byte.

    Args:
        path: the parameter file.
        section: reid.params.Distances

    Raises:
        ReidError: the file cannot be read or written, or the section does not stand by itself on lines of its own.
    """
    read_params(path)
    text = Path(path).read_bytes().decode("utf-8")  # read_text would change the ends of lines
    lines = text.splitlines(keepends=True)
    keys = [key for key, _ in yaml.compose(text).value]
    starts = [key.start_mark.line for key in keys] + [len(lines)]
    here = [key.value for key in keys].index("distances")
    begin, end = starts[here : here + 2]
    while not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#"):
        end -= 1  # what stands before the next section is its own
    round_trip = YAML()
    round_trip.Representer = _Representer
    round_trip.preserve_quotes, round_trip.width = True, 1000
    written = io.StringIO()
    with replacing(path) as partial:
        try:
            content = round_trip.load("".join(lines[begin:end]))
            _update(content["distances"], section.model_dump())
            round_trip.dump(content, written)
            changed = "".join([*lines[:begin], written.getvalue(), *lines[end:]])
            partial.write_bytes(changed.encode("utf-8"))
            done = read_params(partial).distances == section
        except (YAMLError, ReidError, TypeError):  # TypeError: nothing on these lines, the file is of another form
            done = False
        if not done:
            raise ReidError(f"{path}: the section distances cannot be rewritten; put the one printed there by hand")
