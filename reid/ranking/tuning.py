"""Choosing the ``distances`` section of a parameter file by the mAP of valid, part by part, the simplest first."""

import json
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from reid.core.errors import ReidError
from reid.data.actions import Action
from reid.params.ranking import Distances
from reid.params.registries import POSTPROCESSING
from reid.params.schema import section_class
from reid.ranking.distances import action_distances, between, fuse, model_distances
from reid.ranking.postprocessing_chain import change_distances
from reid.retrieval.metrics import ap_of_actions

Section = dict[str, Any]  # the section distances as a file holds it: without what is off or as it is by default

LEAST_GAIN = 0.001  # mAP that a part must add, or it is left out
PASSES = 6  # over all parts, at most; two to five are enough
RATIOS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)  # weights that a model can have; 0 leaves it out

ASSIGNMENTS = ("dual_softmax", "sinkhorn")  # one or the other
STEPS = {"query_expansion": ("query_expansion",), "reranking": ("reranking",), "assignment": ASSIGNMENTS}


def _candidates() -> dict[str, tuple[Any, ...]]:
    expansions = [{"neighbours": n, "alpha": alpha} for n in (1, 2, 3) for alpha in (1.0, 3.0)]
    rerankings = [
        {"k1": k1, **k2, "lambda": share}
        for k1 in (2, 3, 4, 5, 6)
        for k2 in ({}, {"k2": 2})
        for share in (0.9, 0.7, 0.5, 0.3)
    ]
    assignments = [
        {name: {**iterations, "temperature": temperature, **weight}}
        for name, iterations in (("dual_softmax", {}), ("sinkhorn", {"iterations": 5}))
        for temperature in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
        for weight in ({"weight": 0.5}, {})
    ]
    return {
        "metric": ("euclidean", "cosine"),
        "query_expansion": ({}, *({"query_expansion": step} for step in expansions)),
        "reranking": ({}, *({"reranking": step} for step in rerankings)),
        "assignment": ({}, *assignments),
    }


# What is tried, the simplest first: values of metric, else what stands in postprocessing. Distances have a mean of 1
# here, so temperatures are shares of the mean distance.
CANDIDATES = _candidates()
SIMPLEST: Section = {"metric": "euclidean", "scale": "mean"}


class Tried(NamedTuple):
    """What came of a part: mAP without it (metric: euclidean), the best candidate, its mAP, and whether it is kept."""

    part: str
    without: float
    best: Any
    score: float
    kept: bool


def changed(section: Section, part: str, candidate: Any) -> Section:
    """A section with another candidate of one part; nothing of it where the candidate is empty.

    Args:
        section: it is left as it is.
        part: of :data:`CANDIDATES`, or ``"models"``.
        candidate: one of :data:`CANDIDATES`; of models their weights.
    """
    parts = dict(section)
    if part in STEPS:
        steps = {name: step for name, step in section.get("postprocessing", {}).items() if name not in STEPS[part]}
        steps |= candidate
        parts["postprocessing"] = {name: steps[name] for name in POSTPROCESSING if name in steps}
    else:
        parts[part] = candidate
    return {key: parts[key] for key in Distances.model_fields if parts.get(key)}


def _params(section: Section) -> Distances:
    return section_class("Distances").model_validate(section)


def _shortened(embeddings: np.ndarray, actions: list[Action]) -> np.ndarray:
    """Embeddings of the same distances inside each action, to rounding, in as many components as it has boxes at most.

    N boxes span N directions: a QR decomposition gives their coordinates. Distances are measured dozens of times.
    """
    width = max(len(a.query) + len(a.gallery) for a in actions)
    if embeddings.shape[1] <= width:
        return embeddings
    short = np.zeros((len(embeddings), width))
    for action in actions:
        rows = np.concatenate([action.query, action.gallery])
        coordinates = np.asarray(np.linalg.qr(embeddings[rows].astype(np.float64).T, mode="r")).T
        short[rows, : coordinates.shape[1]] = coordinates
    return short


def _scores(
    embeddings: dict[str, np.ndarray], actions: list[Action], person: np.ndarray
) -> Callable[[Section], float]:
    """A function from a section to mAP; what sections have in common is not computed again."""
    ap = ap_of_actions(actions, person)
    short = {name: _shortened(array, actions) for name, array in embeddings.items()}

    @lru_cache(maxsize=16)  # a pass with and one without re-ranking
    def of_models(key: str) -> dict[str, list[np.ndarray]]:
        params = _params(json.loads(key))
        return {name: model_distances(array, actions, params) for name, array in short.items()}

    @lru_cache(maxsize=1)
    def fused_and_jaccard(key: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
        section = json.loads(key)
        weights = section.get("models") or dict.fromkeys(embeddings, 1.0)
        reranking = _steps(section, "reranking")
        whole = reranking and CANDIDATES["reranking"][1]  # any: all need the distances between all boxes
        models = of_models(json.dumps(changed(changed(section, "models", None), "reranking", whole)))
        fused = fuse([models[name] for name in weights], list(weights.values()))
        alone = _params({"metric": section["metric"], "postprocessing": reranking})
        return between(fused, actions), change_distances(fused, actions, alone) if reranking else []

    @cache
    def known(key: str) -> float:
        section = json.loads(key)
        reranking, assignment = _steps(section, "reranking"), _steps(section, "assignment")
        jaccard = {name: {**step, "lambda": 0.0} for name, step in reranking.items()}
        common = changed(changed(section, "assignment", {}), "reranking", jaccard)
        try:
            distances, others = fused_and_jaccard(json.dumps(common))
        except ReidError:  # an embedding of zeros, of which only the plain euclidean distance is a number
            return 0.0
        for step in reranking.values():
            share = step["lambda"]
            distances = [share * d + (1 - share) * other for d, other in zip(distances, others, strict=True)]
        alone = _params({"metric": section["metric"], "postprocessing": assignment})
        return float(ap(change_distances(distances, actions, alone)).mean())

    return lambda section: known(json.dumps(section))


def _steps(section: Section, part: str) -> dict[str, Any]:
    """The post-processing steps of a section that belong to a part."""
    return {name: step for name, step in section.get("postprocessing", {}).items() if name in STEPS[part]}


def _best_weights(section: Section, names: Iterable[str], score: Callable[[Section], float]) -> dict[str, float]:
    """Weights found model by model until none improves; a weight changes only for a higher score."""
    weights = {name: (section.get("models") or dict.fromkeys(names, 1.0)).get(name, 0.0) for name in names}
    best, before = score(section), None
    while before != weights:
        before = dict(weights)
        for name in names:
            for ratio in RATIOS:
                chosen = {key: value for key, value in {**weights, name: ratio}.items() if value}
                if chosen and (gained := score(changed(section, "models", chosen))) > best:
                    best, weights = gained, {**weights, name: ratio}
    return {key: value for key, value in weights.items() if value}


def tune(
    embeddings: dict[str, np.ndarray], actions: list[Action], person: np.ndarray
) -> tuple[Section, list[Tried], float]:
    """Choose metric, query expansion, re-ranking, assignment of boxes to queries and weights of the models, by mAP.

    Part after part takes its best candidate, with the others as they are, until a pass over all changes nothing. A
    part that adds less than 0.001 to what it is without is left out; equal candidates: the first, which is the
    simplest. Each model's distances get the mean 1; where that does not matter the result has no ``scale``.

    Args:
        embeddings: name of the model to float array N x D; row i is row i of the index.
        actions: those of the split.
        person: int array, the person of each row; each query has a match.

    Returns:
        (dict, list of Tried, float): the section, without ``models`` for all alike; what was tried, in order; the mAP
        that reid.ranking.distances.action_distances has with the section.

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
            without, *others = (changed(section, part, candidate) for candidate in candidates)
            best = int(np.argmax([score(other) for other in others]))  # the first of equals
            kept = score(others[best]) - score(without) >= LEAST_GAIN
            tried.append(Tried(part, score(without), candidates[1 + best], score(others[best]), kept))
            section = others[best] if kept else without
        if section == before:
            break
    weights = section.get("models") or dict.fromkeys(embeddings, 1.0)
    if len(weights) == 1 and not _steps(section, "reranking") and not _steps(section, "assignment"):
        section = changed(section, "scale", None)
    distances = action_distances(
        [embeddings[name] for name in weights], actions, _params(section), list(weights.values())
    )
    return section, tried, float(ap_of_actions(actions, person)(distances).mean())
