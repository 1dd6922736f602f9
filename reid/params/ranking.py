"""Sections of what follows the training: ``embed``, ``distances``, ``evaluate``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reid.params.base import MOST_THREADS, Name, Section, Seed, Share, Weight
from reid.params.model import PRECISION, Precision
from reid.params.registries import POSTPROCESSING


class Embed(Section):
    """How embeddings are computed."""

    batch_size: int = Field(ge=1, le=65_536, description="images at a time")
    flip_test: bool = Field(
        False, description="the mean of the embeddings of an image and of its mirror image, each of length 1"
    )
    precision: Precision = Field("fp32", description=PRECISION)
    threads: int = Field(1, ge=1, le=MOST_THREADS, description="on a CPU")


class Step(Section):
    """What every post-processing step has: ``stage`` says what its function works on.

    ``"pairs"``, ``f(distance, params)``: the distances of one action, float64, Q queries x G gallery boxes; it returns
    as many. ``"boxes"``, ``f(distance, queries, params)``: those between all boxes of an action, (Q+G) x (Q+G), the
    queries first, and how many these are; it returns Q x G. ``"embeddings"``, ``f(query, gallery, params)``: those of
    an action of one model, Q x D and G x D; it returns the pair. ``"split"``, ``f(embeddings, groups, params)``: those
    of a split of one model, N x D, and the rows of each action (int arrays); it returns N rows. What it gets is its
    own and may be changed.
    """

    stage: ClassVar[Literal["split", "embeddings", "boxes", "pairs"]] = "pairs"


POSTPROCESSING.base = Step


@POSTPROCESSING.declare("whitening")
class Whitening(Step):
    """Embeddings without what all have in common: centred, with variances made more alike."""

    stage = "split"

    over: Literal["action", "split"] = Field(description="the boxes that have it in common")
    shrinkage: float = Field(ge=0.001, le=1, description="of the variances to their mean; 1 centres alone")


@POSTPROCESSING.declare("query_expansion")
class QueryExpansion(Step):
    """The query's mean with its nearest gallery boxes, weighted by similarity (Radenovic 2018)."""

    stage = "embeddings"

    neighbours: int = Field(ge=1, le=1000, description="gallery boxes of the mean")
    alpha: float = Field(0.0, ge=0, le=100, description="power of the similarity; 0 weighs all alike")


@POSTPROCESSING.declare("reranking")
class Reranking(Step):
    """k-reciprocal re-ranking inside each action (Zhong 2017)."""

    stage = "boxes"

    k1: int = Field(ge=1, le=1000, description="neighbours that must be mutual (2 to 4 makes sense in an action)")
    k2: int = Field(1, ge=1, le=1000, description="neighbours over which the sets are averaged; 1 for none")
    lambda_: Share = Field(alias="lambda", description="weight of the original distance")


class Assignment(Step):
    """Queries of an action are different people, so a gallery box belongs to one of them at most."""

    temperature: float = Field(ge=0.0001, le=1_000_000, description="in units of distance")
    weight: float = Field(1.0, gt=0, le=1, description="of the new distance; the rest is the distance as it was")


@POSTPROCESSING.declare("dual_softmax")
class DualSoftmax(Assignment):
    """Dual softmax: shares of each gallery box among the queries of its action (Cheng 2021)."""


@POSTPROCESSING.declare("sinkhorn")
class Sinkhorn(Assignment):
    """Dual softmax, balanced over the gallery too (Cuturi 2013)."""

    iterations: int = Field(ge=1, le=1000, description="in which rows and columns are balanced in turns")


class Postprocessing(Section):
    """What is done inside each action before its boxes are ranked; a step that is left out is off."""


class Distances(Section):
    """Distances inside each action."""

    metric: Literal["euclidean", "cosine"] = Field(description="distance of embeddings")
    models: dict[Name, Weight] = Field(
        {}, description="weight of each model whose distances are averaged; if absent all models alike"
    )
    scale: Literal["none", "mean"] = Field(
        "none", description="mean: each model's distances of a split get the mean 1 first"
    )
    fusion: Literal["mean", "rank"] = Field(
        "mean",
        description="of several models: the mean of their distances, or of the places that the gallery boxes have by "
        "them, from 0 for a query's nearest to 1",
    )
    postprocessing: Postprocessing = Postprocessing()


class Evaluate(Section):
    """How a split is scored."""

    ranks: list[Annotated[int, Field(ge=1, le=1000)]] = Field(
        min_length=1, max_length=100, description="the k of rank-k; 1 is the official one"
    )
    resamples: int = Field(ge=100, le=100000, description="of the bootstrap over actions that gives the intervals")
    seed: Seed = Field(description="of the bootstrap")
