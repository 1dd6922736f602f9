"""What all images here share: figures as SVG and sheets of thumbnails as PNG. The same data give the same bytes."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFont

from reid.core.files import replacing
from reid.reports.palette import WHITE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(height: float) -> "Figure":
    """An empty figure of a height in inches, laid out by itself; matplotlib takes a second to import."""
    from matplotlib.figure import Figure

    return Figure(figsize=(10, height), layout="constrained")


def style() -> AbstractContextManager[None]:
    """How axes look that are made inside this context."""
    from matplotlib import rc_context

    return rc_context(
        {
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "text.parse_math": False,  # a name with $ is no formula
        }
    )


def save_figure(figure: "Figure", path: Path | str) -> None:
    """Write a figure as SVG whose text can be searched and copied."""
    from matplotlib import rc_context

    with replacing(path) as partial, rc_context({"svg.hashsalt": "reid", "svg.fonttype": "none"}):
        # without the salt ids are drawn at random
        figure.savefig(partial, format="svg", metadata={"Date": None}, facecolor=WHITE)


def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """A font for Pillow; the one that matplotlib brings along, so that it is the same everywhere."""
    from matplotlib import get_data_path

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf", size)


def tile(thumbnail: np.ndarray, height: int, width: int) -> Image.Image:
    """A thumbnail (uint8 H x W x 3) as a Pillow image of another size."""
    return Image.fromarray(np.asarray(thumbnail)).resize((width, height), Image.Resampling.BICUBIC)


def save_sheet(sheet: Image.Image, path: Path | str) -> None:
    """Write a Pillow image as PNG."""
    with replacing(path) as partial:
        sheet.save(partial, format="PNG", optimize=True)
