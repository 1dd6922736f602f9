"""Learning rates against torch's own schedulers, step by step."""

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from builders.model import model
from reid.training.schedules import factor

STEPS = 40


def schedule_of(kind, **params):
    return model({"schedule": {"kind": kind, **params}}).schedule


def rates_of_torch(make, rate=0.5, steps=STEPS):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"] / rate)
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup", [0.25, 0.5])
def test_one_cycle_is_torchs(warmup):
    # torch counts its two phases up to the last step, ours up to the end of the training: one step more
    total = STEPS + 1
    wanted = rates_of_torch(
        lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer, 0.5, total_steps=total, pct_start=(warmup * STEPS + 1) / total, cycle_momentum=False
        ),
    )
    schedule = schedule_of("one_cycle", warmup=warmup)
    np.testing.assert_allclose([factor(schedule, k / STEPS, 0) for k in range(STEPS)], wanted, atol=1e-9)


def test_cosine_is_torchs():
    schedule = schedule_of("cosine", end=0.1)
    wanted = rates_of_torch(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=0.05))
    np.testing.assert_allclose([factor(schedule, k / STEPS, 0) for k in range(STEPS)], wanted)


def test_cosine_rises_in_a_straight_line_first():
    schedule = schedule_of("cosine", warmup=0.25)
    rates = [factor(schedule, k / STEPS, 0) for k in range(STEPS)]
    np.testing.assert_allclose(rates[:10], np.arange(10) / 10)
    np.testing.assert_allclose(rates[10:], [(1 + np.cos(np.pi * k / 30)) / 2 for k in range(30)])


@pytest.mark.parametrize("warmup", [0, 10])
def test_cosine_holds_its_highest_rate(warmup):
    schedule = schedule_of("cosine", warmup=warmup / STEPS, hold=0.5, end=0.1)
    wanted = rates_of_torch(
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, STEPS // 2 - warmup, eta_min=0.05),
        steps=STEPS // 2,
    )[: STEPS // 2 - warmup]
    rates = [factor(schedule, k / STEPS, 0) for k in range(warmup, STEPS)]
    np.testing.assert_allclose(rates, [1] * (STEPS // 2) + wanted, atol=1e-12)


@pytest.mark.parametrize("milestones", [[], [2], [1, 3]])
def test_step_is_torchs(milestones):
    schedule = schedule_of("step", milestones=milestones, gamma=0.1)
    wanted = rates_of_torch(lambda optimizer: lr_scheduler.MultiStepLR(optimizer, milestones, 0.1), steps=5)
    np.testing.assert_allclose([factor(schedule, epoch / 5, epoch) for epoch in range(5)], wanted)


def test_rate_is_constant_without_a_schedule():
    assert [factor(None, k / STEPS, k) for k in range(STEPS)] == [1] * STEPS


@pytest.mark.parametrize("power", [1, 2])
def test_polynomial_is_torchs(power):
    schedule = schedule_of("polynomial", power=power)
    wanted = rates_of_torch(lambda optimizer: lr_scheduler.PolynomialLR(optimizer, STEPS, power))
    np.testing.assert_allclose([factor(schedule, k / STEPS, 0) for k in range(STEPS)], wanted, atol=1e-12)


def test_polynomial_rises_first_and_falls_to_its_end():
    schedule = schedule_of("polynomial", warmup=0.25, power=2, end=0.25)  # the winner's: 4e-5, and 1e-5 at the end
    rates = 4e-5 * np.array([factor(schedule, k / STEPS, 0) for k in range(STEPS)])
    np.testing.assert_allclose(rates[:10], 4e-5 * np.arange(10) / 10)
    np.testing.assert_allclose(rates[10:], [3e-5 * (1 - k / 30) ** 2 + 1e-5 for k in range(30)])
