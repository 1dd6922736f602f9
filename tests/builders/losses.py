"""The losses of a training in loops over images and identities, and batches to compute them from."""

import math
import operator

import numpy as np
import torch

from reid.params.schema import section_class
from reid.training.losses import BatchLoss

NEGATIVES = ("batch", "action", "action+games")
# Identities of one action do not stand together; actions 3 and 4 have one each, and 11 to 13 have no image.
IDENTITY_ACTION = np.array([0, 2, 0, 1, 2, 1, 2, 0, 2, 3, 4, 0, 2, 5])
ACTION_GAME = np.array([0, 0, 1, 2, 1, 2])
IMAGES = np.array([3, 2, 1, 2, 1, 4, 1, 2, 1, 3, 1, 0, 0, 0])  # of each identity in a batch


# What the losses are. x: rows, those of the batch first; positive, negative: lists of positions, one for each image.


def cosine(a, b):
    return sum(map(operator.mul, a, b)) / math.hypot(*a) / math.hypot(*b)


def mean(values):
    return sum(values) / len(values) if values else 0.0


def cross_entropy(logits, target):
    """Of a softmax and a target, both as {position: value}; the target's values add up to 1."""
    below = math.log(sum(math.exp(value) for value in logits.values()))
    return sum(share * (below - logits[k]) for k, share in target.items())


def smoothed(own, considered, smoothing):
    """A target: even over ``own``, and a part of it even over all that is considered."""
    even = {k: smoothing / len(considered) for k in considered}
    return {k: even[k] + (1 - smoothing) / len(own) * (k in own) for k in considered}


def naive_supcon(x, positive, negative, identity, temperature, label_smoothing=0.0):
    if not any(positive[i] and negative[i] for i in range(len(positive))):
        return 0.0
    terms = []
    for i in range(len(positive)):
        logits = {k: cosine(x[i], x[k]) / temperature for k in positive[i] + negative[i]}
        if positive[i]:
            terms.append(cross_entropy(logits, smoothed(positive[i], logits, label_smoothing)))
    return mean(terms)


def naive_ntxent(x, positive, negative, identity, temperature, label_smoothing=0.0):
    terms = []
    for i in range(len(positive)):
        for p in positive[i]:
            logits = {k: cosine(x[i], x[k]) / temperature for k in [p, *negative[i]]}
            terms.append(cross_entropy(logits, smoothed([p], logits, label_smoothing)))
    return mean(terms)


def naive_info_nce(x, positive, negative, identity, temperature, label_smoothing=0.0):
    """Pairs are the first two images of each identity, in a matrix of their similarities."""
    pairs = [(i, positive[i][0]) for i in range(len(positive)) if positive[i] and i < min(positive[i])]
    terms = []
    for own, (a, b) in enumerate(pairs):
        rivals = [k for k, (other, _) in enumerate(pairs) if k == own or other in negative[a]]
        for logits in (
            {k: cosine(x[a], x[pairs[k][1]]) / temperature for k in rivals},
            {k: cosine(x[pairs[k][0]], x[b]) / temperature for k in rivals},
        ):
            terms.append(cross_entropy(logits, smoothed([own], logits, label_smoothing)))
    return mean(terms)


def naive_multi_similarity(x, positive, negative, identity, alpha, beta, base, epsilon=None):
    terms = []
    for i in range(len(positive)):
        of_positives, of_negatives = ([cosine(x[i], x[k]) for k in some] for some in (positive[i], negative[i]))
        if epsilon is not None:
            hard = [s for s in of_positives if of_negatives and s < max(of_negatives) + epsilon]
            of_negatives = [s for s in of_negatives if of_positives and s > min(of_positives) - epsilon]
            of_positives = hard
        near = sum(math.exp(-alpha * (s - base)) for s in of_positives)
        far = sum(math.exp(beta * (s - base)) for s in of_negatives)
        if positive[i]:
            terms.append(math.log(1 + near) / alpha + math.log(1 + far) / beta)
    return mean(terms)


def naive_circle(x, positive, negative, identity, margin, gamma, fixed=None):
    """``fixed``: rows that the weights of the pairs come from, which the gradient takes as constant."""
    fixed = x if fixed is None else fixed
    terms = []
    for i in range(len(positive)):
        near = far = 0.0
        for p in positive[i]:
            weight = max(0.0, 1 + margin - cosine(fixed[i], fixed[p]))
            near += math.exp(-gamma * weight * (cosine(x[i], x[p]) - (1 - margin)))
        for n in negative[i]:
            weight = max(0.0, cosine(fixed[i], fixed[n]) + margin)
            far += math.exp(gamma * weight * (cosine(x[i], x[n]) - margin))
        if positive[i]:
            terms.append(math.log(1 + near * far))
    return mean(terms)


def naive_triplet(x, positive, negative, identity, margin):
    terms = []
    for i in range(len(positive)):
        if positive[i] and negative[i]:
            far = max(math.dist(x[i], x[p]) for p in positive[i])
            near = min(math.dist(x[i], x[n]) for n in negative[i])
            terms.append(max(0.0, far - near + margin))
    return mean(terms)


def naive_semi_hard(x, positive, negative, identity, margin, mining):
    terms = []
    for i in range(len(positive)):
        for p in positive[i]:
            own, others = math.dist(x[i], x[p]), [math.dist(x[i], x[n]) for n in negative[i]]
            if others:
                near = min((d for d in others if d > own), default=max(others))
                terms.append(max(0.0, own - near + margin))
    return mean(terms)


def naive_all_triplets(x, positive, negative, identity, margin, mining):
    return mean(
        [
            max(0.0, math.dist(x[i], x[p]) - math.dist(x[i], x[n]) + margin)
            for i in range(len(positive))
            for p in positive[i]
            for n in negative[i]
        ]
    )


def naive_contrastive(x, positive, negative, identity, margin, positive_margin):
    x = [[value / math.hypot(*row) for value in row] for row in x]
    pull, push = [], []
    for i in range(len(positive)):
        pull += [max(0.0, math.dist(x[i], x[p]) - positive_margin) ** 2 / 2 for p in positive[i]]
        if positive[i]:
            push += [max(0.0, margin - math.dist(x[i], x[n])) ** 2 / 2 for n in negative[i]]
    return mean(pull) + mean(push)


def naive_centroid(x, positive, negative, identity, temperature):
    x = [np.array(row) / math.hypot(*row) for row in x]
    terms = []
    for i in range(len(positive)):
        if positive[i]:
            own = math.exp(cosine(x[i], sum(x[p] for p in positive[i])) / temperature)
            below = own
            for other in {identity[n] for n in negative[i]}:
                middle = sum(x[k] for k in range(len(x)) if identity[k] == other)
                below += math.exp(cosine(x[i], middle) / temperature)
            terms.append(-math.log(own / below))
    return mean(terms)


def naive_id(logits, identity, smoothing, identity_action=None):
    """Over all identities, or with ``identity_action`` over those of the image's action."""
    total = 0.0
    for row, own in zip(logits, identity, strict=True):
        rivals = [k for k in range(len(row)) if identity_action is None or identity_action[k] == identity_action[own]]
        norm = math.log(sum(math.exp(row[k]) for k in rivals))
        for k in rivals:
            target = (1 - smoothing) * (k == own) + smoothing / len(rivals)
            total -= target * (row[k] - norm)
    return total / len(identity)


def naive_pairs(identity, action, game, negatives, count=None):
    """Of the first ``count`` images, all by default, with all."""
    positive, negative = [], []
    for i in range(count or len(identity)):
        positive.append([j for j in range(len(identity)) if j != i and identity[j] == identity[i]])
        others = [j for j in range(len(identity)) if identity[j] != identity[i]]
        if negatives == "action":
            others = [j for j in others if action[j] == action[i]]
        if negatives == "action+games":
            others = [j for j in others if action[j] == action[i] or game[j] != game[i]]
        negative.append(others)
    return positive, negative


# Losses over pairs, some of them twice: their parameters and loops.
PAIR_LOSSES = {
    "supcon": ({"temperature": 0.3}, naive_supcon),
    "supcon smoothed": ({"temperature": 0.3, "label_smoothing": 0.2}, naive_supcon),
    "ntxent": ({"temperature": 0.2}, naive_ntxent),
    "ntxent smoothed": ({"temperature": 0.2, "label_smoothing": 0.1}, naive_ntxent),
    "info_nce": ({"temperature": 0.3}, naive_info_nce),
    "info_nce smoothed": ({"temperature": 0.3, "label_smoothing": 0.1}, naive_info_nce),
    "multi_similarity": ({"alpha": 3.0, "beta": 20.0, "base": 0.2}, naive_multi_similarity),
    "multi_similarity mined": ({"alpha": 3.0, "beta": 20.0, "base": 0.2, "epsilon": 0.1}, naive_multi_similarity),
    "circle": ({"margin": 0.3, "gamma": 10.0}, naive_circle),
    "triplet": ({"margin": 0.3}, naive_triplet),
    "triplet semi_hard": ({"margin": 2.0, "mining": "semi_hard"}, naive_semi_hard),
    "triplet all": ({"margin": 2.0, "mining": "all"}, naive_all_triplets),
    "contrastive": ({"margin": 1.5, "positive_margin": 0.5}, naive_contrastive),
    "centroid": ({"temperature": 0.25}, naive_centroid),
}
WITH_REFERENCES = [name for name in PAIR_LOSSES if not name.startswith(("info_nce", "centroid"))]


def loss_of(negatives="batch", width=8, identity_action=IDENTITY_ACTION, **losses):
    params = section_class("Loss").model_validate({"negatives": negatives, **losses})
    return BatchLoss(params, width, torch.tensor(identity_action))


def pair_loss(name, negatives, **more):
    """One of PAIR_LOSSES as a BatchLoss, and as a function of rows and of identity, action, game."""
    given, naive = PAIR_LOSSES[name]

    def in_loops(x, labels, count=None, **extra):
        labels = [label.tolist() for label in labels]
        return naive(np.asarray(x).tolist(), *naive_pairs(*labels, negatives, count), labels[0], **given, **extra)

    return loss_of(negatives, **{name.split()[0]: given}, **more), in_loops


def batch(seed, identity=None, width=8):
    """Embeddings (float64) and (identity, action, game); identities as often as in IMAGES, or as they are given."""
    rng = np.random.default_rng(seed)
    identity = rng.permutation(np.repeat(np.arange(len(IMAGES)), IMAGES)) if identity is None else np.array(identity)
    action = IDENTITY_ACTION[identity]
    labels = tuple(torch.tensor(label) for label in (identity, action, ACTION_GAME[action]))
    return torch.tensor(rng.normal(size=(len(identity), width))), labels


def value_of(criterion, x, labels):
    return float(criterion(x, *labels)["loss"].detach())


def gradient_of(criterion, x, labels):
    leaf = x.clone().requires_grad_()
    criterion(leaf, *labels)["loss"].backward()
    return leaf.grad
