"""Section ``sampler`` of a model: what a batch is made of."""

from typing import Annotated, Literal

from pydantic import Field

from reid.params.base import Section
from reid.params.registries import SAMPLERS


@SAMPLERS.declare("identity")
class IdentitySampler(Section):
    """The dev kit's RandomIdentitySampler: identities from anywhere, images repeated where one has too few."""

    identities: int = Field(ge=2, le=10_000, description="per batch (P)")
    instances: int = Field(ge=1, le=1000, description="images per identity (K)")


@SAMPLERS.declare("actions")
class ActionSampler(Section):
    """Whole actions: the team mates that a query will meet are in its batch."""

    actions: int = Field(ge=1, le=10_000, description="per batch; with 1 a batch is one action")
    identities: Annotated[int, Field(ge=2, le=10_000)] | None = Field(
        None, description="per action at most (P); all if absent"
    )
    instances: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        None,
        description="different images per identity at most (K), all if absent; identities with one serve as negatives",
    )
    neighbours: Literal["any", "game"] = Field(
        "any", description="the other actions of a batch: any, or those of the same game first"
    )


@SAMPLERS.declare("random")
class RandomSampler(Section):
    """Any images, each once an epoch; pairs of one identity meet by chance."""

    # with 3 no batch is of one image, of which a batch norm has no variance
    images: int = Field(ge=3, le=100_000, description="per batch at most; batches are as equal as they can be")
