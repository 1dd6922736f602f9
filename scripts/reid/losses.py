"""Training losses over a batch of embeddings: weighted sums of parts by name."""

import torch
from pytorch_metric_learning import distances, losses, reducers
from torch import nn
from torch.nn import functional


def pair_masks(person, action, game, negatives):
    """Which pictures of a batch belong together, and which are told apart.

    Args:
        person, action, game: int64, B each; numbers that are unique over all splits trained on. A person has one
            action, an action one game.
        negatives: as in reid.params.Loss. The same man has another number in another action of his game, so only
            ``"action"`` and ``"action+games"`` never tell a man from himself.

    Returns:
        positive, negative: bool, B x B; row = anchor. Both are symmetric; a picture is no positive of itself.
    """
    same = person[:, None] == person
    positive, negative = same.clone().fill_diagonal_(False), ~same
    if negatives != "everything":
        apart = action[:, None] == action
        if negatives == "action+games":
            apart = apart | (game[:, None] != game)
        negative = negative & apart
    return positive, negative


def hardest(distance, positive, negative):
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


def centroid_loss(embeddings, person, positive, negative, temperature):
    """Softmax of each embedding over the means of people, after Wieczorek et al. 2021 (there a triplet loss).

    All embeddings and means have length 1. An anchor's own mean is that of the person's other pictures in the batch,
    for with itself in it the task would be too easy; the others are those of all pictures of each person who is an
    allowed negative. Loss of an anchor: -log of the share of its own mean in the sum of exp(cosine / temperature).

    Args:
        embeddings: float, B x D.
        person: int64, B.
        positive, negative: bool, B x B, of :func:`pair_masks`.
        temperature: float

    Returns:
        scalar tensor: mean over the anchors with a positive (0 for one without negatives); 0 if there are none.
    """
    embeddings = functional.normalize(embeddings)
    people, index = person.unique(return_inverse=True)
    member = torch.arange(len(people), device=person.device)[:, None] == index  # people x B
    weight = member.to(embeddings.dtype)
    others = functional.normalize(positive.to(embeddings.dtype) @ embeddings)
    own = (embeddings * others).sum(1, keepdim=True)
    cosine = torch.where(member.T, own, embeddings @ functional.normalize(weight @ embeddings).T)
    allowed = negative.to(embeddings.dtype) @ weight.T > 0
    logits = cosine.masked_fill(~(member.T | allowed), -torch.inf) / temperature
    anchor = positive.any(1)
    return functional.cross_entropy(logits, index, reduction="none")[anchor].sum() / anchor.sum().clamp(min=1)


def softmax_in_action(embeddings, classifier, person, class_action, smoothing):
    """Label-smoothed cross entropy in which each picture is classified among the people of its action alone.

    The smoothing spreads over the classes of that action too, so a class that is alone in its action gives 0. Only
    the classes of the actions in the batch are computed.

    Args:
        embeddings: float, B x D.
        classifier: nn.Linear, D to the number of classes.
        person: int64, B; classes from 0.
        class_action: int64, action of each class.
        smoothing: share of the target that is spread.

    Returns:
        scalar tensor: mean over the batch
    """
    action = class_action[person][:, None]
    classes = torch.where(torch.isin(class_action, action.unique()))[0]
    weight, bias = classifier.weight.index_select(0, classes), classifier.bias.index_select(0, classes)
    rival = class_action[classes] == action  # B x classes, the right one among them
    logits = functional.linear(embeddings, weight, bias)
    log_share = logits.masked_fill(~rival, -torch.inf).log_softmax(1).masked_fill(~rival, 0)  # or 0 * inf below
    right, rival = (classes == person[:, None]).to(logits.dtype), rival.to(logits.dtype)
    target = (1 - smoothing) * right + smoothing * rival / rival.sum(1, keepdim=True)
    return -(target * log_share).sum(1).mean()


def _contrast(params):
    mean = reducers.MeanReducer()  # the library's own choice for two of these leaves out elements that are 0
    if params.kind == "multi_similarity":
        return losses.MultiSimilarityLoss(params.alpha, params.beta, params.base, reducer=mean)
    if params.kind == "circle":
        return losses.CircleLoss(params.margin, params.gamma, reducer=mean)
    return losses.SupConLoss(params.temperature, reducer=mean)


def _at_least_float32(embeddings):
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()


class BatchLoss(nn.Module):
    """The weighted sum of the parts that a model's parameters name.

    An anchor is a picture with a positive, which is another picture of the same person in the batch; who is a negative
    of whom is chosen by ``params.negatives`` (:func:`pair_masks`). A batch without anchors gives 0 that can be trained
    on, for all parts but the softmax.

    - ``contrast``, on cosine similarities s:

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
    - ``softmax``: label-smoothed cross entropy over all training ids (Szegedy et al. 2016, the dev kit's
      CrossEntropyLoss), or over those of the picture's action (:func:`softmax_in_action`).

    Args:
        params: reid.params.Loss
        width: components of an embedding.
        class_action: int64 array or tensor, the action of each class (id) of the training set; only the softmax needs
            it.
    """

    def __init__(self, params, width, class_action=None):
        super().__init__()
        self.params = params
        if params.contrast:
            self.contrast = _contrast(params.contrast)
        if params.triplet:
            distance = distances.LpDistance(normalize_embeddings=False)
            self.triplet = losses.TripletMarginLoss(
                params.triplet.margin, distance=distance, reducer=reducers.MeanReducer()
            )
        if params.softmax:
            self.register_buffer("class_action", torch.as_tensor(class_action), persistent=False)
            self.classifier = nn.Linear(width, len(class_action))
            nn.init.normal_(self.classifier.weight, 0, 0.01)  # as the kit does
            nn.init.zeros_(self.classifier.bias)

    def forward(self, embeddings, person, action, game, necked=None):
        """Loss of one batch, computed in float32 (in float64 where the embeddings are), under autocast too.

        Args:
            embeddings: float, B x D.
            person: int64, B; classes from 0, another one for each (split, action, person).
            action, game: int64, B; see :func:`pair_masks`.
            necked: float, B x D, embeddings after the batch norm, for the softmax; None for ``embeddings``.

        Returns:
            dict: ``{"loss": scalar tensor, "contrast": ..., "triplet": ..., "centroid": ..., "softmax": ...}``, parts
            without their weights, and only those that are not null
        """
        params, parts = self.params, {}
        with torch.autocast(embeddings.device.type, enabled=False):
            necked = _at_least_float32(embeddings if necked is None else necked)
            embeddings = _at_least_float32(embeddings)
            positive, negative = pair_masks(person, action, game, params.negatives)
            if params.contrast:
                parts["contrast"] = self._contrast_of(embeddings, positive, negative)
            if params.triplet:
                with torch.no_grad():
                    triplets = hardest(self.triplet.distance(embeddings), positive, negative)
                parts["triplet"] = self.triplet(embeddings, indices_tuple=triplets)
            if params.centroid:
                temperature = params.centroid.temperature
                parts["centroid"] = centroid_loss(embeddings, person, positive, negative, temperature)
            if params.softmax:
                parts["softmax"] = self._softmax_of(necked, person)
            total = sum(getattr(params, name).weight * value for name, value in parts.items())
        return {"loss": total, **parts}

    def _contrast_of(self, embeddings, positive, negative):
        if self.params.contrast.kind == "ntxent":
            # It is supcon of each pair alone. The library's NTXentLoss makes a matrix of all positive by all negative
            # pairs, and its gradient vanishes for hard pairs at low temperatures.
            anchor, other = torch.where(positive)
            pairs = torch.arange(len(anchor), device=anchor.device), other
        else:
            anchor = torch.where(positive.any(1))[0]
            pairs = torch.where(positive[anchor])
        pairs = (*pairs, *torch.where(negative[anchor]))
        return self.contrast(embeddings[anchor], indices_tuple=pairs, ref_emb=embeddings)  # a row per anchor: the mean

    def _softmax_of(self, embeddings, person):
        smoothing = self.params.softmax.label_smoothing
        if self.params.softmax.over == "action":
            return softmax_in_action(embeddings, self.classifier, person, self.class_action, smoothing)
        return functional.cross_entropy(self.classifier(embeddings), person, label_smoothing=smoothing)
