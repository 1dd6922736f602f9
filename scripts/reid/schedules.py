"""The learning rate over a training, as a factor of the one in params.yaml.

Each is a function of how far the training is, so that nothing has to be counted ahead or kept: an epoch of action
batches has another number of steps than the next, and a killed training goes on where it was.
"""

import bisect
import math


def _half_cosine(start, end, share):
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def factor(schedule, progress, epoch):
    """Factor of the learning rate for the next step.

    Args:
        schedule: reid.params.StepSchedule, CosineSchedule or OneCycleSchedule.
        progress: share of the training that is done, in [0, 1).
        epoch: number of the present epoch, from 0.

    Returns:
        float
    """
    if schedule.kind == "step":
        return schedule.gamma ** bisect.bisect_right(schedule.milestones, epoch)
    up = schedule.warm_up
    if schedule.kind == "one_cycle":  # Smith 2018, with torch's OneCycleLR's start (1/25) and end (1/10,000 of it)
        if progress < up:
            return _half_cosine(1 / 25, 1, progress / up)
        return _half_cosine(1, 1 / 250_000, (progress - up) / (1 - up))
    if progress < up:
        return progress / up
    top = up + schedule.hold
    return _half_cosine(1, schedule.end, max(0.0, progress - top) / (1 - top))
