"""The memory of earlier batches against a list of them."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as library

from builders.losses import IMAGES, NEGATIVES, WITH_REFERENCES, batch, loss_of, pair_loss, value_of

SIZES = (9, 6, 30, 9, 4, 12)  # of batches: one is larger than the memory, and it is written round its end


def batches(seed=0):
    for number, size in enumerate(SIZES):
        rng = np.random.default_rng([seed, number])
        yield batch(100 * seed + number, rng.choice(np.repeat(np.arange(len(IMAGES)), IMAGES), size))


@pytest.mark.parametrize("negatives", ["batch", "action+games"])
@pytest.mark.parametrize("name", WITH_REFERENCES)
def test_loss_equals_the_naive_loop_over_batch_and_memory(name, negatives):
    criterion, naive = pair_loss(name, negatives, memory={"size": 14, "start": 2})
    criterion.double()
    earlier, before = None, []
    for number, (x, labels) in enumerate(batches()):
        both = (x, labels)
        if earlier and number >= 2:
            rows, marks = earlier
            both = torch.cat([x, rows]), [torch.cat(two) for two in zip(labels, marks, strict=True)]
        value = value_of(criterion, x, labels)
        assert value == pytest.approx(naive(*both, count=len(x)), rel=1e-8, abs=1e-12)
        before.append(value == pytest.approx(value_of(pair_loss(name, negatives)[0], x, labels)))
        rows = torch.cat([earlier[0], x]) if earlier else x
        marks = [torch.cat(two) for two in zip(earlier[1], labels, strict=True)] if earlier else labels
        earlier = rows[-14:], [mark[-14:] for mark in marks]
    assert all(before[:2]) and not any(before[2:])


def test_loss_equals_the_librarys_cross_batch_memory():
    """Which takes the mean over all rows of the batch: here all are anchors."""
    criterion = loss_of(supcon={"temperature": 0.3}, memory={"size": 16}).double()
    theirs = library.CrossBatchMemory(library.SupConLoss(0.3), 8, memory_size=24)  # the batch itself is in it
    for seed in range(4):
        x, labels = batch(seed, [0, 0, 2, 2, 4, 4, 8, 8])
        wanted = float(theirs(x, labels[0]))
        assert value_of(criterion, x, labels) == pytest.approx(wanted, rel=1e-9)


def test_what_is_remembered_has_no_gradient_and_does_not_change():
    criterion = loss_of(triplet={"margin": 2.0, "mining": "all"}, memory={"size": 8}).double()
    first = torch.nn.Parameter(batch(0, [0, 0, 2, 2])[0])
    criterion(first, *batch(0, [0, 0, 2, 2])[1])["loss"].backward()
    kept, gradient = first.detach().clone(), first.grad.clone()
    with torch.no_grad():
        first.add_(1)
    x, labels = batch(1, [0, 0, 2, 2])
    criterion(x.requires_grad_(), *labels)["loss"].backward()
    assert torch.equal(criterion.memory.embeddings[:4], kept) and torch.equal(first.grad, gradient)


def test_a_memory_goes_on_where_it_was_kept():
    given = {"supcon": {"temperature": 0.1, "learn_temperature": True}, "memory": {"size": 14, "start": 1}}
    whole = loss_of(**given)
    values = [value_of(whole, *one) for one in batches(3)]
    for stop in range(1, len(SIZES)):
        first, second = loss_of(**given), loss_of(**given)
        several = list(batches(3))
        begun = [value_of(first, *one) for one in several[:stop]]
        second.load_state_dict(first.state_dict())
        assert begun + [value_of(second, *one) for one in several[stop:]] == values


def test_without_a_memory_nothing_is_kept():
    for negatives in NEGATIVES:
        assert not loss_of(negatives, supcon={"temperature": 0.1}).state_dict()
