"""Id losses against loops over identities, and against pytorch-metric-learning."""

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as library

from builders.losses import IDENTITY_ACTION, batch, cosine, gradient_of, loss_of, naive_id, value_of
from reid.training.id_losses import logits_of_all, logits_of_each, rivals


def test_rivals_are_the_identities_of_each_action():
    table, count = rivals(torch.tensor([2, 0, 2, 4, 2, 0]))  # nobody in actions 1 and 3
    assert count.tolist() == [2, 0, 3, 0, 1]
    assert [row[:number] for row, number in zip(table.tolist(), count.tolist(), strict=True)] == [
        [1, 5],
        [],
        [0, 2, 4],
        [],
        [3],
    ]


def classifier_of(criterion):
    """Weight and bias of the id loss."""
    weight, bias = criterion.losses["id"].parameters()
    return weight, bias


@pytest.mark.parametrize("product", [logits_of_all, logits_of_each])
def test_logits_are_those_of_the_images_rivals(product):
    torch.manual_seed(5)
    classifier = torch.nn.Linear(8, len(IDENTITY_ACTION)).double()
    x, (_, action, _) = batch(3)
    everybody = classifier(x)
    logits = product(x, classifier, action, rivals(torch.tensor(IDENTITY_ACTION))[0])
    for image, own in enumerate(action.tolist()):
        wanted = everybody[image, own == IDENTITY_ACTION]
        assert logits[image, : len(wanted)].tolist() == pytest.approx(wanted.tolist(), rel=1e-12)

    gradients = []
    for values in (logits.sum(), everybody.gather(1, table_of(action)).sum()):
        classifier.zero_grad()
        values.backward(retain_graph=True)
        gradients.append([parameter.grad.clone() for parameter in classifier.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def table_of(action):
    return rivals(torch.tensor(IDENTITY_ACTION))[0][action]


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


def test_id_losses_alone_are_computed_after_the_bnneck():
    torch.manual_seed(4)
    arcface = {"arcface": {"scale": 8.0, "margin": 0.5}}
    losses = {"triplet": {"margin": 0.3}, "centroid": {"temperature": 0.1}}
    criterion = loss_of(id={"label_smoothing": 0.1, "over": "all"}, **arcface, **losses).double()
    for parameter in criterion.parameters():
        torch.nn.init.normal_(parameter)
    x, labels = batch(8)
    bnneck = 3 * x + 1
    mixed, before, after = criterion(x, *labels, bnneck), criterion(x, *labels), criterion(bnneck, *labels)
    for name in ("id", "arcface"):
        assert mixed[name] == after[name] != before[name]
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


def naive_arcface(x, weight, identity, scale, margin):
    total = 0.0
    for row, own in zip(x, identity, strict=True):
        logits = []
        for number, direction in enumerate(weight):
            angle = math.acos(cosine(row, direction))
            if number == own:
                turned = math.cos(angle + margin)
                turned = turned if angle + margin < math.pi else math.cos(angle) - margin * math.sin(margin)
                logits.append(scale * turned)
            else:
                logits.append(scale * math.cos(angle))
        total += math.log(sum(map(math.exp, logits))) - logits[own]
    return total / len(identity)


def arcface_of(margin, seed=0):
    """A criterion of random directions, one of them opposite to the first image, and a batch."""
    torch.manual_seed(seed)
    criterion = loss_of(arcface={"scale": 6.0, "margin": margin}).double()
    x, labels = batch(seed)
    (weight,) = criterion.parameters()
    torch.nn.init.normal_(weight)
    with torch.no_grad():
        weight[labels[0][0]] = 0.1 * weight[0] - x[0]
    return criterion, weight, x, labels


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.2])
def test_arcface_equals_the_naive_loop_and_the_library(margin):
    criterion, weight, x, labels = arcface_of(margin)
    rows, identity = weight.detach().numpy().copy(), labels[0].tolist()
    value = value_of(criterion, x, labels)
    assert value == pytest.approx(naive_arcface(x.numpy(), rows, identity, 6.0, margin), rel=1e-9)
    theirs = library.ArcFaceLoss(len(rows), 8, margin=math.degrees(margin), scale=6).double()
    theirs.W.data = weight.detach().T.clone()
    assert value == pytest.approx(float(theirs(x, labels[0]).detach()), rel=1e-6)

    gradient = gradient_of(criterion, x, labels)
    step = 1e-5 * np.random.default_rng(0).normal(size=x.shape)
    up, down = (naive_arcface(x.numpy() + sign * step, rows, identity, 6.0, margin) for sign in (1, -1))
    assert float((gradient * torch.tensor(step)).sum()) == pytest.approx((up - down) / 2, rel=1e-5)


def test_arcface_of_an_embedding_along_its_direction_has_a_gradient():
    """Where the sine is 0."""
    criterion, weight, _, labels = arcface_of(0.5)
    with torch.no_grad():
        weight.copy_(torch.eye(8).repeat(2, 1)[: len(weight)])
    for sign in (1, -1):
        assert torch.isfinite(gradient_of(criterion, sign * weight.detach()[labels[0]], labels)).all()
        assert torch.isfinite(weight.grad).all()
