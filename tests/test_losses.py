"""Losses against loops over pairs and classes."""

import math

import numpy as np
import pytest
import torch

from reid.losses import BatchLoss
from reid.params import Loss


def loss_of(triplet=None, softmax=None, width=8, people=6):
    params = Loss.model_validate(
        {
            "triplet": triplet and {"weight": triplet[0], "margin": triplet[1]},
            "softmax": softmax and {"weight": softmax[0], "label_smoothing": softmax[1]},
        }
    )
    return BatchLoss(params, width, people)


def naive_triplet(embeddings, person, margin):
    """Mean over the anchors that have a positive and a negative."""
    terms = []
    for i, a in enumerate(embeddings):
        positive = [math.dist(a, b) for j, b in enumerate(embeddings) if j != i and person[j] == person[i]]
        negative = [math.dist(a, b) for j, b in enumerate(embeddings) if person[j] != person[i]]
        if positive and negative:
            terms.append(max(0.0, max(positive) - min(negative) + margin))
    return sum(terms) / len(terms)


def naive_softmax(logits, person, smoothing):
    total = 0.0
    for row, right in zip(logits, person, strict=True):
        norm = math.log(sum(math.exp(value) for value in row))
        for k, value in enumerate(row):
            target = (1 - smoothing) * (k == right) + smoothing / len(row)
            total -= target * (value - norm)
    return total / len(person)


def batch(seed, size, people=6, width=8):
    rng = np.random.default_rng(seed)
    person = np.arange(size) % people
    rng.shuffle(person)
    return torch.tensor(rng.normal(size=(size, width))), torch.tensor(person)


@pytest.mark.parametrize("margin", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("size", [7, 12, 60])  # 7: five people have one picture; 60: cdist computes another way
def test_triplet_equals_the_naive_loop(size, margin):
    for seed in range(5):
        embeddings, person = batch(seed, size)
        found = loss_of(triplet=(1.0, margin))(embeddings, person)["triplet"]
        assert float(found) == pytest.approx(naive_triplet(embeddings.tolist(), person.tolist(), margin), abs=1e-6)


@pytest.mark.parametrize("size", [8, 32])
def test_triplet_equals_the_naive_loop_where_a_picture_stands_twice(size):
    embeddings, person = batch(3, size)
    embeddings, person = torch.cat([embeddings, embeddings[:4]]), torch.cat([person, person[:4]])
    embeddings = embeddings.float().requires_grad_()
    found = loss_of(triplet=(1.0, 0.3))(embeddings, person)["triplet"]
    assert float(found.detach()) == pytest.approx(naive_triplet(embeddings.tolist(), person.tolist(), 0.3), abs=1e-3)
    found.backward()
    assert torch.isfinite(embeddings.grad).all()


def test_triplet_of_one_person_with_the_same_picture_twice_pushes_only_the_negatives():
    embeddings = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.1, 0.0], [0.1, 0.0]], dtype=torch.float64)
    found = loss_of(triplet=(1.0, 0.3))(embeddings, torch.tensor([0, 0, 1, 1]))["triplet"]
    assert float(found) == pytest.approx(0.2)


def test_triplet_gradient_equals_a_difference_quotient():
    embeddings, person = batch(11, 12)
    criterion = loss_of(triplet=(1.0, 0.3))
    leaf = embeddings.clone().requires_grad_()
    criterion(leaf, person)["loss"].backward()
    for i, k in ((0, 0), (3, 5), (11, 7)):
        step = np.zeros(tuple(embeddings.shape))
        step[i, k] = 1e-6
        up, down = (naive_triplet((embeddings.numpy() + s * step).tolist(), person.tolist(), 0.3) for s in (1, -1))
        assert float(leaf.grad[i, k]) == pytest.approx((up - down) / 2e-6, abs=1e-5)


def test_triplet_of_a_batch_without_negatives_is_zero_and_can_be_trained_on():
    embeddings = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = loss_of(triplet=(1.0, 0.3))(embeddings, torch.zeros(4, dtype=torch.int64))["loss"]
    assert float(found.detach()) == 0
    found.backward()
    assert torch.isfinite(embeddings.grad).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_softmax_equals_the_naive_label_smoothed_cross_entropy(smoothing):
    torch.manual_seed(1)
    criterion = loss_of(softmax=(1.0, smoothing)).double()
    torch.nn.init.normal_(criterion.classifier.weight)
    torch.nn.init.normal_(criterion.classifier.bias)
    embeddings, person = batch(4, 10)
    weight, bias = criterion.classifier.weight.detach().numpy(), criterion.classifier.bias.detach().numpy()
    logits = embeddings.numpy() @ weight.T + bias
    found = criterion(embeddings, person)
    assert float(found["softmax"].detach()) == pytest.approx(naive_softmax(logits, person.tolist(), smoothing))
    assert set(found) == {"loss", "softmax"}


def test_classifier_starts_as_the_dev_kits_and_is_trained():
    torch.manual_seed(2)
    criterion = loss_of(softmax=(1.0, 0.1), width=64, people=200)
    assert float(criterion.classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert not criterion.classifier.bias.detach().any()
    assert [tuple(p.shape) for p in criterion.parameters()] == [(200, 64), (200,)]


def test_loss_is_the_weighted_sum_of_its_parts():
    torch.manual_seed(3)
    criterion = loss_of(triplet=(0.25, 0.3), softmax=(3.0, 0.1)).double()
    embeddings, person = batch(5, 12)
    parts = {name: float(value.detach()) for name, value in criterion(embeddings, person).items()}
    assert parts["triplet"] == pytest.approx(naive_triplet(embeddings.tolist(), person.tolist(), 0.3), abs=1e-6)
    assert parts["loss"] == pytest.approx(0.25 * parts["triplet"] + 3.0 * parts["softmax"])
    alone = loss_of(triplet=(0.25, 0.3))(embeddings, person)
    assert float(alone["loss"]) == pytest.approx(0.25 * parts["triplet"])
    assert set(alone) == {"loss", "triplet"}
    assert not list(loss_of(triplet=(1.0, 0.3)).parameters())
