"""Progress: bars on a terminal only, so that log files stay readable, and the time left in words."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm  # loaded by the first bar alone: many programs draw none, and end sooner than it is loaded


def say(text: str) -> None:
    """Write a line to the terminal's standard error: above the bar, if there is one."""
    if loaded := sys.modules.get("tqdm"):
        loaded.tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr)


def bar(total: int, text: str, unit: str, shown: bool = True, done: int = 0) -> "tqdm":
    """A progress bar with rate and time left.

    Args:
        total: number of units.
        text: what is being done.
        unit: ``"image"``, ..., or ``"B"`` for bytes.
        shown: False for none at all.
        done: units that an earlier run had done: they count, but not for the rate and the time left.
    """
    from tqdm import tqdm

    return tqdm(
        total=total, desc=text, unit=unit, unit_scale=unit == "B", disable=None if shown else True, initial=done
    )


def time_left(begun_at: float, now_at: float, seconds: float) -> str:
    """What is left at the pace so far, in words (``about 1 h 5 min left``); empty without a pace or a rest.

    Args:
        begun_at: share of the whole that was done before, from 0 to 1.
        now_at: share that is done now.
        seconds: since then.
    """
    if not begun_at < now_at < 1:
        return ""
    left = round(seconds * (1 - now_at) / (now_at - begun_at))
    if left < 60:
        return f"about {left} s left"
    hours, minutes = divmod(round(left / 60), 60)
    return f"about {hours} h {minutes} min left" if hours else f"about {minutes} min left"
