"""What text and JSON from a file must hold: numbers in their range, texts, lists, objects; and values for messages."""

import json
import math
import re
from typing import Any

_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_UNSEEN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff\\ufffe\\uffff]")
_LONGEST = 48  # characters of a value in a message
_LONGEST_TEXT = 200  # characters of a text that is shown whole


class Number:
    """A range of numbers, its ends included; ``whole`` for integers."""

    def __init__(self, low: float, high: float, whole: bool = False) -> None:
        self.low, self.high, self.whole = low, high, whole

    def __str__(self) -> str:
        low, high = (int(end) if abs(end) < 2**53 and end == int(end) else end for end in (self.low, self.high))
        return f"a {'whole ' * self.whole}number from {low:,} to {high:,}"

    def of(self, value: Any) -> Any:
        """A value of JSON, if it is in the range.

        Raises:
            ValueError: it is not, or is no number.
        """
        kind = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kind) or not self.low <= value <= self.high:
            raise ValueError(f"{short(value)} is not {self}")
        return value

    def of_text(self, text: str) -> Any:
        """A number in decimal, as an int if it must be whole, else as a float.

        Raises:
            ValueError: it is none, or is not in the range.
        """
        if len(text) > 64 or not _PLAIN.fullmatch(text) or (self.whole and not text.lstrip("+-").isdigit()):
            raise ValueError(f"{short(text)} is not {self}")
        number = int(text) if self.whole else float(text)
        if not self.low <= number <= self.high:
            raise ValueError(f"{text} is not {self}")
        return number


class Text:
    """Texts that can be shown: in one line that is not too long, without control characters and half ones."""

    def __str__(self) -> str:
        return f"a line of at most {_LONGEST_TEXT} characters"

    def of(self, value: Any) -> str:
        """A value of JSON or of a table, if it is such a text.

        Raises:
            ValueError: it is not.
        """
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT or _UNSEEN.search(value):
            raise ValueError(f"{short(value)} is not {self}")
        return value


NAME = Text()
SHARE = Number(0, 1)
COUNT = Number(0, 2**53, whole=True)
FINITE = Number(-1e30, 1e30)  # what a plot takes


def short(value: Any) -> str:
    """A value of JSON for a message: in JSON's spelling, in one line of ASCII, shortened."""
    if isinstance(value, list | tuple):
        inner = ["[...]" if isinstance(one, list | tuple | dict) else short(one) for one in value[:4]]
        text = f"[{', '.join(inner + ['...'] * (len(value) > 4))}]"
    elif isinstance(value, dict):
        text = "{...}" if value else "{}"
    elif isinstance(value, int) and value.bit_length() > 256:
        text = f"a number of about {round(value.bit_length() * math.log10(2)):,} digits"
    else:
        text = json.dumps(value[: 2 * _LONGEST] if isinstance(value, str) else value, default=repr)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def fit(value: Any, form: Any, where: str = "it") -> None:
    """Check that a value of JSON has a form.

    Args:
        value: what is checked.
        form: a :class:`Number` or :class:`Text`; ``str`` or ``bool``; None or a text, for itself; a tuple, for any of
            several forms; a list of one form, for a list of any length, or of several, for as many; a dict of
            ``{str: form}``, for an object of any keys, or from keys to forms, for an object that has these and perhaps
            others.
        where: what to call it in messages.

    Raises:
        ValueError: it has another; says where and what was found.
    """
    if isinstance(form, Number | Text):
        try:
            form.of(value)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    elif isinstance(form, tuple):
        if not any(_fits(value, one) for one in form):
            raise ValueError(f"{where}: {short(value)} is not {' or '.join(map(_name, form))}")
    elif isinstance(form, list):
        if not isinstance(value, list) or (len(form) > 1 and len(value) != len(form)):
            raise ValueError(f"{where}: {short(value)} is not {_name(form)}")
        for i, one in enumerate(value):
            fit(one, form[i] if len(form) > 1 else form[0], f"{where}[{i}]")
    elif isinstance(form, dict):
        if not isinstance(value, dict):
            raise ValueError(f"{where}: {short(value)} is not an object")
        for key, one in (dict.fromkeys(value, form[str]) if str in form else form).items():
            name = short(key)[1:-1]
            place = name if where == "it" else f"{where}.{name}"
            if key not in value:
                raise ValueError(f"{place} is missing")
            fit(value[key], one, place)
    elif not (isinstance(value, form) if isinstance(form, type) else value == form):
        raise ValueError(f"{where}: {short(value)} is not {_name(form)}")


def _fits(value: Any, form: Any) -> bool:
    try:
        fit(value, form)
    except ValueError:
        return False
    return True


def _name(form: Any) -> str:
    """A form in words."""
    if isinstance(form, list):
        return f"a list of {len(form)}" if len(form) > 1 else "a list"
    if isinstance(form, dict):
        return "an object"
    named = {str: "a text", bool: "true or false", None: "null"}
    return named[form] if form in named else str(form)
