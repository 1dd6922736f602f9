"""Id losses: images are classified among the identities of the training set. Nothing here waits for the device."""

import math

import torch
from torch import nn
from torch.nn import functional


def rivals(identity_action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The identities of each action as a table.

    Args:
        identity_action: int64, action of each identity, from 0.

    Returns:
        int64, actions x most identities of one: in each row the action's identities, then its first one again; and
        how many identities each action has (int64)
    """
    count = torch.bincount(identity_action)
    order = identity_action.argsort(stable=True)
    place = torch.arange(int(count.max())).expand(len(count), -1)
    start = (count.cumsum(0) - count)[:, None]
    return order[start + place.where(place < count[:, None], 0)], count


def id_loss_in_action(
    embeddings: torch.Tensor,
    classifier: nn.Linear,
    identity: torch.Tensor,
    action: torch.Tensor,
    table: torch.Tensor,
    count: torch.Tensor,
    smoothing: float,
) -> torch.Tensor:
    """Label-smoothed cross entropy in which each image is classified among the identities of its action alone.

    The smoothing spreads over the identities of that action too, so one that is alone in its action gives 0. Only
    those of the actions in the batch are computed.

    Args:
        embeddings: float, B x D.
        classifier: nn.Linear, D to the number of identities.
        identity, action: int64, B; from 0.
        table, count: of :func:`rivals`.
        smoothing: share of the target that is spread.

    Returns:
        scalar tensor: mean over the batch
    """
    classes, number = table[action], count[action][:, None]
    rival = torch.arange(table.shape[1], device=table.device) < number
    product = logits_of_all if embeddings.device.type == "cpu" else logits_of_each
    logits = product(embeddings, classifier, action, table)
    log_share = logits.masked_fill(~rival, -torch.inf).log_softmax(1).masked_fill(~rival, 0)  # or 0 * inf below
    true, rival = (rival & (classes == identity[:, None])).to(logits.dtype), rival.to(logits.dtype)
    target = (1 - smoothing) * true + smoothing * rival / number
    return -(target * log_share).sum(1).mean()


def logits_of_each(
    embeddings: torch.Tensor, classifier: nn.Linear, action: torch.Tensor, table: torch.Tensor
) -> torch.Tensor:
    """Logits of each image for the classes in its action's row of the table: a product of its own for each.

    Which actions there are is not asked for, so a GPU is not waited for.

    Returns:
        float, B x most identities of one action
    """
    classes = table[action]
    logits = functional.embedding(classes, classifier.weight) @ embeddings[:, :, None]
    return logits[:, :, 0] + functional.embedding(classes, classifier.bias[:, None])[:, :, 0]


def logits_of_all(
    embeddings: torch.Tensor, classifier: nn.Linear, action: torch.Tensor, table: torch.Tensor
) -> torch.Tensor:
    """The same by one product of all images with all classes of the batch, on a CPU up to three times as fast."""
    actions, which = action.unique(return_inverse=True)
    classes = table[actions].flatten()
    weight, bias = classifier.weight.index_select(0, classes), classifier.bias.index_select(0, classes)
    logits = functional.linear(embeddings, weight, bias).view(len(embeddings), len(actions), -1)
    return logits[torch.arange(len(embeddings), device=which.device), which]


def arcface(
    embeddings: torch.Tensor, weight: torch.Tensor, identity: torch.Tensor, scale: float, margin: float
) -> torch.Tensor:
    """ArcFace (Deng et al. 2019): cross entropy over scaled cosines, the angle to the own class made larger.

    Where angle + margin is beyond pi, cosine - margin * sin(margin) stands for its cosine, so that a larger angle is
    always a larger loss (the authors' code).

    Args:
        embeddings: float, B x D.
        weight: float, identities x D.
        identity: int64, B; from 0.
        scale: of the cosines.
        margin: radians.

    Returns:
        scalar tensor: mean over the batch
    """
    cosine = functional.normalize(embeddings) @ functional.normalize(weight).T
    own = cosine.gather(1, identity[:, None])
    sine = (1 - own.square()).clamp(min=torch.finfo(own.dtype).eps).sqrt()  # at 0 it has no gradient
    moved = math.cos(margin) * own - math.sin(margin) * sine
    moved = torch.where(own > math.cos(math.pi - margin), moved, own - margin * math.sin(margin))
    return functional.cross_entropy(scale * cosine.scatter(1, identity[:, None], moved), identity)
