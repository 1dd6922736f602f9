"""Progress bars: on a terminal only, so that log files stay readable."""

from tqdm import tqdm


def bar(total: int, text: str, unit: str, shown: bool = True) -> tqdm:
    """A progress bar with rate and time left.

    Args:
        total: number of units.
        text: what is being done.
        unit: ``"image"``, ..., or ``"B"`` for bytes.
        shown: False for none at all.
    """
    return tqdm(total=total, desc=text, unit=unit, unit_scale=unit == "B", disable=None if shown else True)
