"""What the sections of a parameter file are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Weight = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A section of a parameter file. Unknown keys are refused; an optional part that is left out is off."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, use_attribute_docstrings=False
    )


class Size(Section):
    """Height and width."""

    height: int = Field(ge=8, le=2048, description="pixels")
    width: int = Field(ge=8, le=2048, description="pixels")
