"""The script files beside a gallery page: their number is fixed, so that their names are known before anything ran."""

from pathlib import Path

import numpy as np

NAMES = tuple(f"{number:02}.js" for number in range(64))


def part_paths(page: Path | str) -> list[Path]:
    """The files beside a page that hold its rankings, in a folder of the page's name."""
    folder = Path(page).with_suffix("")
    return [folder / name for name in NAMES]


def divide(sizes: np.ndarray, parts: int = len(NAMES)) -> np.ndarray:
    """Cut a sequence of actions into parts of about the same number of boxes.

    Args:
        sizes: int array, number of boxes of each action.
        parts: how many; some stay empty where there are fewer actions.

    Returns:
        int64 array, the part of each action, ascending
    """
    ends = np.cumsum(sizes)
    return ((ends - sizes / 2) * parts / ends[-1]).astype(np.int64)
