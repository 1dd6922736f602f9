"""Section ``loss`` of a model: a weighted sum of the losses that it names."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reid.params.base import Section, Share, Weight
from reid.params.registries import LOSSES

WEIGHT = "of this loss in the sum"
Temperature = Annotated[float, Field(ge=0.0001, le=1000)]
Sharpness = Annotated[float, Field(ge=0.001, le=10_000)]
LEAST_LEARNED = 0.01  # temperature that a training ends with (Radford 2021)
TEMPERATURE = "by which similarities are divided; a low one looks at the hardest pairs"


class WeightedLoss(Section):
    """What every loss has.

    ``pairs`` says whether it compares images, and so needs two of one identity in a batch; ``references`` whether it
    compares them with a batch's references too, which are those of earlier batches with ``loss.memory``.
    """

    pairs: ClassVar[bool] = True
    references: ClassVar[bool] = False
    weight: Weight = Field(1.0, description=WEIGHT)


LOSSES.base = WeightedLoss


class Contrast(WeightedLoss):
    """A softmax over similarities."""

    temperature: Temperature = Field(description=TEMPERATURE)
    learn_temperature: bool = Field(
        False,
        description=f"the temperature is trained too, from this one on and down to {LEAST_LEARNED} (Radford 2021)",
    )
    label_smoothing: Share = Field(
        0.0, description="share of the target that is spread over all that the anchor is compared with (0.1)"
    )


@LOSSES.declare("supcon")
class SupCon(Contrast):
    """Supervised contrastive loss (Khosla 2020): softmax of each anchor's positives against its negatives and the
    other positives."""

    references: ClassVar[bool] = True


@LOSSES.declare("ntxent")
class NTXent(Contrast):
    """NT-Xent, InfoNCE: each positive pair against the anchor's negatives."""

    references: ClassVar[bool] = True


@LOSSES.declare("info_nce")
class InfoNCE(Contrast):
    """Symmetric InfoNCE (Radford 2021): one pair of images per identity, each among the others of all pairs."""


@LOSSES.declare("multi_similarity")
class MultiSimilarity(WeightedLoss):
    """Multi-similarity loss (Wang 2019); its mining is off without epsilon."""

    references: ClassVar[bool] = True
    alpha: Sharpness = Field(description="sharpness for positives (2)")
    beta: Sharpness = Field(description="sharpness for negatives (50)")
    base: float = Field(ge=-1, le=1, description="similarity that parts them (0.5)")
    epsilon: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None,
        description="of the mining: pairs count that are not by so much easier than the hardest of the anchor's "
        "others (0.1); all if absent",
    )


@LOSSES.declare("circle")
class Circle(WeightedLoss):
    """Circle loss (Sun 2020)."""

    references: ClassVar[bool] = True
    margin: float = Field(ge=0, le=1, description="relaxation of the similarities aimed at (0.4)")
    gamma: Sharpness = Field(description="scale (80)")


@LOSSES.declare("triplet")
class Triplet(WeightedLoss):
    """Triplet loss, Euclidean, by default of the hardest positive and negative in the batch (Hermans 2017)."""

    references: ClassVar[bool] = True
    margin: float = Field(ge=0, le=1000, description="by which the negative should be farther than the positive (0.3)")
    mining: Literal["hard", "semi_hard", "all"] = Field(
        "hard",
        description="the hardest of each anchor; for each positive the nearest negative beyond it (Schroff 2015); or "
        "all triplets",
    )


@LOSSES.declare("contrastive")
class Contrastive(WeightedLoss):
    """Loss of pairs with a margin (Hadsell 2006), on Euclidean distances of embeddings of length 1: squares of what
    positives are too far and negatives too near."""

    references: ClassVar[bool] = True
    margin: float = Field(gt=0, le=2, description="that negatives should be apart (1)")
    positive_margin: float = Field(0.0, ge=0, le=2, description="that positives may be apart")


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


@LOSSES.declare("arcface")
class ArcFace(WeightedLoss):
    """ArcFace (Deng 2019): an id loss over cosines, with a margin to the angle of the own identity."""

    pairs: ClassVar[bool] = False
    scale: Sharpness = Field(description="of the cosines (64; 30 for few identities)")
    margin: float = Field(ge=0, le=1.5, description="radians (0.5)")


class Memory(Section):
    """Embeddings of earlier batches as further positives and negatives of the pair losses (XBM, Wang 2020)."""

    size: int = Field(
        ge=1, le=100_000, description="embeddings; fewer than an epoch has images, or an image meets itself"
    )
    start: int = Field(
        0, ge=0, le=10**9, description="batches before it is used, for at first embeddings change fast (1000)"
    )


class Loss(Section):
    """A weighted sum; a loss that is left out is off."""

    negatives: Literal["batch", "action", "action+games"] = Field(
        "batch",
        description="the negatives of the pair losses: everybody else in the batch; others of the same action; or "
        "these and people of other games (in another action of his game it may be the same man)",
    )
    memory: Memory | None = None
