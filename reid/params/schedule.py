"""Section ``schedule`` of a model: the learning rate over the training; constant if absent."""

from typing import Annotated

from pydantic import Field

from reid.params.base import MOST_EPOCHS, Section, Share
from reid.params.registries import SCHEDULES


@SCHEDULES.declare("step")
class StepSchedule(Section):
    """The dev kit's single_step and multi_step."""

    milestones: list[Annotated[int, Field(ge=1, le=MOST_EPOCHS)]] = Field(
        max_length=100, description="epochs after which the learning rate is multiplied by gamma, ascending"
    )
    gamma: float = Field(ge=1e-6, le=100, description="factor (0.1)")


@SCHEDULES.declare("cosine")
class CosineSchedule(Section):
    """A straight rise, a plateau, then half a cosine down (with a plateau: warm-up, stable, decay; Hu 2024)."""

    warmup: float = Field(0.0, ge=0, lt=1, description="share of the training in which the learning rate rises")
    hold: float = Field(
        0.0, ge=0, lt=1, description="share of the training after that in which it stays at its highest"
    )
    end: Share = Field(0.0, description="the last learning rate as a share of the highest")


@SCHEDULES.declare("one_cycle")
class OneCycleSchedule(Section):
    """Half a cosine from 1/25 up to the learning rate, and half a cosine down to nothing (Smith 2018)."""

    warmup: float = Field(gt=0, lt=1, description="share of the training in which the learning rate rises (0.3)")


@SCHEDULES.declare("polynomial")
class PolynomialSchedule(Section):
    """A straight rise, then a power of the share that is left (a straight fall with 1)."""

    warmup: float = Field(0.0, ge=0, lt=1, description="share of the training in which the learning rate rises")
    power: float = Field(1.0, gt=0, le=100, description="of the share of the training that is left")
    end: Share = Field(0.0, description="the last learning rate as a share of the highest")
