"""Sections of the data: ``download``, ``thumbnails``, ``train``."""

from typing import Annotated, Literal

from pydantic import Field

from reid.params.base import Section, Seed, Size

Split = Literal["train", "valid", "test", "challenge"]


class SyntheticActions(Section):
    """How many actions are made for each split; an action has about 27 thumbnails."""

    train: int = Field(ge=1, description="actions")
    valid: int = Field(ge=1, description="actions")
    test: int = Field(ge=1, description="actions")
    challenge: int = Field(ge=1, description="actions")


class Synthetic(Section):
    """Matches that the pipeline draws itself."""

    seed: Seed = Field(description="of the matches; another seed gives other players, kits and cameras")
    actions: SyntheticActions


class Download(Section):
    """Where the zips come from."""

    source: Literal["synthetic", "soccernet", "local"] = Field(
        description="drawn here, the SoccerNet download, or files of your own"
    )
    path: str | None = Field(
        None, description="source local: folder with {split}.zip or the folders that the dev kit makes"
    )
    sha256: dict[Split, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        {}, description="split: SHA-256 that its zip must have; none for any"
    )
    synthetic: Synthetic | None = None


class Thumbnails(Size):
    """The store of decoded images."""

    fit: Literal["stretch", "pad"] = Field(
        "stretch", description="stretch to the size (dev kit), or keep the shape of the box and pad with grey"
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = Field(
        "bilinear", description="all but nearest are antialiased; the dev kit's is bilinear"
    )


class Train(Section):
    """What all models train on."""

    splits: list[Literal["train", "valid", "test"]] = Field(
        min_length=1,
        description="train; for a final model also valid and test, whose scores are then not valid results; with "
        "valid among them nothing is chosen by valid",
    )
