"""Section ``optimizer`` of a model."""

from typing import Annotated, Literal

from pydantic import Field

from reid.params.base import MOST_EPOCHS, Section
from reid.params.registries import OPTIMIZERS

Rate = Annotated[float, Field(ge=1e-9, le=100)]  # what is far below is lost in single precision


class Lookahead(Section):
    """Slow weights that follow the optimizer's, and are scored and kept if none are averaged (Zhang 2019)."""

    steps: int = Field(ge=2, le=10_000, description="of the optimizer, after which the weights become the slow ones")
    alpha: float = Field(
        0.5, ge=0.001, le=1, description="part of the way to the fast ones that the slow ones go then"
    )


class Optimizer(Section):
    """What every optimizer has."""

    learning_rate: Rate = Field(description="the highest")
    weight_decay: float = Field(0.0, ge=0, le=100, description="0 for none")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="factor of the learning rate per block of the backbone, from its end to its start"
    )
    bias_scale: Annotated[float, Field(ge=0.001, le=10_000)] | None = Field(
        None, description="factor of the learning rate of the biases of batch norms (64; Jordan 2024)"
    )
    clip_norm: Annotated[float, Field(ge=1e-6, le=1_000_000)] | None = Field(
        None, description="largest norm of the gradient"
    )
    accumulation: int = Field(1, ge=1, le=10_000, description="batches per step; fewer in the last of an epoch")
    frozen_epochs: int = Field(
        0, ge=0, le=MOST_EPOCHS, description="epochs at the start in which the backbone stays as it is"
    )
    lookahead: Lookahead | None = None


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


@OPTIMIZERS.declare("muon")
class Muon(Optimizer):
    """Muon (Jordan 2024; its learning rate is about 0.03) for the weight matrices and kernels inside the backbone,
    AdamW for all else.
    """

    adamw_learning_rate: Rate = Field(
        description="of all else: biases, norms, the first layer, what follows the backbone"
    )
    momentum: float = Field(0.95, ge=0, lt=1, description="Nesterov's, of Muon")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of Muon's matrix products; auto: bf16 on a GPU or processor that is fast in it, else fp32"
    )
