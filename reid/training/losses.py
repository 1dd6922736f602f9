"""Training losses over a batch of embeddings, each by its name, and their weighted sum."""

from typing import Any, NamedTuple

import torch
from pytorch_metric_learning import distances, losses, reducers
from torch import nn
from torch.nn import functional

from reid.core.errors import ReidError
from reid.params import extensions
from reid.params.loss import Centroid, Circle, Id, Loss, MultiSimilarity, NTXent, SupCon, Triplet
from reid.params.registries import LOSSES
from reid.params.schema import parts


class Batch(NamedTuple):
    """What a loss is computed from: B images of a batch, their embeddings and who belongs to whom.

    ``embeddings`` and ``bnneck`` (the same after the BNNeck) are float, B x D; ``identity``, ``action`` and ``game``
    int64, B, numbers that are unique over all splits trained on; ``positive`` and ``negative`` bool, B x B, of
    :func:`pair_masks`: row = anchor. An anchor is an image with a positive.
    """

    embeddings: torch.Tensor
    bnneck: torch.Tensor
    identity: torch.Tensor
    action: torch.Tensor
    game: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor


class Setting(NamedTuple):
    """What a loss is built for: D, the components of an embedding, and each training identity's action (int64)."""

    width: int
    identity_action: torch.Tensor


def pair_masks(
    identity: torch.Tensor, action: torch.Tensor, game: torch.Tensor, negatives: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which images of a batch belong together, and which are each other's negatives.

    Args:
        identity, action, game: int64, B each; numbers that are unique over all splits trained on. An identity has one
            action, an action one game.
        negatives: as in reid.params.loss.Loss. The same man has another number in another action of his game, so only
            with ``"action"`` and ``"action+games"`` he is never his own negative.

    Returns:
        positive, negative: bool, B x B; row = anchor. Both are symmetric; an image is no positive of itself.
    """
    same = identity[:, None] == identity
    positive, negative = same.clone().fill_diagonal_(False), ~same
    if negatives != "batch":
        apart = action[:, None] == action
        if negatives == "action+games":
            apart = apart | (game[:, None] != game)
        negative = negative & apart
    return positive, negative


def hardest(
    distance: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The farthest positive and the nearest negative of each anchor that has both (Hermans et al. 2017).

    Args:
        distance: float, B x B.
        positive, negative: bool, B x B, of :func:`pair_masks`.

    Returns:
        anchor, positive, negative: int64 positions in the batch, one element per such anchor
    """
    anchor = torch.where(positive.any(1) & negative.any(1))[0]
    far = distance.masked_fill(~positive, -torch.inf).argmax(1)
    near = distance.masked_fill(~negative, torch.inf).argmin(1)
    return anchor, far[anchor], near[anchor]


def centroid_loss(
    embeddings: torch.Tensor,
    identity: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Softmax of each embedding over the means of identities, after Wieczorek et al. 2021 (there a triplet loss).

    All embeddings and means have length 1. An anchor's own mean is that of its identity's other images in the batch,
    for with itself in it the task would be too easy; the others are those of all images of each identity that is an
    allowed negative. Loss of an anchor: -log of the share of its own mean in the sum of exp(cosine / temperature).

    Args:
        embeddings: float, B x D.
        identity: int64, B.
        positive, negative: bool, B x B, of :func:`pair_masks`.
        temperature: float

    Returns:
        scalar tensor: mean over the anchors with a positive (0 for one without negatives); 0 if there are none.
    """
    embeddings = functional.normalize(embeddings)
    identities, index = identity.unique(return_inverse=True)
    member = torch.arange(len(identities), device=identity.device)[:, None] == index  # identities x B
    weight = member.to(embeddings.dtype)
    others = functional.normalize(positive.to(embeddings.dtype) @ embeddings)
    own = (embeddings * others).sum(1, keepdim=True)
    cosine = torch.where(member.T, own, embeddings @ functional.normalize(weight @ embeddings).T)
    allowed = negative.to(embeddings.dtype) @ weight.T > 0
    logits = cosine.masked_fill(~(member.T | allowed), -torch.inf) / temperature
    anchor = positive.any(1)
    return functional.cross_entropy(logits, index, reduction="none")[anchor].sum() / anchor.sum().clamp(min=1)


def id_loss_in_action(
    embeddings: torch.Tensor,
    classifier: nn.Linear,
    identity: torch.Tensor,
    identity_action: torch.Tensor,
    smoothing: float,
) -> torch.Tensor:
    """Label-smoothed cross entropy in which each image is classified among the identities of its action alone.

    The smoothing spreads over the identities of that action too, so one that is alone in its action gives 0. Only
    those of the actions in the batch are computed.

    Args:
        embeddings: float, B x D.
        classifier: nn.Linear, D to the number of identities.
        identity: int64, B; from 0.
        identity_action: int64, action of each identity.
        smoothing: share of the target that is spread.

    Returns:
        scalar tensor: mean over the batch
    """
    action = identity_action[identity][:, None]
    classes = torch.where(torch.isin(identity_action, action.unique()))[0]
    weight, bias = classifier.weight.index_select(0, classes), classifier.bias.index_select(0, classes)
    rival = identity_action[classes] == action  # B x classes, the true one among them
    logits = functional.linear(embeddings, weight, bias)
    log_share = logits.masked_fill(~rival, -torch.inf).log_softmax(1).masked_fill(~rival, 0)  # or 0 * inf below
    true, rival = (classes == identity[:, None]).to(logits.dtype), rival.to(logits.dtype)
    target = (1 - smoothing) * true + smoothing * rival / rival.sum(1, keepdim=True)
    return -(target * log_share).sum(1).mean()


def _at_least_float32(embeddings: torch.Tensor) -> torch.Tensor:
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()


class _OverPairs(nn.Module):
    """A loss of pytorch-metric-learning over all pairs of the batch: a row per anchor, so its mean is over anchors."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, batch: Batch) -> torch.Tensor:
        anchor = torch.where(batch.positive.any(1))[0]
        pairs = (*torch.where(batch.positive[anchor]), *torch.where(batch.negative[anchor]))
        value: torch.Tensor = self.loss(batch.embeddings[anchor], indices_tuple=pairs, ref_emb=batch.embeddings)
        return value


def _mean() -> reducers.MeanReducer:
    return reducers.MeanReducer()  # the library's own choice for two of these leaves out elements that are 0


@LOSSES.implement("supcon")
def _supcon(params: SupCon, setting: Setting) -> nn.Module:
    return _OverPairs(losses.SupConLoss(params.temperature, reducer=_mean()))


@LOSSES.implement("multi_similarity")
def _multi_similarity(params: MultiSimilarity, setting: Setting) -> nn.Module:
    return _OverPairs(losses.MultiSimilarityLoss(params.alpha, params.beta, params.base, reducer=_mean()))


@LOSSES.implement("circle")
def _circle(params: Circle, setting: Setting) -> nn.Module:
    return _OverPairs(losses.CircleLoss(params.margin, params.gamma, reducer=_mean()))


@LOSSES.implement("ntxent")
class _NTXent(nn.Module):
    # It is supcon of each pair alone. The library's NTXentLoss makes a matrix of all positive by all negative pairs,
    # and its gradient vanishes for hard pairs at low temperatures.
    def __init__(self, params: NTXent, setting: Setting) -> None:
        super().__init__()
        self.loss = losses.SupConLoss(params.temperature, reducer=_mean())

    def forward(self, batch: Batch) -> torch.Tensor:
        anchor, other = torch.where(batch.positive)
        pairs = torch.arange(len(anchor), device=anchor.device), other, *torch.where(batch.negative[anchor])
        value: torch.Tensor = self.loss(batch.embeddings[anchor], indices_tuple=pairs, ref_emb=batch.embeddings)
        return value


@LOSSES.implement("triplet")
class _Triplet(nn.Module):
    def __init__(self, params: Triplet, setting: Setting) -> None:
        super().__init__()
        distance = distances.LpDistance(normalize_embeddings=False)
        self.loss = losses.TripletMarginLoss(params.margin, distance=distance, reducer=_mean())

    def forward(self, batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            triplets = hardest(self.loss.distance(batch.embeddings), batch.positive, batch.negative)
        value: torch.Tensor = self.loss(batch.embeddings, indices_tuple=triplets)
        return value


@LOSSES.implement("centroid")
class _Centroid(nn.Module):
    def __init__(self, params: Centroid, setting: Setting) -> None:
        super().__init__()
        self.temperature = params.temperature

    def forward(self, batch: Batch) -> torch.Tensor:
        return centroid_loss(batch.embeddings, batch.identity, batch.positive, batch.negative, self.temperature)


@LOSSES.implement("id")
class _Id(nn.Module):
    def __init__(self, params: Id, setting: Setting) -> None:
        super().__init__()
        self.over, self.smoothing = params.over, params.label_smoothing
        self.identity_action: torch.Tensor
        self.register_buffer("identity_action", setting.identity_action, persistent=False)
        self.classifier = nn.Linear(setting.width, len(setting.identity_action))
        nn.init.normal_(self.classifier.weight, 0, 0.01)  # as the kit does
        nn.init.zeros_(self.classifier.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        if self.over == "action":
            known = self.classifier, batch.identity, self.identity_action
            return id_loss_in_action(batch.bnneck, *known, self.smoothing)
        logits = self.classifier(batch.bnneck)
        return functional.cross_entropy(logits, batch.identity, label_smoothing=self.smoothing)


class BatchLoss(nn.Module):
    """The weighted sum of the losses that a model's parameters name.

    An anchor is an image with a positive, which is another image of its identity in the batch; who is a negative of
    whom is chosen by ``params.negatives`` (:func:`pair_masks`). A batch without anchors gives 0 that can be trained
    on, for all losses but ``id``.

    - On cosine similarities s:

      - ``supcon`` (Khosla et al. 2020, L_out): -log of the share of each positive in the sum of exp(s / temperature)
        over all positives and negatives of the anchor, mean over its positives, mean over anchors. An anchor without
        negatives counts as the formula has it (0 with one positive); a batch without any negative gives 0.
      - ``ntxent`` (Sohn 2016, Chen et al. 2020): the same with only one positive at a time in the sum, mean over
        pairs of anchor and positive. A pair without negatives counts, as 0.
      - ``multi_similarity`` (Wang et al. 2019, without its mining): mean over anchors, with or without negatives.
      - ``circle`` (Sun et al. 2020): mean over anchors. An anchor without negatives counts, as 0.

    - ``triplet``: for each anchor its farthest positive and nearest negative, Euclidean, not normalised, mean over the
      anchors that have a negative (Hermans et al. 2017, as in the dev kit's TripletLoss).
    - ``centroid``: :func:`centroid_loss`.
    - ``id``: label-smoothed cross entropy over all training identities (Szegedy et al. 2016, the dev kit's
      CrossEntropyLoss), or over those of the image's action (:func:`id_loss_in_action`).

    Args:
        params: which losses, with which weights.
        width: components of an embedding.
        identity_action: int64 array or tensor, the action of each identity of the training set.
    """

    def __init__(self, params: Loss, width: int, identity_action: Any) -> None:
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
            action, game: int64, B; see :func:`pair_masks`.
            bnneck: float, B x D, embeddings after the BNNeck, for the id loss; None for ``embeddings``.

        Returns:
            ``"loss"``, the sum (scalar), and each named loss without its weight

        Raises:
            ReidError: the loss of an extension fails or is no scalar.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            after = _at_least_float32(embeddings if bnneck is None else bnneck)
            positive, negative = pair_masks(identity, action, game, self.params.negatives)
            batch = Batch(_at_least_float32(embeddings), after, identity, action, game, positive, negative)
            values = {name: self._value(name, batch) for name in self.losses}
            total = sum(self.weights[name] * value for name, value in values.items())
        return {**values, "loss": total}

    def _value(self, name: str, batch: Batch) -> torch.Tensor:
        builder = LOSSES.builder(name)
        with extensions.named(builder, f"loss.{name}"):
            value: Any = self.losses[name](batch)
        if not isinstance(value, torch.Tensor) or value.ndim:
            shape = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise ReidError(f"loss.{name}{extensions.source(builder)}: must be a scalar tensor, not {shape}")
        return value
