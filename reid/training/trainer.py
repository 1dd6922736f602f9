"""A training under way: one network, step by step and epoch by epoch."""

import copy
import re
import time
from typing import Any, NamedTuple

import numpy as np
import torch

from reid.core.errors import ReidError
from reid.models import device
from reid.models.checkpoint import set_arrays
from reid.models.embedder import Embedder
from reid.models.initialisation import initialise
from reid.models.recomputation import batch_norms
from reid.params import extensions
from reid.params.model import MovingAverage
from reid.params.registries import LOSSES, OPTIMIZERS
from reid.training import gradients, optimizers, ranks, schedules
from reid.training.augmentation import Augment
from reid.training.averaging import average_of
from reid.training.dataset import Identities, Images
from reid.training.feed import Feed, Order
from reid.training.lookahead import Lookahead
from reid.training.losses import BatchLoss
from reid.training.precise_bn import precise, sample
from reid.training.samplers import epoch_batches
from reid.training.validation import Validator


class EpochStats(NamedTuple):
    """What one epoch was like: means over its batches; seconds count training alone, waiting those for images.

    ``valid`` is empty in epochs without an evaluation; else it holds mAP of the weights, and of the averaged ones.
    """

    losses: dict[str, float]
    learning_rate: float
    images: int
    seconds: float
    waiting: float
    valid: dict[str, float]


Arrays = dict[str, torch.Tensor]


class Trainer:
    """A training under way: the network and all that decides how it goes on.

    Args:
        identities: what to train on.
        images: their stores, to whose rows ``identities`` refers.
        params: reid.params.model.Model
        init: arrays to begin with, by the network's names; None from scratch.
        validator: evaluates on valid when ``params.validation`` says so; None for never.

    Attributes:
        epoch: number of the present epoch, from 0.
        batch: how many of its batches are done.
        seen: how many images were seen in all epochs.
        history: list of EpochStats, one per finished epoch.
        best: dict of the best evaluation (``mAP``, ``epoch`` from 1, ``weights``, ``arrays``), or None.
        cost: reid.models.embedder.Embedder.cost
    """

    def __init__(
        self,
        identities: Identities,
        images: Images,
        params: Any,
        init: Arrays | None = None,
        validator: Validator | None = None,
    ) -> None:
        self.identities, self.params, self.images, self.validator = identities, params, images, validator
        self.device = device.device()
        ranks.join(self.device)
        device.prepare(params.threads, params.seed)
        self.dtype = device.precision(params.precision, self.device)
        network = Embedder(params.network, (params.input.height, params.input.width))
        if params.network.init:
            initialise(network, params.network.init, images, identities.rows, params.seed)
        set_arrays(network, init or {})
        self.augment = Augment(params.augmentation, network.size)
        if params.augmentation.progressive_resizing:
            network.try_size(self.augment.size_at(0.0), "augmentation.progressive_resizing")
        self._check(network)
        self.measured = sample(identities.rows, params.precise_bn, params.seed) if params.precise_bn else []
        self.cost = network.cost()
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        # a BNNeck sees the whole batch in every process
        ranks.share_statistics(network, "backbone", "pool", "projection")
        self.features = network.features
        self.criterion = BatchLoss(params.loss, network.width, _action_of(identities)).to(self.device)
        self._check_frozen()
        self.optimizer = optimizers.make(params.optimizer, network, self.criterion)
        self.trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.average = average_of(self.network, params.averaging)
        generator = torch.Generator().manual_seed(params.seed)
        self.feed = Feed(
            images,
            _labels(identities, images.shape[0]),
            self.augment,
            network.normalise,
            generator,
            params.batch_multiple,
            self.device,
        )
        self.epoch, self.batch, self.seen = 0, 0, 0
        self.history: list[EpochStats] = []
        self.sums: Arrays = {}
        self.seconds = 0.0
        self.best: dict[str, Any] | None = None
        self.evaluations_since_best = 0
        self.stopped, self.rate = params.epochs == 0, 0.0
        self.start_epoch()
        strict = not _repeats_by_itself(self.device) and device.strict_where_possible(self._try_a_step)
        if params.compile:
            torch.use_deterministic_algorithms(True, warn_only=not strict)  # of the compiler too
            self.features = torch.compile(network.features, mode=params.compile)

    def _check(self, network: Embedder) -> None:
        """Refuse parameters that do not go with this network."""
        params, name = self.params, self.params.network.backbone_name
        if params.chunk and network.batch_normalised:
            raise ReidError(
                f"chunk: cannot go with {' and '.join(network.batch_normalised)}, whose batch norms need the whole "
                "batch; use network.checkpointing instead"
            )
        if params.compile and params.network.checkpointing and batch_norms(network.backbone):
            raise ReidError(
                f"network.checkpointing: cannot go with compile for {name}, which has batch norms; leave one out"
            )
        if params.precise_bn and not batch_norms(network):
            raise ReidError(f"precise_bn: {name} has no batch norms; leave it out")

    def _check_frozen(self) -> None:
        """Refuse to freeze the backbone where no loss depends on parameters outside of it."""
        if not self.params.optimizer.frozen_epochs:
            return
        parts = (self.network.pool, self.network.projection, self.criterion)
        if not any(parameter.requires_grad for part in parts for parameter in part.parameters()):
            raise ReidError(
                "optimizer.frozen_epochs: nothing is trained while the backbone is frozen, for there is neither a "
                "projection nor a loss with weights of its own; set it to 0"
            )

    def _try_a_step(self) -> None:
        """Go forth and back with a batch of no colour, through copies: nothing of this training changes."""
        rows = self.batches[0]
        labels = torch.from_numpy(self.feed.labels[:, rows]).to(self.device)
        network, criterion = copy.deepcopy((self.network, self.criterion))
        network.train().requires_grad_()  # also what is frozen now
        filled = len(rows) + -len(rows) % self.params.batch_multiple  # or kernels are chosen for one more size
        own = range(filled)[ranks.share(filled)][: self.params.chunk]
        x = torch.zeros(max(1, len(own)), 3, *network.size, device=self.device)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            with network.named(), device.autocast(self.dtype, self.device):
                embeddings = network.features(x.to(memory_format=torch.channels_last))
            # what follows sees the whole batch
            embeddings = embeddings.repeat(-(-len(rows) // len(x)), 1)[: len(rows)]
            criterion(embeddings, *labels, network.bnneck(embeddings))["loss"].backward()

    @property
    def averaged(self) -> Embedder | None:
        """The network with averaged weights; None before the first average, and without averaging."""
        if self.average is None or self.average.n_averaged == 0:
            return None
        network: Any = self.average.module
        return network

    def start_epoch(self) -> None:
        """Draw the batches of the present epoch, and set the backbone free if its time has come."""
        rng = np.random.default_rng([self.params.seed, self.epoch])
        self.batches = epoch_batches(self.identities, self.params.sampler, rng)
        self.feed.restart()
        frozen = self.epoch < self.params.optimizer.frozen_epochs
        self.network.train()
        if self.params.optimizer.frozen_epochs:
            self.network.backbone.requires_grad_(not frozen)
        if frozen:
            self.network.backbone.eval()  # running statistics stay too

    def _progress_at(self, batch: int, seen: int) -> float:
        done = (self.epoch + batch / len(self.batches)) / self.params.epochs
        return min(1.0, max(done, seen / self.params.max_images if self.params.max_images else 0.0))

    @property
    def progress(self) -> float:
        """Share of the training that is done; at 1 it is over."""
        return 1.0 if self.stopped else self._progress_at(self.batch, self.seen)

    def _orders(self) -> tuple[Order, Order | None]:
        """The batch to train on, and the one after it, if there is one in this epoch."""
        rows = self.batches[self.batch]
        order, after = Order(rows, self.progress), self._progress_at(self.batch + 1, self.seen + len(rows))
        if self.batch + 1 == len(self.batches) or after >= 1:
            return order, None
        return order, Order(self.batches[self.batch + 1], after)

    def step(self) -> int:
        """Train on the next batch.

        Returns:
            its number of images
        """
        started = time.perf_counter()
        params = self.params
        order, following = self._orders()
        rate = params.optimizer.learning_rate * schedules.factor(params.schedule, self.progress, self.epoch)
        optimizers.set_rate(self.optimizer, rate)
        x, labels = self.feed.get(order, following)
        ranks.reseed(params.seed, self.epoch, self.batch)
        gradients.backward(
            self._embed,
            x,
            lambda embeddings: self._backward(embeddings, labels),
            len(order.rows),
            params.chunk,
        )
        self.batch += 1
        self.seen += len(order.rows)
        if not self.between_updates:
            self._update()
        self.rate = rate
        self.seconds += time.perf_counter() - started
        return len(order.rows)

    def _embed(self, x: torch.Tensor) -> torch.Tensor:
        with self.network.named():
            try:
                with device.autocast(self.dtype, self.device):
                    embeddings: torch.Tensor = self.features(x)
            except Exception as error:
                if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                    raise
                reason = str(error).strip().partition("\n")[0]
                advice = "leave it out" + (", or install a C++ compiler" if _COMPILER.search(reason) else "")
                raise ReidError(
                    f"compile: PyTorch cannot compile {self.params.network.backbone_name} here ({reason}); {advice}"
                ) from error
        return embeddings

    def _backward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        losses = self.criterion(embeddings, *labels, self.network.bnneck(embeddings))
        self.scaler.scale(losses["loss"] / self._batches_of_update()).backward()
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()

    def _batches_of_update(self) -> int:
        """How many batches the present update is the mean of: at the end of an epoch or of the training fewer."""
        most = self.params.optimizer.accumulation
        done = self.batch % most
        seen = self.seen - sum(map(len, self.batches[self.batch - done : self.batch]))
        for count, rows in enumerate(self.batches[self.batch - done :][:most], 1):
            seen += len(rows)
            if self._progress_at(self.batch - done + count, seen) >= 1:
                break
        return count

    def _update(self) -> None:
        ranks.mean_gradients(self.trained)
        if self.params.optimizer.clip_norm:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.trained, self.params.optimizer.clip_norm)
        kind = self.params.optimizer.kind
        with extensions.named(OPTIMIZERS.builder(kind), f"optimizer: {kind}"):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.average and isinstance(self.params.averaging, MovingAverage):
            self.average.update_parameters(self.network)

    @property
    def epoch_is_over(self) -> bool:
        return self.batch == len(self.batches) or self.progress >= 1

    def means(self) -> dict[str, float]:
        """Mean losses over the batches of the present epoch.

        Raises:
            ReidError: the loss is no longer a number; names the losses that are not, and extensions at work there.
        """
        means = {name: float(value) / self.batch for name, value in self.sums.items()}
        if not np.isfinite(means.get("loss", 0)):
            raise ReidError(f"epoch {self.epoch + 1}: the loss is {means['loss']}{self._cause(means)}")
        return means

    def _cause(self, means: dict[str, float]) -> str:
        """Which losses are no number, and what can be done about it."""
        wrong = [name for name in self.criterion.losses if not np.isfinite(means[name])]
        builders = [*(LOSSES.builder(name) for name in wrong), *self.network.builders]
        files = "".join(dict.fromkeys(map(extensions.source, builders)))
        causes = f" ({', '.join(f'loss.{name}' for name in wrong)})" if wrong else ""
        return f"{causes}; lower optimizer.learning_rate{f', or correct the extension{files}' if files else ''}"

    def end_epoch(self) -> EpochStats:
        """Close the present epoch, evaluate on valid if it is time to, and start the next epoch.

        Raises:
            ReidError: the loss is no longer a number.
        """
        means, params = self.means(), self.params
        # the first limit that is reached ends the training: this may be the last epoch, and not a whole one
        over = self.progress >= 1 or self.epoch + 1 == params.epochs
        averaging = params.averaging
        by_epochs = self.average is not None and not isinstance(averaging, MovingAverage)
        if self.average and by_epochs and (over or self.epoch + averaging.last >= params.epochs):
            self.average.update_parameters(self._present())
        due = self.validator and (over or (self.epoch + 1) % params.validation.every == 0)
        valid = self._evaluate() if due else {}
        count = sum(len(rows) for rows in self.batches[: self.batch])
        self.history.append(EpochStats(means, self.rate, count, self.seconds, self.feed.waiting, valid))
        self.stopped = over or self.stopped
        self.epoch, self.batch, self.sums, self.seconds, self.feed.waiting = self.epoch + 1, 0, {}, 0.0, 0.0
        if not self.stopped:
            self.start_epoch()
        return self.history[-1]

    def _evaluate(self) -> dict[str, float]:
        assert self.validator
        networks = {"mAP": self.precise(self._present())}
        if self.averaged:
            networks["mAP_averaged"] = self.precise(self.averaged)
        scores = {name: self.validator.score(network, self.dtype) for name, network in networks.items()}
        which = max(scores, key=scores.__getitem__)
        if self.best is None or scores[which] > self.best["mAP"]:
            best = {"mAP": scores[which], "epoch": self.epoch + 1, "weights": "raw" if which == "mAP" else "averaged"}
            self.best = {**best, "arrays": arrays_of(networks[which])}
            self.evaluations_since_best = 0
        else:
            self.evaluations_since_best += 1
        patience = self.params.validation.patience
        # of several processes one alone could find the last digit of a score another
        self.stopped = ranks.agreed(patience is not None and self.evaluations_since_best >= patience)
        return scores

    def precise(self, network: Embedder) -> Embedder:
        """A network of this training as it is used: with other statistics if ``params.precise_bn`` says so."""
        return precise(network, self.images, self.measured, self.dtype) if self.measured else network

    def last(self) -> Embedder:
        """The network as it is at the end: its averaged weights where there are any."""
        return self.precise(self.averaged or self._present())

    def _present(self) -> Embedder:
        """The network with the weights that a training would end in now: of a Lookahead the slow ones, in a copy."""
        if not isinstance(self.optimizer, Lookahead):
            return self.network
        with self.optimizer.round_ended():
            return copy.deepcopy(self.network)

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs, in types that load without running code."""
        return {
            **{name: getattr(self, name).state_dict() for name in self._stateful()},
            "generator": self.feed.state(),
            "waiting": self.feed.waiting,
            "torch": torch.get_rng_state(),
            # of this process's device alone: a resumed training may have another one
            "cuda": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            **{name: getattr(self, name) for name in _PLAIN},
            "history": [epoch._asdict() for epoch in self.history],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resume where a training of the same parameters was when it made ``state``."""
        for name in self._stateful():
            getattr(self, name).load_state_dict(state[name])
        for name in _PLAIN:
            setattr(self, name, state[name])
        self.sums = {name: value.to(self.device) for name, value in state["sums"].items()}
        self.history = [EpochStats(**epoch) for epoch in state["history"]]
        if not self.stopped:
            self.start_epoch()
        # gradients of an accumulation under way are part of no state: such a state is never kept
        self.feed.restart(state["generator"])
        self.feed.waiting = state["waiting"]
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"])

    def _stateful(self) -> tuple[str, ...]:
        return ("network", "criterion", "optimizer", "scaler", *(("average",) if self.average else ()))

    @property
    def between_updates(self) -> bool:
        """Whether gradients are under way, which :meth:`state` would lose."""
        return self.batch % self.params.optimizer.accumulation != 0 and not self.epoch_is_over


_PLAIN = ("epoch", "batch", "seen", "sums", "seconds", "best", "evaluations_since_best", "stopped", "rate")
_COMPILER = re.compile(r"C(\+\+)? compiler|CxxCompiler")  # torch.compile names one that it does not find


def _repeats_by_itself(where: torch.device) -> bool:
    """Whether all operations give the same bytes twice, whatever PyTorch is told."""
    return where.type == "cpu"


def _action_of(identities: Identities) -> np.ndarray:
    """The action of each identity: int64, as many as there are."""
    action = np.zeros(identities.count, np.int64)
    action[identities.identity] = identities.action
    return action


def _labels(identities: Identities, rows: int) -> np.ndarray:
    """Identity, action and game of each row of the stores: int64, 3 x ``rows``; -1 where it is not trained on."""
    labels = np.full((3, rows), -1)
    labels[:, identities.rows] = identities.identity, identities.action, identities.game
    return labels


def arrays_of(network: torch.nn.Module) -> Arrays:
    """Copies of a network's arrays by name, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
