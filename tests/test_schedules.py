"""Learning rates against torch's own schedulers, step by step."""

import numpy as np
import pytest
import torch

from reid.params import CosineSchedule, OneCycleSchedule, StepSchedule
from reid.schedules import factor

STEPS = 40


def rates_of_torch(make, rate=0.5, steps=STEPS):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = make(optimiser)
    found = []
    for _ in range(steps):
        found.append(optimiser.param_groups[0]["lr"] / rate)
        optimiser.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("warm_up", [0.25, 0.5])
def test_one_cycle_is_torchs(warm_up):
    # torch counts its two phases up to the last step, ours up to the end of the training: one step more
    total = STEPS + 1
    wanted = rates_of_torch(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, 0.5, total_steps=total, pct_start=(warm_up * STEPS + 1) / total, cycle_momentum=False
        ),
    )
    schedule = OneCycleSchedule(kind="one_cycle", warm_up=warm_up)
    np.testing.assert_allclose([factor(schedule, k / STEPS, 0) for k in range(STEPS)], wanted, atol=1e-9)


def test_cosine_is_torchs():
    schedule = CosineSchedule(kind="cosine", warm_up=0.0, hold=0.0, end=0.1)
    wanted = rates_of_torch(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.05))
    np.testing.assert_allclose([factor(schedule, k / STEPS, 0) for k in range(STEPS)], wanted)


def test_cosine_rises_in_a_straight_line_first():
    schedule = CosineSchedule(kind="cosine", warm_up=0.25, hold=0.0, end=0.0)
    found = [factor(schedule, k / STEPS, 0) for k in range(STEPS)]
    np.testing.assert_allclose(found[:10], np.arange(10) / 10)
    np.testing.assert_allclose(found[10:], [(1 + np.cos(np.pi * k / 30)) / 2 for k in range(30)])


@pytest.mark.parametrize("warm_up", [0, 10])
def test_cosine_holds_its_highest_rate(warm_up):
    schedule = CosineSchedule(kind="cosine", warm_up=warm_up / STEPS, hold=0.5, end=0.1)
    wanted = rates_of_torch(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS // 2 - warm_up, eta_min=0.05), steps=STEPS // 2
    )[: STEPS // 2 - warm_up]
    found = [factor(schedule, k / STEPS, 0) for k in range(warm_up, STEPS)]
    np.testing.assert_allclose(found, [1] * (STEPS // 2) + wanted, atol=1e-12)


@pytest.mark.parametrize("milestones", [[], [2], [1, 3]])
def test_step_is_torchs(milestones):
    schedule = StepSchedule(kind="step", milestones=milestones, gamma=0.1)
    wanted = rates_of_torch(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, milestones, 0.1), steps=5)
    np.testing.assert_allclose([factor(schedule, epoch / 5, epoch) for epoch in range(5)], wanted)
