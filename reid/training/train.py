"""The training of one model from beginning to end: each of its seeds in turn, and what becomes of them."""

import contextlib
import copy
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from reid.core.cli import log
from reid.core.processes import told_to_end
from reid.core.progress import bar, time_left
from reid.models.checkpoint import set_arrays
from reid.models.embedder import Embedder
from reid.training import ranks
from reid.training.dataset import Identities, Images
from reid.training.resume import TrainingState
from reid.training.trainer import Arrays, EpochStats, Trainer, arrays_of
from reid.training.validation import Validator


class Trained(NamedTuple):
    """What a training ends in: networks on the CPU in evaluation mode, and facts about it.

    ``selected`` is used by the pipeline; ``last`` is the end of the training (the same where none was selected).
    """

    selected: Embedder
    last: Embedder
    summary: dict[str, Any]


def train(
    identities: Identities,
    images: Images,
    params: Any,
    init: Arrays | None = None,
    validator: Validator | None = None,
    on_epoch: Callable[[int, EpochStats], None] = lambda number, epoch: None,
    state: TrainingState | None = None,
    progress: bool = True,
) -> Trained:
    """Train one model, with each of its seeds in turn.

    Args:
        identities, images, params, init, validator: as for :class:`Trainer`.
        on_epoch: called with the number of each finished epoch, from 0 and through all seeds, and its
            :class:`EpochStats`; also with those that a killed training had finished before.
        state: to resume from and to keep, also when SIGTERM or SIGINT comes; None for neither.
        progress: whether to show a progress bar with the time left.

    Where several processes train (reid.training.ranks), all call it; the first one keeps the state.

    Returns:
        Trained; the same inputs and parameters give the same arrays on one machine, also after kills.

    Raises:
        ReidError: the loss is no longer a number, or there are too few identities.
        KeyboardInterrupt: it was told to end, and the state is kept.
    """
    kept = state.load() if state else None
    finished = list(kept["finished"]) if kept else []
    under_way = len(finished) if kept else None
    seeds = [params.seed, *params.soup]
    numbers = itertools.count()

    def report(epoch: EpochStats) -> None:
        on_epoch(next(numbers), epoch)

    for done in finished:
        for epoch in done["history"]:
            report(EpochStats(**epoch))
    trainer = None
    with told_to_end() if state else contextlib.nullcontext(threading.Event()) as told:
        for seed in seeds[len(finished) :]:
            trainer = None  # its memory is for the next one
            trainer = Trainer(identities, images, params.model_copy(update={"seed": seed}), init, validator)
            if not finished:
                _describe(trainer)
            if kept and under_way == len(finished):
                trainer.restore(kept.pop("trainer"))
                log.info("resumes in epoch %d after %d of its batches", trainer.epoch + 1, trainer.batch)
            for epoch in trainer.history:
                report(epoch)
            name = "train" if len(seeds) == 1 else f"train seed {seed}"
            _run(trainer, report, state, finished, name, progress, told)
            finished.append(_result(trainer))
    assert trainer  # a state is of a training under way
    return _finish(trainer, finished, seeds)


def _describe(trainer: Trainer) -> None:
    identities, cost, params = trainer.identities, trainer.cost, trainer.params
    log.info("%d thumbnails of %d identities", len(identities.rows), identities.count)
    log.info(
        "%s: %.1f million parameters, %.2f GFLOPs an image, %s on %s",
        params.network.backbone_name,
        cost["parameters"] / 1e6,
        cost["flops"] / 1e9,
        str(trainer.dtype).removeprefix("torch."),
        trainer.device,
    )


def _run(
    trainer: Trainer,
    report: Callable[[EpochStats], None],
    state: TrainingState | None,
    finished: list[dict[str, Any]],
    name: str,
    progress: bool,
    told: threading.Event,
) -> None:
    """Train to the end; ``report`` is called with the EpochStats of each epoch.

    Raises:
        KeyboardInterrupt: ``told`` was set; the state is kept.
    """
    params = trainer.params
    total = params.epochs * sum(map(len, trainer.batches))
    first = ranks.rank() == 0
    seeds = 1 + len(params.soup)
    begun_at, started = (len(finished) + trainer.progress) / seeds, time.monotonic()
    with bar(min(total, params.max_images or total), name, "image", progress and first, trainer.seen) as done:
        while not trainer.stopped:
            while not trainer.epoch_is_over:
                done.update(trainer.step())
                ends = ranks.agreed(told.is_set())
                if state and first:
                    state.save(trainer, finished, at_once=ends)
                if ends and not trainer.between_updates:
                    log.info("told to end after batch %d of epoch %d: kept", trainer.batch, trainer.epoch + 1)
                    raise KeyboardInterrupt
            epoch = trainer.end_epoch()
            shown = {"loss": f"{epoch.losses['loss']:.3f}", **{key: f"{v:.4f}" for key, v in epoch.valid.items()}}
            done.set_postfix(epoch=f"{trainer.epoch}/{params.epochs}", **shown)
            left = time_left(begun_at, (len(finished) + trainer.progress) / seeds, time.monotonic() - started)
            log.info(
                "epoch %d of %d: loss %.4f%s (%.0f images a second, %.1f %% of the time waiting for them)%s",
                trainer.epoch,
                params.epochs,
                epoch.losses["loss"],
                "".join(f", valid {key} {value:.4f}" for key, value in epoch.valid.items()),
                epoch.images / epoch.seconds,
                100 * epoch.waiting / epoch.seconds,
                left and f", {left}",
            )
            report(epoch)


def _result(trainer: Trainer) -> dict[str, Any]:
    """What is kept of a finished training: types that load without running code."""
    last = arrays_of(trainer.last())
    best, validation = trainer.best, trainer.params.validation
    return {
        "last": last,
        "selected": best["arrays"] if best and validation.select == "best" else last,
        "best": best and {key: best[key] for key in ("mAP", "epoch", "weights")},
        "images": trainer.seen,
        "history": [epoch._asdict() for epoch in trainer.history],
    }


def soup(ingredients: list[Arrays]) -> Arrays:
    """Mean of arrays by name over several trainings (Wortsman 2022), in float64; counters are those of the first."""
    return {
        name: torch.stack([arrays[name].double() for arrays in ingredients]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in ingredients[0].items()
    }


def _finish(trainer: Trainer, finished: list[dict[str, Any]], seeds: list[int]) -> Trained:
    networks = []
    for which in ("selected", "last"):
        network = copy.deepcopy(trainer.network)
        ingredients = [done[which] for done in finished]
        if len(ingredients) == 1:
            set_arrays(network, ingredients[0])
        else:
            set_arrays(network, soup(ingredients))
            network = trainer.precise(network)
        networks.append(network.cpu().eval())
    of_seeds = [
        {"seed": seed, "images": done["images"], "best": done["best"]}
        for seed, done in zip(seeds, finished, strict=True)
    ]
    identities = trainer.identities
    about = summary(trainer.params, trainer.cost, len(identities.rows), identities.count, of_seeds)
    return Trained(networks[0], networks[1], about)


def summary(
    params: Any, cost: dict[str, int], thumbnails: int, identities: int, seeds: list[dict[str, Any]]
) -> dict[str, Any]:
    """Facts about a model: what it is, what it costs, what it was trained on, and how each of its seeds went."""
    of_data = {"thumbnails": thumbnails, "identities": identities}
    return {"backbone": params.network.backbone_name, **cost, **of_data, "seeds": seeds}
