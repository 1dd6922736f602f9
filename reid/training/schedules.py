"""The learning rate over a training, as a factor of the one in the parameter file.

Each is a function of how far the training is, so that nothing has to be counted ahead or kept: an epoch of action
batches has another number of steps than the next, and a killed training resumes where it was.
"""

import bisect
import math
from typing import Any

from reid.core.errors import ReidError
from reid.params import extensions
from reid.params.registries import SCHEDULES
from reid.params.schedule import CosineSchedule, OneCycleSchedule, PolynomialSchedule, StepSchedule


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@SCHEDULES.implement("step")
def _step(params: StepSchedule, progress: float, epoch: int) -> float:
    return float(params.gamma ** bisect.bisect_right(params.milestones, epoch))


@SCHEDULES.implement("cosine")
def _cosine(params: CosineSchedule, progress: float, epoch: int) -> float:
    if progress < params.warmup:
        return progress / params.warmup
    top = params.warmup + params.hold
    return _half_cosine(1, params.end, max(0.0, progress - top) / (1 - top))


@SCHEDULES.implement("one_cycle")
def _one_cycle(params: OneCycleSchedule, progress: float, epoch: int) -> float:
    # Smith 2018, with torch's OneCycleLR's start (1/25) and end (1/10,000 of it)
    up = params.warmup
    if progress < up:
        return _half_cosine(1 / 25, 1, progress / up)
    return _half_cosine(1, 1 / 250_000, (progress - up) / (1 - up))


@SCHEDULES.implement("polynomial")
def _polynomial(params: PolynomialSchedule, progress: float, epoch: int) -> float:
    if progress < params.warmup:
        return progress / params.warmup
    left = (1 - progress) / (1 - params.warmup)
    return float(params.end + (1 - params.end) * left**params.power)


def factor(schedule: Any, progress: float, epoch: int) -> float:
    """Factor of the learning rate for the next step.

    Args:
        schedule: parameters of one of the registry ``SCHEDULES``; None for a constant rate.
        progress: share of the training that is done, in [0, 1).
        epoch: number of the present epoch, from 0.

    Raises:
        ReidError: an extension's schedule fails, or its factor is negative or no finite number.
    """
    if schedule is None:
        return 1.0
    builder = SCHEDULES.builder(schedule.kind)
    with extensions.named(builder, f"schedule: {schedule.kind}"):
        value = float(builder(schedule, progress, epoch))
    if not 0 <= value < math.inf:
        where = f"epoch {epoch + 1}, {progress:.1%} of the training"
        raise ReidError(
            f"schedule: {schedule.kind}{extensions.source(builder)}: its factor must be a finite number, 0 or more, "
            f"not {value} ({where})"
        )
    return value
