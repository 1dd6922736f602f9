"""Environment variables that are numbers, and those of torchrun."""

import os

from reid.core.errors import ReidError
from reid.core.forms import Number

OF_TORCHRUN = "torchrun sets it, and without torchrun it must be unset"  # advice on RANK, WORLD_SIZE, ...


def by_torchrun() -> bool:
    """Whether this is one of several processes that do one job together, as torchrun starts them."""
    return bool(os.environ.get("WORLD_SIZE"))


def number(name: str, form: Number, advice: str) -> int | None:
    """A whole number from an environment variable; None if it is unset or empty.

    Args:
        name: of the variable.
        form: what it may be.
        advice: what the error ends with: who sets it, and what to do.

    Raises:
        ReidError: it is something else.
    """
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return int(form.of_text(text))
    except ValueError as error:
        raise ReidError(f"{name}: {error}; {advice}") from error
