"""A parameter file, read and checked."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from reid.core.errors import ReidError, summarise
from reid.core.files import regular
from reid.params.base import Name
from reid.params.consistency import contradictions
from reid.params.error_location import find, kinds, nearest
from reid.params.model import Model
from reid.params.parsing import MOST_BYTES, parse, shown
from reid.params.schema import Params, params_class

_WORDED = 100  # problems of a file; of further ones the place alone


def check_params(content: Any, path: str | Path = "params.yaml") -> Params:
    """Check the content of a parameter file.

    Args:
        content: what the YAML file holds.
        path: its name, for messages.

    Returns:
        Params

    Raises:
        ReidError: unknown or missing keys, values out of range or that do not go together; all in one message.
    """
    whole = params_class()
    if not isinstance(content, dict):
        what = {list: "a list", type(None): "nothing"}.get(type(content), repr_of(content))
        raise ReidError(f"{path}: holds {what}, not sections by their names")
    try:
        params = whole.model_validate(content, strict=True)
    except ValidationError as error:
        items = error.errors(include_url=False)
        lines = dict.fromkeys(_line(item, whole) for item in items[:_WORDED])
        others = [".".join(map(str, item["loc"])) for item in items[_WORDED:]]
        raise ReidError(summarise([*lines, *others], str(path))) from error
    if problems := list(contradictions(params)):
        raise ReidError(summarise(problems, str(path)))
    return params


def _line(item: Any, whole: type[Params]) -> str:
    """An error of pydantic in one line."""
    of_key = item["loc"][-1:] == ("[key]",)
    where, known = find(item["loc"][:-1] if of_key else item["loc"], whole, item["type"] == "extra_forbidden")
    where = where or "the file"
    if item["type"] == "extra_forbidden":
        return f"{where}: is not a parameter; {nearest(where.rpartition('.')[2], known)}"
    if item["type"] == "missing":
        return f"{where}: is missing"
    if item["type"] == "union_tag_not_found":
        return f"{where}: has no kind; there are {', '.join(kinds(item['loc'], whole))}"
    if item["type"] == "union_tag_invalid":
        given = str(item["ctx"]["tag"])
        return f"{where}.kind: there is no {shown(given)}; {nearest(given, kinds(item['loc'], whole))}"
    if of_key and item["type"] in ("string_pattern_mismatch", "string_too_long"):
        return f"{where}: {_name_problem(item['input'])}"
    return f"{where}: {item['msg']}, not {repr_of(item['input'])}"


def check_name(name: str, where: str) -> None:
    """Check that a model may have a name that does not come from a parameter file.

    Args:
        name: of the model.
        where: it comes from, for the message.

    Raises:
        ReidError: it may not.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise ReidError(f"{where}: {_name_problem(name)}") from error


def _name_problem(name: str) -> str:
    """What is wrong with the name of a model."""
    wrong = next((char for char in name if not (char.isascii() and (char.isalnum() or char in "-_"))), None)
    if wrong is not None:
        problem = f"holds {wrong!a}"
    elif name[:1] in ("-", "_"):
        problem = f"begins with {name[0]!r}"
    else:
        problem = f"has {len(name)} characters"
    return f"the name {problem}; it must be letters, digits, - and _, a letter or digit first, 1 to 64 in all"


def repr_of(value: Any) -> str:
    """A value as a message shows it."""
    try:
        return shown(repr(value))
    except (ValueError, RecursionError):  # an integer of thousands of digits; lists inside each other
        return f"such a {type(value).__name__}"


def read_content(path: str | Path = "params.yaml") -> Any:
    """What a parameter file holds, as plain values that are not checked.

    Raises:
        ReidError: the file is missing, too large, or :func:`reid.params.parsing.parse` refuses it.
    """
    try:
        with open(regular(path), "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ReidError(f"{path}: cannot be read ({error.strerror})") from error
    return parse(content, str(path))


def read_params(path: str | Path = "params.yaml") -> Params:
    """Read and check a parameter file.

    Raises:
        ReidError: :func:`read_content` or :func:`check_params` refuses it.
    """
    return check_params(read_content(path), path)


def model_params(params: Params, name: str) -> Model:
    """The section of one model.

    Raises:
        ReidError: there is no such model.
    """
    if name not in params.models:
        raise ReidError(f"models.{shown(name)}: is not in the parameter file, which has {', '.join(params.models)}")
    return params.models[name]
