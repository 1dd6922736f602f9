"""The steps of ``distances.postprocessing`` put to work; what an extension's step returns is checked like our own."""

from typing import Any

import numpy as np

from reid.core.errors import ReidError
from reid.data.actions import Action
from reid.params.extensions import named, source
from reid.params.ranking import Distances
from reid.params.registries import POSTPROCESSING
from reid.params.schema import parts
from reid.ranking import postprocessing  # attaches the built-in steps to the registry


def of_stage(params: Distances, stage: str) -> dict[str, Any]:
    """The steps of one stage that the parameters name, in the registry's order: name to parameters."""
    chosen = parts(params.postprocessing, POSTPROCESSING)
    return {name: step for name, step in chosen.items() if step.stage == stage}


def change_split(embeddings: np.ndarray, actions: list[Action], params: Distances) -> np.ndarray:
    """Apply the steps of the stage split to the embeddings of one model.

    Args:
        embeddings: float array N x D.
        actions: of the split.
        params: its ``postprocessing``.

    Returns:
        float array N x D; float64 after a step

    Raises:
        ReidError: a step returns something else or values that are not finite, or an extension's fails.
    """
    for name, step in of_stage(params, "split").items():
        groups = [np.concatenate([action.query, action.gallery]) for action in actions]
        given = embeddings if _is_ours(name) else np.array(embeddings)  # a step may change what it gets
        changed = _run(name, actions[0], given, groups, step)
        embeddings = _array(name, actions[0], changed, (len(embeddings), None))
        if not np.isfinite(embeddings[np.concatenate(groups)]).all():
            raise _refusal(name, actions[0], "returns a value that is not finite")
    return embeddings


def change_embeddings(
    query: np.ndarray, gallery: np.ndarray, action: Action, params: Distances
) -> tuple[np.ndarray, np.ndarray]:
    """Apply the steps of the stage embeddings to one action of one model.

    Args:
        query, gallery: float arrays, Q x D and G x D, as the model's file has them.
        action: the action, for messages.
        params: its ``postprocessing``.

    Returns:
        (float array Q x D, float array G x D); float64 after a step

    Raises:
        ReidError: a step returns something else or values that are not finite, or an extension's fails.
    """
    for name, step in of_stage(params, "embeddings").items():
        zeros = not (query.any(axis=1).all() and gallery.any(axis=1).all())
        result = _run(name, action, query, gallery, step)
        if not isinstance(result, tuple) or len(result) != 2:
            raise _refusal(name, action, f"returns a {type(result).__name__}, not a pair of queries and gallery")
        query, gallery = (
            _array(name, action, rows, (len(before), None))
            for rows, before in zip(result, (query, gallery), strict=True)
        )
        if query.shape[1] != gallery.shape[1]:
            raise _refusal(name, action, f"returns rows of {query.shape[1]} and {gallery.shape[1]} values")
        if not (np.isfinite(query).all() and np.isfinite(gallery).all()):
            reason = "; an embedding of zeros has no direction: leave the step out and use distances.metric: euclidean"
            raise _refusal(name, action, f"returns a value that is not finite{f'{reason}, or train again' * zeros}")
    return query, gallery


def change_distances(distances: list[np.ndarray], actions: list[Action], params: Distances) -> list[np.ndarray]:
    """Apply the steps of the stages boxes and pairs.

    Ours to all actions of one shape at once, five times as fast as singly; an extension's to one action at a time.

    Args:
        distances: one float64 array per action: queries x gallery boxes, or with a step of the stage boxes
            (queries + gallery boxes) squared.
        actions: those of the distances.
        params: its ``postprocessing``.

    Returns:
        list of float64 arrays, queries x gallery boxes, one per action

    Raises:
        ReidError: a step returns something else or values that are not finite, or an extension's fails.
    """
    for stage in ("boxes", "pairs"):
        for name, step in of_stage(params, stage).items():
            distances = _apply(name, step, distances, actions)
    return distances


def _apply(name: str, step: Any, distances: list[np.ndarray], actions: list[Action]) -> list[np.ndarray]:
    """One step, applied to copies of the distances."""
    stacked = _is_ours(name)
    groups: dict[Any, list[int]] = {}
    for i, action in enumerate(actions):
        groups.setdefault((len(action.query), len(action.gallery)) if stacked else i, []).append(i)
    result = [np.empty(0)] * len(actions)
    for places in groups.values():
        action = actions[places[0]]
        queries, boxes = len(action.query), len(action.gallery)
        stack = np.stack([distances[i] for i in places])
        given = stack if stacked else stack[0]
        changed = _run(name, action, given, *([queries] if step.stage == "boxes" else []), step)
        changed = _array(name, action, changed, (*given.shape[:-2], queries, boxes))
        for i, matrix in zip(places, changed if stacked else [changed], strict=True):
            if not np.isfinite(matrix).all():
                raise _refusal(name, actions[i], "returns a value that is not finite")
            result[i] = matrix
    return result


def _is_ours(name: str) -> bool:
    """Whether a step is a built-in one, which takes stacks of actions and leaves what it gets as it is."""
    return getattr(POSTPROCESSING.builder(name), "__module__", None) == postprocessing.__name__


def _run(name: str, action: Action, *arguments: Any) -> Any:
    """What a step returns; where an extension's fails, an error that names it and the action."""
    builder = POSTPROCESSING.builder(name)
    with named(builder, f"action {action.action_idx}: distances.postprocessing.{name}"):
        return builder(*arguments)


def _array(name: str, action: Action, value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """What a step returned as a float64 array of a shape, in which None stands for any number."""
    wanted = " x ".join("D" if size is None else str(size) for size in shape)
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise _refusal(name, action, f"must return an array of {wanted}, not a {type(value).__name__}") from error
    if array.ndim != len(shape) or any(s not in (None, size) for s, size in zip(shape, array.shape, strict=True)):
        given = f"one of {' x '.join(map(str, array.shape))}" if array.ndim else f"a {type(value).__name__}"
        raise _refusal(name, action, f"must return an array of {wanted}, not {given}")
    return array


def _refusal(name: str, action: Action, what: str) -> ReidError:
    """An error that names the action, the step and the extension that it comes from."""
    where = source(POSTPROCESSING.builder(name))
    return ReidError(f"action {action.action_idx}: distances.postprocessing.{name}{where} {what}")
