"""Lookahead against the loop of its paper."""

import pytest
import torch

from builders.training import CHEAP, equal, trainer_of, weights
from reid.training.lookahead import Lookahead

pytestmark = pytest.mark.usefixtures("torch_as_it_was", "one_thread", "device")


def test_slow_weights_are_those_of_the_papers_loop():
    target = torch.tensor([1.0, -2.0, 3.0])
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = Lookahead(torch.optim.SGD([weight], lr=0.3, momentum=0.9), steps=3, alpha=0.4)
    slow, fast = torch.zeros(3), torch.zeros(3)
    momentum = torch.zeros(3)
    for step in range(1, 9):
        optimizer.zero_grad()
        ((weight - target) ** 2).sum().backward()
        optimizer.step()
        momentum = 0.9 * momentum + 2 * (fast - target)
        fast = fast - 0.3 * momentum
        if step % 3 == 0:
            slow = fast = slow + 0.4 * (fast - slow)
        torch.testing.assert_close(weight.detach(), fast)
    assert optimizer.param_groups is optimizer.optimizer.param_groups


def test_a_round_that_ends_early_leaves_slow_weights_for_as_long_as_they_are_asked_for():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = Lookahead(torch.optim.SGD([weight], lr=1.0), steps=3, alpha=0.25)
    for steps in range(1, 6):
        weight.grad = torch.ones(3)
        optimizer.step()
        before = weight.detach().clone()
        with optimizer.round_ended():
            torch.testing.assert_close(weight.detach(), torch.full((3,), [-0.25, -0.5, -0.75, -1.0, -1.25][steps - 1]))
        assert torch.equal(weight.detach(), before)


def test_finished_and_scored_networks_have_the_slow_weights():
    scored = []

    class Scorer:
        def score(self, network, dtype):
            scored.append(weights(network))
            return 0.5

    changes = {**CHEAP, "epochs": 1, "optimizer.lookahead": {"steps": 100}, "validation": {"metric": "cosine"}}
    trainer = trainer_of(changes)
    before, trainer.validator = weights(trainer.network), Scorer()
    while not trainer.epoch_is_over:
        trainer.step()
    fast = weights(trainer.network)
    trainer.end_epoch()
    assert not equal(before, fast)
    for found in (weights(trainer.last()), scored[0]):
        for name, _ in trainer.network.named_parameters():
            torch.testing.assert_close(found[name], (before[name] + fast[name]) / 2)
    assert equal(weights(trainer.network), fast)
