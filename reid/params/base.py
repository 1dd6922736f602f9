"""What the sections of a parameter file are made of: every number, text and list has an upper bound."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from reid.core.sides import LONGEST_SIDE, SHORTEST_SIDE

MOST_EPOCHS = 10_000
MOST_THREADS = 1024
LONGEST_PATH = 4096  # bytes that Linux takes

Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Weight = Annotated[float, Field(ge=1e-6, le=1_000_000)]  # what is far below is lost in single precision
# a folder's name, a job's name and a word of a shell's command, without quotes
Name = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
PathText = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH, pattern=r"^[^\x00]*$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]


class Section(BaseModel):
    """A section of a parameter file. Unknown keys are refused; an optional part that is left out is off."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, use_attribute_docstrings=False
    )


class Size(Section):
    """Height and width."""

    height: int = Field(ge=SHORTEST_SIDE, le=LONGEST_SIDE, description="pixels")
    width: int = Field(ge=SHORTEST_SIDE, le=LONGEST_SIDE, description="pixels")


def expanded(path: str) -> Path:
    """A path of a parameter file as programs open it: a ``~`` at its start is a home folder."""
    return Path(os.path.expanduser(path))
