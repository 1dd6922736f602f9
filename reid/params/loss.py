"""Section ``loss`` of a model: a weighted sum of the losses that it names."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reid.params.base import Section, Share, Weight
from reid.params.registries import LOSSES

WEIGHT = "of this loss in the sum"
Temperature = Annotated[float, Field(ge=0.0001, le=1000)]
TEMPERATURE = "by which similarities are divided; a low one looks at the hardest pairs"


class WeightedLoss(Section):
    """What every loss has; ``pairs`` says whether it compares images, and so needs two of one identity in a batch."""

    pairs: ClassVar[bool] = True
    weight: Weight = Field(1.0, description=WEIGHT)


LOSSES.base = WeightedLoss


@LOSSES.declare("supcon")
class SupCon(WeightedLoss):
    """Supervised contrastive loss (Khosla 2020): softmax of each anchor's positives against its negatives and the
    other positives."""

    temperature: Temperature = Field(description=TEMPERATURE)


@LOSSES.declare("ntxent")
class NTXent(WeightedLoss):
    """NT-Xent, InfoNCE: each positive pair against the anchor's negatives."""

    temperature: Temperature = Field(description=TEMPERATURE)


@LOSSES.declare("multi_similarity")
class MultiSimilarity(WeightedLoss):
    """Multi-similarity loss (Wang 2019), without its mining."""

    alpha: float = Field(gt=0, le=10_000, description="sharpness for positives (2)")
    beta: float = Field(gt=0, le=10_000, description="sharpness for negatives (50)")
    base: float = Field(ge=-1, le=1, description="similarity that parts them (0.5)")


@LOSSES.declare("circle")
class Circle(WeightedLoss):
    """Circle loss (Sun 2020)."""

    margin: float = Field(ge=0, le=1, description="relaxation of the similarities aimed at (0.4)")
    gamma: float = Field(gt=0, le=10_000, description="scale (80)")


@LOSSES.declare("triplet")
class Triplet(WeightedLoss):
    """Hardest positive and negative in the batch (Hermans 2017)."""

    margin: float = Field(ge=0, le=1000, description="by which the negative should be farther than the positive (0.3)")


@LOSSES.declare("centroid")
class Centroid(WeightedLoss):
    """Softmax of each embedding over its own identity's mean and the negatives' (Wieczorek 2021)."""

    temperature: Temperature = Field(description=TEMPERATURE)


@LOSSES.declare("id")
class Id(WeightedLoss):
    """Id loss: cross entropy of a classification of the identities."""

    pairs: ClassVar[bool] = False
    label_smoothing: Share = Field(0.0, description="share of the target that is spread over all identities (0.1)")
    over: Literal["all", "action"] = Field(
        "all", description="all training identities (dev kit), or those of the image's action"
    )


class Loss(Section):
    """A weighted sum; a loss that is left out is off."""

    negatives: Literal["batch", "action", "action+games"] = Field(
        "batch",
        description="the negatives of the pair losses: everybody else in the batch; others of the same action; or "
        "these and people of other games (in another action of his game it may be the same man)",
    )
