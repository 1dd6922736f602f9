"""Training of one model on the thumbnails of the training split."""

import time
from typing import NamedTuple

import numpy as np
import torch

from reid import compute
from reid.cli import log
from reid.errors import ReidError
from reid.index import column
from reid.losses import BatchLoss
from reid.networks import Embedder
from reid.progress import bar
from reid.samplers import action_batches, identity_batches


class Step(NamedTuple):
    """What one epoch was like: means over its batches; seconds count training alone."""

    losses: dict
    learning_rate: float
    pictures: int
    seconds: float


class People(NamedTuple):
    """Rows to train on, with the person of each as a class from 0 and its action (int64 arrays)."""

    rows: np.ndarray
    person: np.ndarray
    action: np.ndarray


def select_people(table, subset):
    """Rows of the first ``subset`` of the training actions (the dev kit's ``training_subset``).

    Args:
        table: index of the training split.
        subset: share in (0, 1].

    Returns:
        People

    Raises:
        ReidError: there is no action in that share, or the index has no labels.
    """
    action = column(table, "action_idx")
    rows = np.flatnonzero(action < (action.max() + 1) * subset)
    person = column(table, "person_uid")[rows]
    if not len(rows):
        raise ReidError(f"subset: there is no action in the first {subset} of them; make subset larger")
    if person.min() < 0:
        raise ReidError("the index has no labels to train on (the challenge's are hidden)")
    person = np.unique(person, return_inverse=True)[1]
    return People(rows, person, action[rows])


def epoch_batches(people, sampler, rng):
    """Rows of each batch of one epoch, as the model's sampler draws them.

    Returns:
        list of int arrays

    Raises:
        ReidError: there are too few people for one batch.
    """
    if sampler.kind == "identity":
        batches = identity_batches(people.rows, people.person, sampler.people, sampler.images, rng)
    else:
        batches = action_batches(
            people.rows, people.person, people.action, sampler.actions, sampler.people, sampler.images, rng
        )
    if not batches:
        raise ReidError(
            f"sampler: {len(np.unique(people.person))} people in {len(np.unique(people.action))} actions are too few "
            f"for one batch of {sampler}; make the batch smaller or subset larger"
        )
    return batches


def _optimiser(params, parameters):
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[params.kind]
    extra = {"momentum": 0.9} if params.kind == "sgd" else {}
    return kind(parameters, lr=params.learning_rate, weight_decay=params.weight_decay, fused=True, **extra)


def _schedule(params, optimiser, epochs):
    if params.kind == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(epochs, 1))
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, params.milestones, params.gamma)


def train(table, store, params, on_epoch=lambda number, step: None, progress=True):
    """Train one model.

    Args:
        table: index of the training split.
        store: its thumbnails, uint8 N x H x W x 3.
        params: reid.params.Model
        on_epoch: called with the number of each finished epoch, from 0, and its :class:`Step`.
        progress: whether to show a progress bar with the time left.

    Returns:
        Embedder on the CPU; the same inputs and parameters give the same arrays on one machine.

    Raises:
        ReidError: the loss is no longer a number, or there are too few people.
    """
    where = compute.device()
    compute.prepare(params.threads, params.seed)
    dtype = compute.precision(params.precision, where)
    network = Embedder(params.network, (params.input.height, params.input.width))
    people = select_people(table, params.subset)
    person = np.full(len(table), -1)
    person[people.rows] = people.person
    network = network.to(where, memory_format=torch.channels_last)
    criterion = BatchLoss(params.loss, network.width, int(people.person.max()) + 1).to(where)
    optimiser = _optimiser(params.optimiser, [*network.parameters(), *criterion.parameters()])
    schedule = _schedule(params.schedule, optimiser, params.epochs)
    scaler = torch.amp.GradScaler(where.type, enabled=dtype == torch.float16)
    rng = np.random.default_rng(params.seed)
    flips = torch.Generator().manual_seed(params.seed)
    count = sum(parameter.numel() for parameter in network.parameters())
    log.info("%d thumbnails of %d people", len(people.rows), people.person.max() + 1)
    log.info("%s: %d parameters, %s on %s", params.network.backbone, count, str(dtype).removeprefix("torch."), where)

    done = bar(None, "train", "picture", progress)
    for epoch in range(params.epochs):
        batches = epoch_batches(people, params.sampler, rng)
        if done.total is None:
            done.reset(total=params.epochs * sum(map(len, batches)))
        started, sums = time.perf_counter(), {}
        for batch in batches:
            pictures = torch.from_numpy(store[batch]).to(where, non_blocking=True)
            flip = (torch.rand(len(batch), generator=flips) < params.pictures.flip).to(where)
            pictures = torch.where(flip.view(-1, 1, 1, 1), pictures.flip(2), pictures)
            with compute.autocast(dtype, where):
                embeddings = network(network.prepare(pictures))
            losses = criterion(embeddings, torch.from_numpy(person[batch]).to(where))
            optimiser.zero_grad()
            scaler.scale(losses["loss"]).backward()
            scaler.step(optimiser)
            scaler.update()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach()
            done.update(len(batch))
        means = {name: float(value) / len(batches) for name, value in sums.items()}
        if not np.isfinite(means["loss"]):
            raise ReidError(f"epoch {epoch + 1}: the loss is {means['loss']}; lower optimiser.learning_rate")
        step = Step(means, optimiser.param_groups[0]["lr"], sum(map(len, batches)), time.perf_counter() - started)
        done.set_postfix(epoch=f"{epoch + 1}/{params.epochs}", loss=f"{means['loss']:.3f}")
        log.info("epoch %d of %d: loss %.4f", epoch + 1, params.epochs, means["loss"])
        on_epoch(epoch, step)
        schedule.step()
    done.close()
    return network.cpu().eval()
