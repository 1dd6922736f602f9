"""Losses over pairs of images, as masked operations on the matrix of all pairs.

No size in here depends on values, so nothing waits for the device. Everywhere ``similarity`` (cosines) and
``distance`` (Euclidean) are float, B x M, ``positive`` and ``negative`` bool, B x M, of :func:`pair_masks`: rows are
the images of a batch, columns those that they are compared with, the B of the batch first. An anchor is an image with
a positive. Each loss is a scalar tensor; without anchors it is 0.
"""

import torch
from torch.nn import functional


def pair_masks(
    identity: torch.Tensor,
    action: torch.Tensor,
    game: torch.Tensor,
    negatives: str,
    references: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which images of a batch belong together, and which are each other's negatives.

    Args:
        identity, action, game: int64, B each; numbers that are unique over all splits trained on. An identity has one
            action, an action one game.
        negatives: as in reid.params.loss.Loss. The same man has another number in another action of his game, so only
            with ``"action"`` and ``"action+games"`` he is never his own negative.
        references: int64, 3 x M, identity, action and game of the images to compare with: those of the batch first,
            and -1 for none; None for the batch alone.

    Returns:
        positive, negative: bool, B x M; row = anchor. Of the batch alone both are symmetric; an image is no positive
        of itself.
    """
    other_identity, other_action, other_game = (identity, action, game) if references is None else references
    same = identity[:, None] == other_identity
    positive, negative = same.clone().fill_diagonal_(False), ~same
    if negatives != "batch":
        apart = action[:, None] == other_action
        if negatives == "action+games":
            apart = apart | (game[:, None] != other_game)
        negative = negative & apart
    if references is not None:
        negative = negative & (other_identity >= 0)
    return positive, negative


def mean_over(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Mean of the values that are chosen, 0 if none is.

    Args:
        values: float, finite.
        chosen: bool, of the same shape.
    """
    return values.masked_fill(~chosen, 0).sum() / chosen.sum().clamp(min=1)


def _mean_of_rows(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return values.masked_fill(~chosen, 0).sum(1) / chosen.sum(1).clamp(min=1)


def _logsumexp(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Of the chosen values of each row; where there are none the lowest number, which unlike -inf has a gradient."""
    return values.masked_fill(~chosen, torch.finfo(values.dtype).min).logsumexp(1)


def _softplus(x: torch.Tensor) -> torch.Tensor:
    return functional.softplus(x, threshold=40)  # beyond 40 log(1 + exp(x)) is x, to float64's last digit


def supcon(
    similarity: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    temperature: float | torch.Tensor,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, L_out).

    -log of the share of each positive in the sum of exp(similarity / temperature) over all positives and negatives of
    the anchor, mean over its positives, mean over anchors. With smoothing a part of the target is spread evenly over
    all positives and negatives (Szegedy et al. 2016). An anchor without negatives counts as the formula has it (0 with
    one positive); without any negative of any anchor it is 0.
    """
    logits = (similarity - 1) / temperature  # at most 0: near pairs keep their digits
    considered, anchor = positive | negative, positive.any(1)
    target = _mean_of_rows(logits, positive)
    loss = _logsumexp(logits, considered) - target
    if smoothing:
        loss = loss + smoothing * (target - _mean_of_rows(logits, considered))
    return mean_over(loss, anchor) * (negative & anchor[:, None]).any()


def ntxent(
    similarity: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    temperature: float | torch.Tensor,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """NT-Xent (Sohn 2016, Chen et al. 2020): :func:`supcon` with only one positive at a time in the sum.

    Mean over pairs of anchor and positive. A pair without negatives counts, as 0.
    """
    logits = (similarity - 1) / temperature
    loss = _softplus(_logsumexp(logits, negative)[:, None] - logits)
    if smoothing:
        others = logits.masked_fill(~negative, 0).sum(1, keepdim=True)
        loss = loss + smoothing * (logits - (logits + others) / (1 + negative.sum(1, keepdim=True)))
    return mean_over(loss, positive)


def info_nce(
    similarity: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    temperature: float | torch.Tensor,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Symmetric InfoNCE (Radford et al. 2021; Habel et al. 2022 for players): one pair of images per identity.

    The first image of each pair is classified among the second ones of all pairs, and the other way round; mean of
    both cross entropies. Images of an identity after its second are not used. B x B: no other images to compare with.
    """
    before = positive.tril(-1).sum(1)  # images of the same identity that stand before this one
    across = ((before == 0) & positive.any(1))[:, None] & (before == 1)
    pair, other = positive & across, negative & across
    forth = supcon(similarity, pair, other, temperature, smoothing)
    return (forth + supcon(similarity.T, pair.T, other.T, temperature, smoothing)) / 2


def mined_pairs(
    similarity: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The hard ones among the pairs (Wang et al. 2019, section 3.3).

    Returns:
        positive, negative: bool, B x M; positives less similar than the anchor's most similar negative + epsilon, and
        negatives more similar than its least similar positive - epsilon
    """
    similarity = similarity.detach()
    least = similarity.masked_fill(~positive, torch.inf).amin(1, keepdim=True)
    most = similarity.masked_fill(~negative, -torch.inf).amax(1, keepdim=True)
    return positive & (similarity - epsilon < most), negative & (similarity + epsilon > least)


def multi_similarity(
    similarity: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, alpha: float, beta: float, base: float
) -> torch.Tensor:
    """Multi-similarity loss (Wang et al. 2019) of all these pairs, summed up for each image, neither mined nor mean.

    Returns:
        float, B
    """
    near = _softplus(_logsumexp(alpha * (base - similarity), positive)) / alpha
    return near + _softplus(_logsumexp(beta * (similarity - base), negative)) / beta


def circle(
    similarity: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float, gamma: float
) -> torch.Tensor:
    """Circle loss (Sun et al. 2020), mean over anchors; one without negatives counts, as 0."""
    fixed = similarity.detach()
    near = -gamma * (1 + margin - fixed).relu() * (similarity - (1 - margin))
    far = gamma * (fixed + margin).relu() * (similarity - margin)
    both = _logsumexp(near, positive) + _logsumexp(far, negative)
    return mean_over(_softplus(both), positive.any(1))


def hardest(
    distance: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The distances of each image's farthest positive and nearest negative (Hermans et al. 2017).

    Returns:
        far, near: float, B, with gradient; 0 for an image that lacks either.
        complete: bool, B, whether it has both.
    """
    complete = positive.any(1) & negative.any(1)
    far = distance.masked_fill(~positive, -torch.inf).max(1).values
    near = distance.masked_fill(~negative, torch.inf).min(1).values
    return far.masked_fill(~complete, 0), near.masked_fill(~complete, 0), complete


def hardest_triplets(
    distance: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float
) -> torch.Tensor:
    """Triplet loss of :func:`hardest`, mean over the anchors that have a negative (the dev kit's TripletLoss)."""
    far, near, complete = hardest(distance, positive, negative)
    return mean_over((far - near + margin).relu(), complete)


def semi_hard_triplets(
    distance: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float
) -> torch.Tensor:
    """Triplet loss of each pair of anchor and positive with the nearest negative beyond the positive.

    Where no negative is farther than the positive it is the farthest one. Mean over pairs whose anchor has a negative
    (Schroff et al. 2015, as TensorFlow Addons' TripletSemiHardLoss).
    """
    near = distance.masked_fill(~negative, torch.inf).sort(1).values
    last = negative.sum(1, keepdim=True) - 1
    beyond = torch.searchsorted(near.detach(), distance.detach(), right=True)
    near = near.gather(1, torch.minimum(beyond, last).clamp(min=0))
    return mean_over((distance - near + margin).relu(), positive & (last >= 0))


def all_triplets(
    distance: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float
) -> torch.Tensor:
    """Triplet loss, mean over all triplets of an anchor, a positive and a negative (Hermans et al. 2017, batch all).

    For a pair of anchor and positive only the negatives nearer than its distance + margin count, which are the first
    ones in their order: their number and sum give the sum of the hinges, without a B x B x M tensor.
    """
    limit, count = distance + margin, negative.sum(1, keepdim=True)
    near = distance.masked_fill(~negative, torch.inf).sort(1).values
    within = torch.searchsorted(near.detach(), limit.detach())
    # by a product: a GPU's running sum is none of the operations that repeat themselves
    sums = near.masked_fill(near.isinf(), 0) @ near.new_ones(near.shape[1], near.shape[1]).triu()
    sums = functional.pad(sums, (1, 0))
    hinges = within * limit - sums.gather(1, within)
    return hinges.masked_fill(~positive, 0).sum() / (positive * count).sum().clamp(min=1)


def contrastive(
    distance: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float, positive_margin: float
) -> torch.Tensor:
    """Contrastive loss (Hadsell et al. 2006): half the squares by which pairs are too far or too near.

    Mean over the positive pairs of max(0, d - positive_margin)^2 / 2, and mean over the negative pairs of the anchors
    of max(0, margin - d)^2 / 2, added; the paper's sum over all pairs would be one over negatives alone.
    """
    pull, push = (distance - positive_margin).relu().square(), (margin - distance).relu().square()
    apart = negative & positive.any(1, keepdim=True)
    return (mean_over(pull, positive) + mean_over(push, apart)) / 2


def centroid(
    embeddings: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Softmax of each embedding over the means of identities, after Wieczorek et al. 2021 (there a triplet loss).

    All embeddings and means have length 1. An anchor's own mean is that of its identity's other images in the batch,
    for with itself in it the task would be too easy; the others are those of all images of each identity that is an
    allowed negative. Loss of an anchor: -log of the share of its own mean in the sum of exp(cosine / temperature),
    0 for one without negatives; mean over anchors.

    Args:
        embeddings: float, B x D.
        positive, negative: bool, B x B.
        temperature: float
    """
    # products of sums of embeddings are sums of the products of embeddings, of which each is computed once
    embeddings, member = functional.normalize(embeddings), positive.to(embeddings.dtype)
    each = embeddings @ embeddings.T
    summed = each @ member  # of each image and the sum of the others of each image's identity
    own, square, least = summed.diagonal(), (summed * member).sum(0), torch.finfo(each.dtype).eps
    cosine = (summed + each) / (square + 2 * own + 1).clamp(min=least).sqrt()  # columns of one identity are the same
    own = own / square.clamp(min=least).sqrt()
    first = ~positive.tril(-1).any(1)
    against = _logsumexp((cosine - 1) / temperature, negative & first)
    return mean_over(_softplus(against - (own - 1) / temperature), positive.any(1))
