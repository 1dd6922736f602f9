"""What all pictures here share: figures as SVG and sheets of thumbnails as PNG. The same data give the same bytes.

Colours are those of Okabe and Ito, which the colour-blind tell apart; nothing is told by colour alone.
"""

import numpy as np
from PIL import Image, ImageFont

from reid.files import replacing

BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8a8f96"
TEXT, QUIET = "#202020", "#5a6068"


def new_figure(width=10, height=3.4):
    """An empty matplotlib.figure.Figure (inches), laid out by itself; matplotlib takes a second to import."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def style():
    """How axes look that are made inside this context."""
    from matplotlib import rc_context

    return rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})


def save_figure(figure, path):
    """Write a figure as SVG whose text can be searched and copied."""
    from matplotlib import rc_context

    with replacing(path) as partial, rc_context({"svg.hashsalt": "reid", "svg.fonttype": "none"}):
        # without the salt ids are drawn by chance
        figure.savefig(partial, format="svg", metadata={"Date": None}, facecolor="white")


def font(size, bold=False):
    """A font for Pillow; the one that matplotlib brings along, so that it is the same everywhere."""
    from matplotlib import get_data_path

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf", size)


def tile(thumbnail, height, width):
    """A thumbnail (uint8 H x W x 3) as a Pillow picture of another size."""
    return Image.fromarray(np.asarray(thumbnail)).resize((width, height), Image.Resampling.BICUBIC)


def save_sheet(sheet, path):
    """Write a Pillow picture as PNG."""
    with replacing(path) as partial:
        sheet.save(partial, format="PNG", optimize=True)
