"""Environment variables that are numbers."""

import os

from reid.core.errors import ReidError
from reid.core.forms import Number


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
