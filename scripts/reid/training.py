"""Training of one model on the thumbnails of the training split."""

import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from reid import compute
from reid.cli import log
from reid.errors import ReidError
from reid.files import replacing
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


class Trainer:
    """A training under way: the network and all that decides how it goes on.

    Args:
        table: index of the training split.
        store: its thumbnails, uint8 N x H x W x 3.
        params: reid.params.Model

    Attributes:
        epoch: number of the present epoch, from 0.
        batch: how many of its batches are done.
        history: list of Step, one per finished epoch.
    """

    def __init__(self, table, store, params):
        self.params, self.store, self.where = params, store, compute.device()
        compute.prepare(params.threads, params.seed)
        self.dtype = compute.precision(params.precision, self.where)
        network = Embedder(params.network, (params.input.height, params.input.width))
        self.people = select_people(table, params.subset)
        self.person = np.full(len(table), -1)
        self.person[self.people.rows] = self.people.person
        classes = int(self.people.person.max()) + 1
        self.network = network.to(self.where, memory_format=torch.channels_last)
        self.criterion = BatchLoss(params.loss, network.width, classes).to(self.where)
        self.optimiser = _optimiser(params.optimiser, [*network.parameters(), *self.criterion.parameters()])
        self.schedule = _schedule(params.schedule, self.optimiser, params.epochs)
        self.scaler = torch.amp.GradScaler(self.where.type, enabled=self.dtype == torch.float16)
        self.rng = np.random.default_rng(params.seed)
        self.flips = torch.Generator().manual_seed(params.seed)
        self.epoch, self.batch, self.sums, self.seconds, self.history = 0, 0, {}, 0.0, []
        self.draw()
        count = sum(parameter.numel() for parameter in network.parameters())
        name = str(self.dtype).removeprefix("torch.")
        log.info("%d thumbnails of %d people", len(self.people.rows), classes)
        log.info("%s: %d parameters, %s on %s", params.network.backbone, count, name, self.where)

    def draw(self):
        """Draw the batches of the present epoch."""
        self.drawn_from = self.rng.bit_generator.state  # so that a restored training draws them again
        self.batches = epoch_batches(self.people, self.params.sampler, self.rng)

    def step(self):
        """Train on the next batch.

        Returns:
            int, its number of pictures
        """
        started = time.perf_counter()
        rows = self.batches[self.batch]
        pictures = torch.from_numpy(self.store[rows]).to(self.where, non_blocking=True)
        flip = (torch.rand(len(rows), generator=self.flips) < self.params.pictures.flip).to(self.where)
        pictures = torch.where(flip.view(-1, 1, 1, 1), pictures.flip(2), pictures)
        with compute.autocast(self.dtype, self.where):
            embeddings = self.network(self.network.prepare(pictures))
        losses = self.criterion(embeddings, torch.from_numpy(self.person[rows]).to(self.where))
        self.optimiser.zero_grad()
        self.scaler.scale(losses["loss"]).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
        self.batch += 1
        self.seconds += time.perf_counter() - started
        return len(rows)

    def end_epoch(self):
        """Close the present epoch and draw the next one.

        Returns:
            Step

        Raises:
            ReidError: the loss is no longer a number.
        """
        means = {name: float(value) / len(self.batches) for name, value in self.sums.items()}
        if not np.isfinite(means["loss"]):
            raise ReidError(f"epoch {self.epoch + 1}: the loss is {means['loss']}; lower optimiser.learning_rate")
        rate = self.optimiser.param_groups[0]["lr"]
        self.history.append(Step(means, rate, sum(map(len, self.batches)), self.seconds))
        with warnings.catch_warnings():
            # a training that was restored at the end of an epoch has not stepped in this process
            warnings.filterwarnings("ignore", "Detected call of .lr_scheduler.step")
            self.schedule.step()
        self.epoch, self.batch, self.sums, self.seconds = self.epoch + 1, 0, {}, 0.0
        self.draw()
        return self.history[-1]

    def state(self):
        """Everything that :meth:`restore` needs, in types that load without running code."""
        return {
            **{name: getattr(self, name).state_dict() for name in _STATEFUL},
            "drawn_from": self.drawn_from,
            "flips": self.flips.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self.where.type == "cuda" else [],
            **{name: getattr(self, name) for name in ("epoch", "batch", "sums", "seconds")},
            "history": [step._asdict() for step in self.history],
        }

    def restore(self, state):
        """Stand where a training of the same parameters stood when it made ``state``."""
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.rng.bit_generator.state = state["drawn_from"]
        self.draw()
        self.flips.set_state(state["flips"])
        torch.set_rng_state(state["torch"])
        if state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])
        self.epoch, self.batch, self.seconds = state["epoch"], state["batch"], state["seconds"]
        self.sums = {name: value.to(self.where) for name, value in state["sums"].items()}
        self.history = [Step(**step) for step in state["history"]]


_STATEFUL = ("network", "criterion", "optimiser", "schedule", "scaler")


class Checkpoint:
    """Where a training stands, kept on disk from time to time, so that a killed one goes on.

    Args:
        path: the file.
        identity: str; a file of another identity (other parameters, code or data) is not picked up.
        every: seconds between two times; when it is kept does not change what the training ends in.
    """

    def __init__(self, path, identity, every=60.0):
        self.path, self.identity, self.every = Path(path), identity, every
        self.kept = time.monotonic()

    def load(self):
        """The state of :meth:`save`, or None if there is none of this identity."""
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:  # the reader raises a dozen kinds; a new start is always right
            log.info("%s: cannot be read (%s), the training starts anew", self.path, error)
            return None
        if found["identity"] != self.identity:
            log.info("%s: is of other parameters, code or data, the training starts anew", self.path)
            return None
        return found["state"]

    def save(self, trainer):
        """Keep the state of ``trainer`` if it is time to."""
        if time.monotonic() - self.kept >= self.every:
            with replacing(self.path) as partial:
                torch.save({"identity": self.identity, "state": trainer.state()}, partial)
            self.kept = time.monotonic()

    def remove(self):
        """Forget the state, once the training has ended and its network is safe."""
        self.path.unlink(missing_ok=True)


def train(table, store, params, on_epoch=lambda number, step: None, checkpoint=None, progress=True):
    """Train one model.

    Args:
        table: index of the training split.
        store: its thumbnails, uint8 N x H x W x 3.
        params: reid.params.Model
        on_epoch: called with the number of each finished epoch, from 0, and its :class:`Step`; also with those that
            a killed training had finished before.
        checkpoint: :class:`Checkpoint` to go on from and to keep; None for neither.
        progress: whether to show a progress bar with the time left.

    Returns:
        Embedder on the CPU; the same inputs and parameters give the same arrays on one machine, also after kills.

    Raises:
        ReidError: the loss is no longer a number, or there are too few people.
    """
    trainer = Trainer(table, store, params)
    if checkpoint and (state := checkpoint.load()):
        trainer.restore(state)
        log.info("goes on in epoch %d after %d of its batches", trainer.epoch + 1, trainer.batch)
    for number, step in enumerate(trainer.history):
        on_epoch(number, step)
    sizes = [len(rows) for rows in trainer.batches]
    with bar(params.epochs * sum(sizes), "train", "picture", progress) as done:
        done.update(trainer.epoch * sum(sizes) + sum(sizes[: trainer.batch]))
        while trainer.epoch < params.epochs:
            while trainer.batch < len(trainer.batches):
                done.update(trainer.step())
                if checkpoint:
                    checkpoint.save(trainer)
            step = trainer.end_epoch()
            done.set_postfix(epoch=f"{trainer.epoch}/{params.epochs}", loss=f"{step.losses['loss']:.3f}")
            log.info("epoch %d of %d: loss %.4f", trainer.epoch, params.epochs, step.losses["loss"])
            on_epoch(trainer.epoch - 1, step)
    return trainer.network.cpu().eval()
