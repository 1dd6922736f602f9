"""Sections of the data: ``download``, ``thumbnails``, ``train``."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from reid.params.base import PathText, Section, Seed, Sha256, Size, expanded

Split = Literal["train", "valid", "test", "challenge"]
MOST_ACTIONS = 30_000  # three times the real ones; of a few more the zip has more files than reid.raw.sizes allows


class SyntheticActions(Section):
    """How many actions are made for each split; an action has about 27 thumbnails."""

    train: int = Field(ge=1, le=MOST_ACTIONS, description="actions")
    valid: int = Field(ge=1, le=MOST_ACTIONS, description="actions")
    test: int = Field(ge=1, le=MOST_ACTIONS, description="actions")
    challenge: int = Field(ge=1, le=MOST_ACTIONS, description="actions")


class Synthetic(Section):
    """Matches that the pipeline draws itself."""

    seed: Seed = Field(description="of the matches; another seed gives other players, kits and cameras")
    actions: SyntheticActions


class Download(Section):
    """Where the zips come from."""

    source: Literal["synthetic", "soccernet", "local"] = Field(
        description="drawn here, the SoccerNet download, or files of your own"
    )
    path: PathText | None = Field(
        None, description="source local: folder with {split}.zip or the folders that the dev kit makes"
    )
    sha256: dict[Split, Sha256] = Field({}, description="split: SHA-256 that its zip must have; none for any")
    synthetic: Synthetic | None = None

    def folder(self) -> Path | None:
        """The folder that ``path`` names, its ``~`` expanded."""
        return None if self.path is None else expanded(self.path)


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
        max_length=3,
        description="train; for a final model also valid and test, whose scores are then not valid results; with "
        "valid among them nothing is chosen by valid. external_models count as trained on the same",
    )
    classes: list[Literal["player", "goalkeeper", "referee", "staff"]] = Field(
        [], max_length=4, description="of people to train on; all if absent. Scores are those of all"
    )
