"""Section ``optimizer`` of a model."""

from typing import Annotated

from pydantic import Field

from reid.params.base import MOST_EPOCHS, Section
from reid.params.registries import OPTIMIZERS


class Optimizer(Section):
    """What every optimizer has."""

    learning_rate: float = Field(gt=0, le=100, description="the highest")
    weight_decay: float = Field(0.0, ge=0, le=100, description="0 for none")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="factor of the learning rate per block of the backbone, from its end to its start"
    )
    clip_norm: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        None, description="largest norm of the gradient"
    )
    accumulation: int = Field(1, ge=1, le=10_000, description="batches per step")
    frozen_epochs: int = Field(
        0, ge=0, le=MOST_EPOCHS, description="epochs at the start in which the backbone stays as it is"
    )


OPTIMIZERS.base = Optimizer


@OPTIMIZERS.declare("adamw")
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov 2019)."""


@OPTIMIZERS.declare("adam")
class Adam(Optimizer):
    """Adam (Kingma 2015), the dev kit's."""


@OPTIMIZERS.declare("amsgrad")
class AMSGrad(Optimizer):
    """Adam with the largest second moment so far (Reddi 2018)."""


@OPTIMIZERS.declare("sgd")
class SGD(Optimizer):
    """Stochastic gradient descent with a momentum of 0.9, as in the dev kit."""


@OPTIMIZERS.declare("rmsprop")
class RMSprop(Optimizer):
    """RMSprop with a momentum of 0.9, as in the dev kit."""


@OPTIMIZERS.declare("radam")
class RAdam(Optimizer):
    """Rectified Adam (Liu 2020) with decoupled weight decay."""
