"""Training of one model on the thumbnails of the training splits."""

import concurrent.futures
import copy
import itertools
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_avg_fn

from reid import compute, optimisers, schedules
from reid.cli import log
from reid.errors import ReidError
from reid.files import replacing
from reid.losses import BatchLoss
from reid.networks import Embedder, set_arrays
from reid.pictures import Augment
from reid.progress import bar
from reid.trainset import epoch_batches


class Step(NamedTuple):
    """What one epoch was like: means over its batches; seconds count training alone, waiting those for pictures.

    ``valid`` is empty in epochs that were not watched; else it holds mAP of the weights, and of the averaged ones.
    """

    losses: dict
    learning_rate: float
    pictures: int
    seconds: float
    waiting: float
    valid: dict


class Trainer:
    """A training under way: the network and all that decides how it goes on.

    Args:
        people: reid.trainset.People
        pictures: reid.trainset.Pictures, to whose rows ``people`` refers.
        params: reid.params.Model
        start: dict of arrays to begin with, by the network's names; None from scratch.
        watcher: reid.watching.Watcher, or None; its decisions are those of ``params.watch``.

    Attributes:
        epoch: number of the present epoch, from 0.
        batch: how many of its batches are done.
        seen: how many pictures were seen in all epochs.
        history: list of Step, one per finished epoch.
        best: dict of the best watched weights (``mAP``, ``epoch`` from 1, ``weights``, ``arrays``), or None.
        cost: reid.networks.Embedder.cost
    """

    def __init__(self, people, pictures, params, start=None, watcher=None):
        self.people, self.params, self.pictures, self.watcher = people, params, pictures, watcher
        self.where = compute.device()
        compute.prepare(params.threads, params.seed)
        self.dtype = compute.precision(params.precision, self.where)
        network = Embedder(params.network, (params.input.height, params.input.width))
        set_arrays(network, start or {})
        self.augment = Augment(params.pictures, network.size)
        if params.pictures.progressive:
            network.try_size(self.augment.size_at(0.0), "pictures.progressive")
        self.cost = network.cost()
        self.network = network.to(self.where, memory_format=torch.channels_last)
        self.features = network.features
        if params.compile:
            self.features = torch.compile(network.features, mode=params.compile)
        of_row = np.full((3, pictures.shape[0]), -1)
        of_row[:, people.rows] = people.person, people.action, people.game
        self.of_row = torch.from_numpy(of_row)
        actions = np.zeros(people.person.max() + 1, np.int64)
        actions[people.person] = people.action
        self.criterion = BatchLoss(params.loss, network.width, torch.from_numpy(actions)).to(self.where)
        self.optimiser = optimisers.make(params.optimiser, network, self.criterion)
        self.trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.scaler = torch.amp.GradScaler(self.where.type, enabled=self.dtype == torch.float16)
        self.average = self._average(params.averaging)
        self.draws = torch.Generator().manual_seed(params.seed)
        self.reader = concurrent.futures.ThreadPoolExecutor(1)
        self.epoch, self.batch, self.seen, self.history = 0, 0, 0, []
        self.sums, self.seconds, self.waiting = {}, 0.0, 0.0
        self.best, self.looks_since_best = None, 0
        self.stopped, self.rate = False, 0.0
        self.draw()

    def _average(self, params):
        if params is None:
            return None
        how = {"avg_fn": get_swa_avg_fn()}
        if params.kind == "ema":
            how = {"multi_avg_fn": get_ema_multi_avg_fn(params.decay)}
        return AveragedModel(self.network, use_buffers=True, **how)

    def draw(self):
        """Draw the batches of the present epoch, and set the backbone free if its time has come."""
        rng = np.random.default_rng([self.params.seed, self.epoch])
        self.batches = epoch_batches(self.people, self.params.sampler, rng)
        self.coming = None
        frozen = self.epoch < self.params.optimiser.frozen_epochs
        self.network.train()
        if self.params.optimiser.frozen_epochs:
            self.network.backbone.requires_grad_(not frozen)
        if frozen:
            self.network.backbone.eval()  # running statistics stay too

    @property
    def progress(self):
        """Share of the training that is done; at 1 it is over."""
        if self.epoch >= self.params.epochs or self.stopped:
            return 1.0
        done = (self.epoch + self.batch / len(self.batches)) / self.params.epochs
        return min(1.0, max(done, self.seen / self.params.budget if self.params.budget else 0.0))

    def _next_pictures(self):
        """Pictures of the present batch; those of the next one are read while this one is trained on."""
        started = time.perf_counter()
        found = (self.coming or self.reader.submit(self.pictures.__getitem__, self.batches[self.batch])).result()
        self.coming = None
        if self.batch + 1 < len(self.batches):
            self.coming = self.reader.submit(self.pictures.__getitem__, self.batches[self.batch + 1])
        self.waiting += time.perf_counter() - started
        found = torch.from_numpy(found)
        return found.pin_memory().to(self.where, non_blocking=True) if self.where.type == "cuda" else found

    def step(self):
        """Train on the next batch.

        Returns:
            int, its number of pictures
        """
        started = time.perf_counter()
        params, rows = self.params, self.batches[self.batch]
        rate = params.optimiser.learning_rate * schedules.factor(params.schedule, self.progress, self.epoch)
        optimisers.set_rate(self.optimiser, rate)
        x = self.network.normalise(self.augment(self._next_pictures(), self.draws, self.progress))
        person, action, game = self.of_row[:, torch.from_numpy(rows)].to(self.where)
        with compute.autocast(self.dtype, self.where):
            embeddings = self.features(x)
        losses = self.criterion(embeddings, person, action, game, self.network.neck(embeddings))
        self.scaler.scale(losses["loss"] / params.optimiser.accumulate).backward()
        self.batch += 1
        self.seen += len(rows)
        if self.batch % params.optimiser.accumulate == 0 or self.batch == len(self.batches) or self.progress >= 1:
            self._update()
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
        self.rate = rate
        self.seconds += time.perf_counter() - started
        return len(rows)

    def _update(self):
        if self.params.optimiser.clip:
            self.scaler.unscale_(self.optimiser)
            torch.nn.utils.clip_grad_norm_(self.trained, self.params.optimiser.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad()
        if self.average and self.params.averaging.kind == "ema":
            self.average.update_parameters(self.network)

    @property
    def epoch_is_over(self):
        return self.batch == len(self.batches) or self.progress >= 1

    def means(self):
        """Mean losses over the batches of the present epoch.

        Raises:
            ReidError: the loss is no longer a number.
        """
        means = {name: float(value) / self.batch for name, value in self.sums.items()}
        if not np.isfinite(means.get("loss", 0)):
            raise ReidError(f"epoch {self.epoch + 1}: the loss is {means['loss']}; lower optimiser.learning_rate")
        return means

    def end_epoch(self):
        """Close the present epoch, look at valid if it is time to, and draw the next epoch.

        Returns:
            Step

        Raises:
            ReidError: the loss is no longer a number.
        """
        means, params = self.means(), self.params
        # the first budget that is used up ends the training: this may be the last epoch, and not a whole one
        over = self.progress >= 1 or self.epoch + 1 == params.epochs
        averaging = params.averaging
        if averaging and averaging.kind == "epochs" and (over or self.epoch + averaging.last >= params.epochs):
            self.average.update_parameters(self.network)
        valid = self._look() if self.watcher and (over or (self.epoch + 1) % params.watch.every == 0) else {}
        count = sum(len(rows) for rows in self.batches[: self.batch])
        self.history.append(Step(means, self.rate, count, self.seconds, self.waiting, valid))
        self.stopped = over or self.stopped
        self.epoch, self.batch, self.sums, self.seconds, self.waiting = self.epoch + 1, 0, {}, 0.0, 0.0
        if not self.stopped:
            self.draw()
        return self.history[-1]

    def _look(self):
        found = {"mAP": self.watcher.score(self.network, self.dtype)}
        if self.average and self.average.n_averaged > 0:
            found["mAP_averaged"] = self.watcher.score(self.average.module, self.dtype)
        which = max(found, key=found.get)
        if self.best is None or found[which] > self.best["mAP"]:
            network = self.network if which == "mAP" else self.average.module
            kind = "raw" if which == "mAP" else "averaged"
            self.best = {"mAP": found[which], "epoch": self.epoch + 1, "weights": kind, "arrays": _arrays(network)}
            self.looks_since_best = 0
        else:
            self.looks_since_best += 1
        patience = self.params.watch.patience
        self.stopped = patience is not None and self.looks_since_best >= patience
        return found

    def last(self):
        """The network as it is at the end: its averaged weights where there are any."""
        return self.average.module if self.average and self.average.n_averaged > 0 else self.network

    def state(self):
        """Everything that :meth:`restore` needs, in types that load without running code."""
        return {
            **{name: getattr(self, name).state_dict() for name in self._stateful()},
            "draws": self.draws.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self.where.type == "cuda" else [],
            **{name: getattr(self, name) for name in _PLAIN},
            "history": [step._asdict() for step in self.history],
        }

    def restore(self, state):
        """Stand where a training of the same parameters stood when it made ``state``."""
        for name in self._stateful():
            getattr(self, name).load_state_dict(state[name])
        for name in _PLAIN:
            setattr(self, name, state[name])
        self.sums = {name: value.to(self.where) for name, value in state["sums"].items()}
        self.history = [Step(**step) for step in state["history"]]
        if not self.stopped:
            self.draw()
        # gradients of an accumulation under way are part of no state: such a state is never kept
        self.draws.set_state(state["draws"])
        torch.set_rng_state(state["torch"])
        if state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])

    def _stateful(self):
        return ("network", "criterion", "optimiser", "scaler", *(("average",) if self.average else ()))

    @property
    def between_updates(self):
        """Whether gradients are under way, which :meth:`state` would lose."""
        return self.batch % self.params.optimiser.accumulate != 0 and self.batch != len(self.batches)


_PLAIN = ("epoch", "batch", "seen", "sums", "seconds", "waiting", "best", "looks_since_best", "stopped", "rate")


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

    def save(self, trainer, finished=()):
        """Keep the state of ``trainer``, and the arrays of trainings of other seeds before it, if it is time to."""
        if time.monotonic() - self.kept >= self.every and not trainer.between_updates:
            trainer.means()  # a training that has diverged is not worth keeping
            with replacing(self.path) as partial:
                state = {"trainer": trainer.state(), "finished": list(finished)}
                torch.save({"identity": self.identity, "state": state}, partial)
            self.kept = time.monotonic()

    def remove(self):
        """Forget the state, once the training has ended and its network is safe."""
        self.path.unlink(missing_ok=True)


class Trained(NamedTuple):
    """What a training ends in: networks on the CPU in evaluation mode, and facts about it.

    ``chosen`` goes on in the pipeline; ``last`` is the end of the training (the same where nothing was chosen).
    """

    chosen: Embedder
    last: Embedder
    summary: dict


def train(
    people,
    pictures,
    params,
    start=None,
    watcher=None,
    on_epoch=lambda number, step: None,
    checkpoint=None,
    progress=True,
):
    """Train one model, with each of its seeds in turn.

    Args:
        people, pictures, params, start, watcher: as for :class:`Trainer`.
        on_epoch: called with the number of each finished epoch, from 0 and through all seeds, and its :class:`Step`;
            also with those that a killed training had finished before.
        checkpoint: :class:`Checkpoint` to go on from and to keep; None for neither.
        progress: whether to show a progress bar with the time left.

    Returns:
        Trained; the same inputs and parameters give the same arrays on one machine, also after kills.

    Raises:
        ReidError: the loss is no longer a number, or there are too few people.
    """
    state = checkpoint.load() if checkpoint else None
    finished = list(state["finished"]) if state else []
    under_way = len(finished) if state else None
    seeds = [params.seed, *(params.soup or [])]
    numbers = itertools.count()

    def report(step):
        on_epoch(next(numbers), step)

    for done in finished:
        for step in done["history"]:
            report(Step(**step))
    for seed in seeds[len(finished) :]:
        trainer = Trainer(people, pictures, params.model_copy(update={"seed": seed}), start, watcher)
        if not finished:
            _describe(trainer)
        if under_way == len(finished):
            trainer.restore(state["trainer"])
            log.info("goes on in epoch %d after %d of its batches", trainer.epoch + 1, trainer.batch)
        for step in trainer.history:
            report(step)
        name = "train" if len(seeds) == 1 else f"train seed {seed}"
        _run(trainer, report, checkpoint, finished, name, progress)
        finished.append(_result(trainer))
    return _finish(trainer, finished, seeds)


def _describe(trainer):
    people, cost, params = trainer.people, trainer.cost, trainer.params
    log.info("%d thumbnails of %d people", len(people.rows), people.person.max() + 1)
    log.info(
        "%s: %.1f million parameters, %.2f GFLOPs a picture, %s on %s",
        params.network.backbone,
        cost["parameters"] / 1e6,
        cost["flops"] / 1e9,
        str(trainer.dtype).removeprefix("torch."),
        trainer.where,
    )


def _run(trainer, report, checkpoint, finished, name, progress):
    """Train to the end; ``report`` is called with the Step of each epoch."""
    params = trainer.params
    total = params.epochs * sum(map(len, trainer.batches))
    with bar(min(total, params.budget or total), name, "picture", progress) as done:
        done.update(trainer.seen)
        while trainer.progress < 1:
            while not trainer.epoch_is_over:
                done.update(trainer.step())
                if checkpoint:
                    checkpoint.save(trainer, finished)
            step = trainer.end_epoch()
            shown = {"loss": f"{step.losses['loss']:.3f}", **{key: f"{v:.4f}" for key, v in step.valid.items()}}
            done.set_postfix(epoch=f"{trainer.epoch}/{params.epochs}", **shown)
            log.info(
                "epoch %d of %d: loss %.4f%s (%.0f pictures a second, %.1f %% of the time waiting for them)",
                trainer.epoch,
                params.epochs,
                step.losses["loss"],
                "".join(f", valid {key} {value:.4f}" for key, value in step.valid.items()),
                step.pictures / step.seconds,
                100 * step.waiting / step.seconds,
            )
            report(step)


def _arrays(network):
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _result(trainer):
    """What is kept of a finished training: types that load without running code."""
    last = _arrays(trainer.last())
    best, choose = trainer.best, trainer.params.watch and trainer.params.watch.choose
    return {
        "last": last,
        "chosen": best["arrays"] if best and choose == "best" else last,
        "best": best and {key: best[key] for key in ("mAP", "epoch", "weights")},
        "pictures": trainer.seen,
        "history": [step._asdict() for step in trainer.history],
    }


def _mean(parts):
    """Mean of arrays by name over several trainings, in float64; counters are those of the first."""
    return {
        name: torch.stack([part[name].double() for part in parts]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in parts[0].items()
    }


def _finish(trainer, finished, seeds):
    params = trainer.params
    networks = []
    for which in ("chosen", "last"):
        network = copy.deepcopy(trainer.network).cpu()
        parts = [done[which] for done in finished]
        set_arrays(network, parts[0] if len(parts) == 1 else _mean(parts))
        networks.append(network.eval())
    summary = {
        "backbone": params.network.backbone,
        **trainer.cost,
        "thumbnails": len(trainer.people.rows),
        "people": int(trainer.people.person.max()) + 1,
        "seeds": [
            {"seed": seed, "pictures": done["pictures"], "best": done["best"]}
            for seed, done in zip(seeds, finished, strict=True)
        ],
    }
    return Trained(*networks, summary)
