"""Losses against loops over images and identities."""

import math
import operator

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as library

from reid.params.schema import section_class
from reid.training.losses import BatchLoss, pair_masks

NEGATIVES = ("batch", "action", "action+games")
# Identities of one action do not stand together; actions 3 and 4 have one each, and 11 to 13 have no image.
IDENTITY_ACTION = np.array([0, 2, 0, 1, 2, 1, 2, 0, 2, 3, 4, 0, 2, 5])
ACTION_GAME = np.array([0, 0, 1, 2, 1, 2])
IMAGES = np.array([3, 2, 1, 2, 1, 4, 1, 2, 1, 3, 1, 0, 0, 0])  # of each identity in a batch


# What the losses are, in loops. x: rows; positive, negative: lists of positions, one list for each anchor.


def cosine(a, b):
    return sum(map(operator.mul, a, b)) / math.hypot(*a) / math.hypot(*b)


def mean(values):
    return sum(values) / len(values) if values else 0.0


def naive_supcon(x, positive, negative, identity, temperature):
    terms = []
    for i in range(len(x)):
        below = sum(math.exp(cosine(x[i], x[k]) / temperature) for k in positive[i] + negative[i])
        if positive[i]:
            terms.append(mean([math.log(below) - cosine(x[i], x[p]) / temperature for p in positive[i]]))
    return mean(terms)


def naive_ntxent(x, positive, negative, identity, temperature):
    terms = []
    for i in range(len(x)):
        for p in positive[i]:
            below = sum(math.exp(cosine(x[i], x[k]) / temperature) for k in [p, *negative[i]])
            terms.append(math.log(below) - cosine(x[i], x[p]) / temperature)
    return mean(terms)


def naive_multi_similarity(x, positive, negative, identity, alpha, beta, base):
    terms = []
    for i in range(len(x)):
        near = sum(math.exp(-alpha * (cosine(x[i], x[p]) - base)) for p in positive[i])
        far = sum(math.exp(beta * (cosine(x[i], x[n]) - base)) for n in negative[i])
        if positive[i]:
            terms.append(math.log(1 + near) / alpha + math.log(1 + far) / beta)
    return mean(terms)


def naive_circle(x, positive, negative, identity, margin, gamma, fixed=None):
    """``fixed``: rows that the weights of the pairs come from, which the gradient takes as constant."""
    fixed = x if fixed is None else fixed
    terms = []
    for i in range(len(x)):
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
    for i in range(len(x)):
        if positive[i] and negative[i]:
            far = max(math.dist(x[i], x[p]) for p in positive[i])
            near = min(math.dist(x[i], x[n]) for n in negative[i])
            terms.append(max(0.0, far - near + margin))
    return mean(terms)


def naive_centroid(x, positive, negative, identity, temperature):
    x = [np.array(row) / math.hypot(*row) for row in x]
    terms = []
    for i in range(len(x)):
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


def naive_pairs(identity, action, game, negatives):
    positive, negative = [], []
    for i in range(len(identity)):
        positive.append([j for j in range(len(identity)) if j != i and identity[j] == identity[i]])
        others = [j for j in range(len(identity)) if identity[j] != identity[i]]
        if negatives == "action":
            others = [j for j in others if action[j] == action[i]]
        if negatives == "action+games":
            others = [j for j in others if action[j] == action[i] or game[j] != game[i]]
        negative.append(others)
    return positive, negative


PAIR_LOSSES = {
    "supcon": ({"temperature": 0.3}, naive_supcon),
    "ntxent": ({"temperature": 0.2}, naive_ntxent),
    "multi_similarity": ({"alpha": 3.0, "beta": 20.0, "base": 0.2}, naive_multi_similarity),
    "circle": ({"margin": 0.3, "gamma": 10.0}, naive_circle),
    "triplet": ({"margin": 0.3}, naive_triplet),
    "centroid": ({"temperature": 0.25}, naive_centroid),
}
every_loss = pytest.mark.parametrize("name", PAIR_LOSSES)
every_choice = pytest.mark.parametrize("negatives", NEGATIVES)


def loss_of(negatives="batch", width=8, identity_action=IDENTITY_ACTION, **losses):
    params = section_class("Loss").model_validate({"negatives": negatives, **losses})
    return BatchLoss(params, width, torch.tensor(identity_action))


def pair_loss(name, negatives):
    """One of PAIR_LOSSES as a BatchLoss, and as a function of rows and of identity, action, game."""
    given, naive = PAIR_LOSSES[name]

    def in_loops(x, labels, **extra):
        labels = [label.tolist() for label in labels]
        return naive(np.asarray(x).tolist(), *naive_pairs(*labels, negatives), labels[0], **given, **extra)

    return loss_of(negatives, **{name: given}), in_loops


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


@every_choice
def test_pairs_equal_the_naive_loop(negatives):
    for seed in range(3):
        _, labels = batch(seed)
        pairs = [[torch.where(row)[0].tolist() for row in mask] for mask in pair_masks(*labels, negatives)]
        assert pairs == list(naive_pairs(*(label.tolist() for label in labels), negatives))


def test_pairs_of_five_images():
    identity, action, game = torch.tensor([[0, 0, 1, 2, 3], [0, 0, 0, 1, 2], [0, 0, 0, 0, 1]])
    used = {
        name: [torch.where(row)[0].tolist() for row in pair_masks(identity, action, game, name)[1]]
        for name in NEGATIVES
    }
    assert used == {
        "batch": [[2, 3, 4], [2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 4], [0, 1, 2, 3]],
        "action": [[2], [2], [0, 1], [], []],
        "action+games": [[2, 4], [2, 4], [0, 1, 4], [4], [0, 1, 2, 3]],  # 3 may be 0, 1 or 2 in another action
    }


@every_choice
@every_loss
def test_loss_equals_the_naive_loop(name, negatives):
    criterion, naive = pair_loss(name, negatives)
    for seed in range(3):
        x, labels = batch(seed)
        losses = criterion(x, *labels)
        assert set(losses) == {"loss", name}
        assert float(losses["loss"]) == pytest.approx(naive(x, labels), rel=1e-9)


@every_choice
@every_loss
def test_gradient_equals_a_difference_quotient(name, negatives):
    criterion, naive = pair_loss(name, negatives)
    x, labels = batch(11)
    fixed = {"fixed": x.tolist()} if name == "circle" else {}
    gradient = gradient_of(criterion, x, labels)
    step = 1e-5 * np.random.default_rng(0).normal(size=(3, *x.shape))
    for direction in step:
        up, down = (naive(x.numpy() + sign * direction, labels, **fixed) for sign in (1, -1))
        assert float((gradient * torch.tensor(direction)).sum()) == pytest.approx((up - down) / 2, rel=1e-5, abs=1e-11)


@pytest.mark.parametrize(
    "negatives, other_game, counts",
    [
        ("batch", False, True),
        ("action", False, False),
        ("action", True, False),
        ("action+games", False, False),
        ("action+games", True, True),
    ],
)
@every_loss
def test_only_allowed_negatives_have_an_influence(name, negatives, other_game, counts):
    """Anchors are in action 0 (game 0); one image each of actions 1 (game 0) or 2 (game 1) comes near to them."""
    criterion, _ = pair_loss(name, negatives)
    x, labels = batch(2, [0, 0, 0, 7, 7, 2, 4 if other_game else 3])
    alone = value_of(criterion, x[:-1], [label[:-1] for label in labels])
    gradient = gradient_of(criterion, x, labels)[-1]
    x[-1] = x[0] + 0.01  # harder than any other
    near = value_of(criterion, x, labels)
    if counts:
        assert near > alone + 1e-3
        assert name == "triplet" or gradient.any()  # a triplet has one negative, here another
    else:
        assert near == pytest.approx(alone, rel=1e-12)
        assert not gradient.any()
        assert not gradient_of(criterion, x, labels)[-1].any()


@every_choice
@every_loss
def test_batch_without_positives_is_zero_and_can_be_trained_on(name, negatives):
    x, labels = batch(3, [0, 2, 3, 4, 5, 9])
    criterion, _ = pair_loss(name, negatives)
    assert value_of(criterion, x, labels) == 0
    assert not gradient_of(criterion, x, labels).any()


@pytest.mark.parametrize("identity", [[5, 5, 5, 5], [0, 0, 0, 3, 3, 9, 9, 9]])  # one identity; one of each action
@every_loss
def test_batch_without_negatives_can_be_trained_on(name, identity):
    x, labels = batch(4, identity)
    criterion, naive = pair_loss(name, "action")
    wanted = naive(x, labels) if name == "multi_similarity" else 0
    assert value_of(criterion, x, labels) == pytest.approx(wanted, abs=1e-12)
    assert torch.isfinite(gradient_of(criterion, x, labels)).all()


@every_loss
def test_anchor_without_negatives_counts_in_the_mean(name):
    """But not in that of the triplet, which needs a negative; supcon pulls the three images of 9 together."""
    x, labels = batch(5, [0, 0, 7, 9, 9, 9, 10])
    criterion, naive = pair_loss(name, "action")
    value = value_of(criterion, x, labels)
    rest = value_of(criterion, x[:3], [label[:3] for label in labels])
    assert value == pytest.approx(naive(x, labels), rel=1e-9)
    elements = {"ntxent": (2, 8), "triplet": (2, 2)}.get(name, (2, 5))
    if name in ("supcon", "multi_similarity"):
        assert value > rest * elements[0] / elements[1] + 0.1
    else:
        assert value == pytest.approx(rest * elements[0] / elements[1], rel=1e-9)
        assert value > 0


def test_anchors_whose_loss_is_zero_count_in_the_mean():
    """Two identities of action 0 stand opposite to each other, and circle's exp(-256) is no float32."""
    x = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0], [1, 0], [0, 1], [1, 1]])
    labels = torch.tensor([[0, 0, 2, 2, 3, 3, 5], [0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]])
    criterion = loss_of("action", circle={"margin": 0.25, "gamma": 4096.0})
    assert value_of(criterion, x[:4], labels[:, :4]) == 0
    rest = value_of(criterion, x[4:], labels[:, 4:])
    assert rest > 0
    assert value_of(criterion, x, labels) == pytest.approx(rest * 2 / 6)


@every_choice
def test_ntxent_equals_the_librarys(negatives):
    x, labels = batch(6)
    pairs = [index for mask in pair_masks(*labels, negatives) for index in torch.where(mask)]
    wanted = library.NTXentLoss(0.2)(x, indices_tuple=tuple(pairs))
    assert value_of(pair_loss("ntxent", negatives)[0], x, labels) == pytest.approx(float(wanted), rel=1e-9)


@pytest.mark.parametrize("name", ["supcon", "ntxent"])
def test_hard_pair_at_a_low_temperature_keeps_its_gradient(name):
    """The share of the positive, exp(-200), is no float32."""
    x = torch.tensor([[1.0, 0.1], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.1]])
    labels = torch.tensor([0, 0, 1, 1]), torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)
    criterion = loss_of(**{name: {"temperature": 0.01}})
    positive, negative = naive_pairs(*(label.tolist() for label in labels), "batch")
    wanted = PAIR_LOSSES[name][1](x.tolist(), positive, negative, labels[0], 0.01)
    assert wanted > 150
    assert value_of(criterion, x, labels) == pytest.approx(wanted, rel=1e-5)
    assert gradient_of(criterion, x, labels).abs().max() > 1


@pytest.mark.parametrize("margin", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("size", [7, 12, 60])  # 7: five identities have one image; 60: cdist computes another way
def test_triplet_equals_the_naive_loop(size, margin):
    for seed in range(5):
        x, labels = batch(seed, np.random.default_rng(seed).permutation(np.arange(size) % 6))
        positive, negative = naive_pairs(*(label.tolist() for label in labels), "batch")
        wanted = naive_triplet(x.tolist(), positive, negative, None, margin)
        assert value_of(loss_of(triplet={"margin": margin}), x, labels) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("size", [8, 32])
def test_triplet_equals_the_naive_loop_where_an_image_stands_twice(size):
    x, labels = batch(3, np.arange(size) % 6)
    x, labels = torch.cat([x, x[:4]]).float(), [torch.cat([label, label[:4]]) for label in labels]
    criterion, naive = pair_loss("triplet", "batch")
    assert value_of(criterion, x, labels) == pytest.approx(naive(x, labels), abs=1e-3)
    assert torch.isfinite(gradient_of(criterion, x, labels)).all()


def test_triplet_of_one_identity_with_the_same_image_twice_pushes_only_the_negatives():
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.1, 0.0], [0.1, 0.0]], dtype=torch.float64)
    labels = torch.tensor([[0, 0, 2, 2], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert value_of(pair_loss("triplet", "batch")[0], x, labels) == pytest.approx(0.2)


def classifier_of(criterion):
    """Weight and bias of the id loss, which is the only one with parameters."""
    weight, bias = criterion.parameters()
    return weight, bias


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("over", ["all", "action"])
def test_id_loss_equals_the_naive_label_smoothed_cross_entropy(over, smoothing):
    torch.manual_seed(1)
    criterion = loss_of(id={"label_smoothing": smoothing, "over": over}).double()
    for parameter in classifier_of(criterion):
        torch.nn.init.normal_(parameter)
    weight, bias = (parameter.detach().numpy().copy() for parameter in classifier_of(criterion))
    identity_action = IDENTITY_ACTION if over == "action" else None
    for identity in (None, [2, 5, 0, 5, 9]):  # all actions, and some
        x, labels = batch(4, identity)
        known = labels[0].tolist()
        losses = criterion(x, *labels)
        wanted = naive_id(x.numpy() @ weight.T + bias, known, smoothing, identity_action)
        assert float(losses["id"].detach()) == pytest.approx(wanted, rel=1e-9)
        assert set(losses) == {"loss", "id"}

        criterion.zero_grad()
        losses["loss"].backward()
        gradient = classifier_of(criterion)[0].grad
        step = 1e-5 * np.random.default_rng(0).normal(size=weight.shape)
        up, down = (
            naive_id(x.numpy() @ (weight + sign * step).T + bias, known, smoothing, identity_action)
            for sign in (1, -1)
        )
        assert float((gradient * torch.tensor(step)).sum()) == pytest.approx((up - down) / 2, rel=1e-5)
        others = ~np.isin(IDENTITY_ACTION, IDENTITY_ACTION[known])
        assert gradient[others].any() == (over == "all" and others.any())


def test_id_loss_over_an_action_with_one_identity_is_zero():
    criterion = loss_of(id={"label_smoothing": 0.1, "over": "action"}).double()
    x, labels = batch(7, [9, 9, 10])
    assert value_of(criterion, x, labels) == 0
    assert not gradient_of(criterion, x, labels).any()


def test_id_loss_over_actions_reads_only_the_identities_of_those_in_the_batch():
    criterion = loss_of(id={"label_smoothing": 0.1, "over": "action"}).double()
    with torch.no_grad():
        classifier_of(criterion)[0][~np.isin(IDENTITY_ACTION, [0, 2])] = torch.nan
    gradient = gradient_of(criterion, *batch(7, [0, 0, 7, 1, 4]))
    assert torch.isfinite(gradient).all() and gradient.any()


def test_id_loss_alone_is_computed_after_the_bnneck():
    torch.manual_seed(4)
    losses = {"triplet": {"margin": 0.3}, "centroid": {"temperature": 0.1}}
    criterion = loss_of(id={"label_smoothing": 0.1, "over": "all"}, **losses).double()
    torch.nn.init.normal_(classifier_of(criterion)[0])
    x, labels = batch(8)
    bnneck = 3 * x + 1
    mixed, before, after = criterion(x, *labels, bnneck), criterion(x, *labels), criterion(bnneck, *labels)
    assert mixed["id"] == after["id"] != before["id"]
    for name in losses:
        assert mixed[name] == before[name] != after[name]


@pytest.mark.parametrize("over", ["all", "action"])
def test_classifier_starts_as_the_dev_kits_and_is_trained(over):
    torch.manual_seed(2)
    criterion = loss_of(id={"label_smoothing": 0.1, "over": over}, width=64, identity_action=np.arange(200) // 10)
    weight, bias = classifier_of(criterion)
    assert (weight.shape, bias.shape) == ((200, 64), (200,))
    assert float(weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert not bias.detach().any()
    assert [value.shape for value in criterion.state_dict().values()] == [(200, 64), (200,)]


@every_choice
def test_loss_is_the_weighted_sum_of_its_parts(negatives):
    torch.manual_seed(3)
    weights = {"supcon": 2.0, "triplet": 0.25, "centroid": 0.5, "id": 3.0}
    given = {name: {"weight": weights[name], **PAIR_LOSSES[name][0]} for name in ("supcon", "triplet", "centroid")}
    x, labels = batch(5)
    criterion = loss_of(negatives, **given, id={"weight": 3.0, "label_smoothing": 0.1, "over": "action"}).double()
    losses = {name: float(value.detach()) for name, value in criterion(x, *labels).items()}
    assert set(losses) == {"loss", *weights}
    assert losses["loss"] == pytest.approx(sum(weights[name] * losses[name] for name in weights))
    for name in given:
        assert losses[name] == pytest.approx(pair_loss(name, negatives)[1](x, labels))
        alone = loss_of(negatives, **{name: given[name]})
        assert value_of(alone, x, labels) == pytest.approx(weights[name] * losses[name])
        assert not list(alone.parameters())


def test_low_precision_outside_does_not_reach_the_losses():
    given = {name: part for name, (part, _) in PAIR_LOSSES.items()}
    criterion = loss_of(**given, id={"label_smoothing": 0.1, "over": "action"})
    torch.nn.init.normal_(classifier_of(criterion)[0], generator=torch.Generator().manual_seed(0))
    x, labels = batch(9)
    x = x.bfloat16()
    outside = criterion(x.float(), *labels)
    with torch.autocast("cpu", torch.bfloat16):
        inside = criterion(x, *labels)
    assert set(inside) == {"loss", "id", *PAIR_LOSSES}
    for name, value in outside.items():
        assert inside[name].dtype == torch.float32
        assert inside[name] == value


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@every_choice
def test_gpu_repeats_to_the_bit_and_agrees_with_the_cpu(negatives, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    x, labels = batch(10)
    there = [label.cuda() for label in labels]
    torch.use_deterministic_algorithms(True)
    try:
        for name, (given, _) in PAIR_LOSSES.items():
            criterion = loss_of(negatives, **{name: given}, id={"label_smoothing": 0.1, "over": "action"}).double()
            wanted = gradient_of(criterion, x, labels)
            criterion.cuda()
            first, again = (gradient_of(criterion, x.cuda(), there) for _ in range(2))
            assert torch.equal(first, again)
            assert torch.allclose(first.cpu(), wanted, rtol=1e-9, atol=1e-12)
    finally:
        torch.use_deterministic_algorithms(False)
