"""Training losses over a batch of embeddings, each by its name, and their weighted sum.

Nothing in them waits for the device: see reid.training.pair_losses and reid.training.id_losses for what they compute.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from reid.core.errors import ReidError
from reid.models.device import at_least_float32
from reid.params import extensions
from reid.params import loss as declared
from reid.params.registries import LOSSES
from reid.params.schema import parts
from reid.training import id_losses, pair_losses
from reid.training.memory import Memory
from reid.training.pair_losses import mean_over, pair_masks


class Batch(NamedTuple):
    """What a loss is computed from: B images of a batch, their embeddings and who belongs to whom.

    ``embeddings`` and ``bnneck`` (the same after the BNNeck) are float, B x D; ``identity``, ``action`` and ``game``
    int64, B, numbers that are unique over all splits trained on. ``references``, float, M x D, are what images are
    compared with: the same embeddings, and with ``loss.memory`` those of earlier batches after them, without gradient.
    ``positive`` and ``negative`` are bool, B x M, of :func:`reid.training.pair_losses.pair_masks`: row = anchor. An
    anchor is an image with a positive.
    """

    embeddings: torch.Tensor
    bnneck: torch.Tensor
    identity: torch.Tensor
    action: torch.Tensor
    game: torch.Tensor
    references: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor

    def similarity(self) -> torch.Tensor:
        """Cosine of each image and each of the references: float, B x M."""
        return functional.normalize(self.embeddings) @ functional.normalize(self.references).T

    def distance(self) -> torch.Tensor:
        """Euclidean distance of each image and each of the references: float, B x M."""
        return torch.cdist(self.embeddings, self.references)


class Setting(NamedTuple):
    """What a loss is built for: D, the components of an embedding, and each training identity's action (int64)."""

    width: int
    identity_action: torch.Tensor


class _OverPairs(nn.Module):
    """A loss without parameters of its own."""

    def __init__(self, loss: Callable[[Batch], torch.Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.loss(batch)


class _Contrast(nn.Module):
    """A softmax over similarities, whose temperature may be learned."""

    def __init__(self, loss: Callable[..., torch.Tensor], params: declared.Contrast) -> None:
        super().__init__()
        self.loss, self.temperature, self.smoothing = loss, params.temperature, params.label_smoothing
        self.log_temperature: nn.Parameter | None = None
        if params.learn_temperature:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(params.temperature)))

    def forward(self, batch: Batch) -> torch.Tensor:
        temperature: Any = self.temperature
        if self.log_temperature is not None:
            with torch.no_grad():
                self.log_temperature.clamp_(min=math.log(declared.LEAST_LEARNED))
            temperature = self.log_temperature.exp()
        return self.loss(batch.similarity(), batch.positive, batch.negative, temperature, self.smoothing)


@LOSSES.implement("supcon")
def _supcon(params: declared.SupCon, setting: Setting) -> nn.Module:
    return _Contrast(pair_losses.supcon, params)


@LOSSES.implement("ntxent")
def _ntxent(params: declared.NTXent, setting: Setting) -> nn.Module:
    return _Contrast(pair_losses.ntxent, params)


@LOSSES.implement("info_nce")
def _info_nce(params: declared.InfoNCE, setting: Setting) -> nn.Module:
    return _Contrast(pair_losses.info_nce, params)


@LOSSES.implement("multi_similarity")
def _multi_similarity(params: declared.MultiSimilarity, setting: Setting) -> nn.Module:
    def loss(batch: Batch) -> torch.Tensor:
        similarity, pairs = batch.similarity(), (batch.positive, batch.negative)
        if params.epsilon is not None:
            pairs = pair_losses.mined_pairs(similarity, *pairs, params.epsilon)
        of_images = pair_losses.multi_similarity(similarity, *pairs, params.alpha, params.beta, params.base)
        return mean_over(of_images, batch.positive.any(1))

    return _OverPairs(loss)


@LOSSES.implement("circle")
def _circle(params: declared.Circle, setting: Setting) -> nn.Module:
    def loss(batch: Batch) -> torch.Tensor:
        return pair_losses.circle(batch.similarity(), batch.positive, batch.negative, params.margin, params.gamma)

    return _OverPairs(loss)


@LOSSES.implement("triplet")
def _triplet(params: declared.Triplet, setting: Setting) -> nn.Module:
    of_mining = {
        "hard": pair_losses.hardest_triplets,
        "semi_hard": pair_losses.semi_hard_triplets,
        "all": pair_losses.all_triplets,
    }[params.mining]

    def loss(batch: Batch) -> torch.Tensor:
        return of_mining(batch.distance(), batch.positive, batch.negative, params.margin)

    return _OverPairs(loss)


@LOSSES.implement("contrastive")
def _contrastive(params: declared.Contrastive, setting: Setting) -> nn.Module:
    def loss(batch: Batch) -> torch.Tensor:
        distance = torch.cdist(functional.normalize(batch.embeddings), functional.normalize(batch.references))
        margins = params.margin, params.positive_margin
        return pair_losses.contrastive(distance, batch.positive, batch.negative, *margins)

    return _OverPairs(loss)


@LOSSES.implement("centroid")
def _centroid(params: declared.Centroid, setting: Setting) -> nn.Module:
    def loss(batch: Batch) -> torch.Tensor:
        return pair_losses.centroid(batch.embeddings, batch.positive, batch.negative, params.temperature)

    return _OverPairs(loss)


@LOSSES.implement("id")
class _Id(nn.Module):
    table: torch.Tensor
    count: torch.Tensor

    def __init__(self, params: declared.Id, setting: Setting) -> None:
        super().__init__()
        self.over, self.smoothing = params.over, params.label_smoothing
        table, count = id_losses.rivals(setting.identity_action)
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("count", count, persistent=False)
        self.classifier = nn.Linear(setting.width, len(setting.identity_action))
        nn.init.normal_(self.classifier.weight, 0, 0.01)  # as the kit does
        nn.init.zeros_(self.classifier.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        if self.over == "action":
            of_batch = batch.identity, batch.action
            return id_losses.id_loss_in_action(
                batch.bnneck, self.classifier, *of_batch, self.table, self.count, self.smoothing
            )
        logits = self.classifier(batch.bnneck)
        return functional.cross_entropy(logits, batch.identity, label_smoothing=self.smoothing)


@LOSSES.implement("arcface")
class _ArcFace(nn.Module):
    def __init__(self, params: declared.ArcFace, setting: Setting) -> None:
        super().__init__()
        self.scale, self.margin = params.scale, params.margin
        self.weight = nn.Parameter(torch.empty(len(setting.identity_action), setting.width))
        nn.init.normal_(self.weight, 0, 0.01)

    def forward(self, batch: Batch) -> torch.Tensor:
        return id_losses.arcface(batch.bnneck, self.weight, batch.identity, self.scale, self.margin)


class BatchLoss(nn.Module):
    """The weighted sum of the losses that a model's parameters name.

    An anchor is an image with a positive, which is another image of its identity in the batch, or of earlier ones with
    ``params.memory``; who is a negative of whom is chosen by ``params.negatives``
    (:func:`reid.training.pair_losses.pair_masks`). A batch without anchors gives 0 that can be trained on, for all
    losses but ``id`` and ``arcface``.

    - On cosine similarities: ``supcon``, ``ntxent``, ``info_nce``, ``multi_similarity`` (mean over anchors, with or
      without negatives, and whether or not pairs of theirs are mined), ``circle``, ``centroid``.
    - On Euclidean distances: ``triplet``, and of embeddings of length 1 ``contrastive``.
    - ``id``: label-smoothed cross entropy over all training identities (Szegedy et al. 2016, the dev kit's
      CrossEntropyLoss), or over those of the image's action (:func:`reid.training.id_losses.id_loss_in_action`);
      ``arcface``.

    Args:
        params: which losses, with which weights.
        width: components of an embedding.
        identity_action: int64 array or tensor, the action of each identity of the training set.
    """

    def __init__(self, params: declared.Loss, width: int, identity_action: Any) -> None:
        super().__init__()
        chosen = parts(params, LOSSES)
        setting = Setting(width, torch.as_tensor(identity_action))
        self.params = params
        self.weights = {name: part.weight for name, part in chosen.items()}
        self.losses = nn.ModuleDict()
        for name, part in chosen.items():
            builder = LOSSES.builder(name)
            with extensions.named(builder, f"loss.{name}"):
                self.losses[name] = builder(part, setting)
        self.memory = Memory(params.memory.size, params.memory.start, width) if params.memory else None

    def forward(
        self,
        embeddings: torch.Tensor,
        identity: torch.Tensor,
        action: torch.Tensor,
        game: torch.Tensor,
        bnneck: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Loss of one batch, computed in float32 (in float64 where the embeddings are), under autocast too.

        Args:
            embeddings: float, B x D.
            identity: int64, B; from 0, another one for each (split, action, person).
            action, game: int64, B; see :func:`reid.training.pair_losses.pair_masks`.
            bnneck: float, B x D, embeddings after the BNNeck, for the id loss; None for ``embeddings``.

        Returns:
            ``"loss"``, the sum (scalar), and each named loss without its weight

        Raises:
            ReidError: the loss of an extension fails or is no scalar.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            after = at_least_float32(embeddings if bnneck is None else bnneck)
            embeddings = at_least_float32(embeddings)
            references, labels, own = embeddings, None, torch.stack([identity, action, game])
            if self.memory:
                references, labels = self.memory.beside(embeddings, own)
            pairs = pair_masks(identity, action, game, self.params.negatives, labels)
            batch = Batch(embeddings, after, identity, action, game, references, *pairs)
            values = {name: self._value(name, batch) for name in self.losses}
            if self.memory:
                self.memory.add(embeddings, own)
            total = sum(self.weights[name] * value for name, value in values.items())
        return {**values, "loss": total}

    def _value(self, name: str, batch: Batch) -> torch.Tensor:
        builder = LOSSES.builder(name)
        with extensions.named(builder, f"loss.{name}"):
            value: Any = self.losses[name](batch)
        if not isinstance(value, torch.Tensor) or value.ndim or not value.is_floating_point():
            tensor = isinstance(value, torch.Tensor)
            given = f"{value.dtype} {list(value.shape)}" if tensor else type(value).__name__
            raise self._refusal(name, f"must be a floating-point scalar tensor, not {given}")
        # a batch without pairs may give a constant, but not be all that there is
        trains = value.requires_grad or not batch.embeddings.requires_grad
        if not trains and (len(self.losses) == 1 or batch.positive.any()):
            raise self._refusal(
                name,
                "has no gradient, so that nothing is learned from it; compute it from the batch with torch, without "
                ".detach(), .item() or comparisons alone",
            )
        return value

    def _refusal(self, name: str, what: str) -> ReidError:
        """Looks for the extension's file, which a step that goes well has no time for."""
        return ReidError(f"loss.{name}{extensions.source(LOSSES.builder(name))}: {what}")
