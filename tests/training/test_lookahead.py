"""Lookahead against the loop of its paper."""

import torch

from reid.training.lookahead import Lookahead


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
