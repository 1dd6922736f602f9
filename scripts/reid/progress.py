"""Progress bars: on a terminal only, so that log files stay readable."""

from tqdm import tqdm


def bar(total, text, unit, shown=True):
    """A progress bar with rate and time left.

    Args:
        total: number of units; None while it is not known.
        text: what is being done.
        unit: ``"picture"``, ..., or ``"B"`` for bytes.
        shown: False for none at all.

    Returns:
        tqdm.tqdm
    """
    return tqdm(total=total, desc=text, unit=unit, unit_scale=unit == "B", disable=None if shown else True)
