"""A parameter file, read and checked."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML, YAMLError

from reid.core.errors import ReidError, summarise
from reid.params.consistency import contradictions
from reid.params.model import Model
from reid.params.places import find, kinds, nearest
from reid.params.schema import Params, params_class


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
    try:
        params = whole.model_validate(content, strict=True)
    except ValidationError as error:
        lines = dict.fromkeys(_line(item, whole) for item in error.errors())
        raise ReidError(summarise(list(lines), str(path))) from error
    if problems := list(contradictions(params)):
        raise ReidError(summarise(problems, str(path)))
    return params


def _line(item: Any, whole: type[Params]) -> str:
    """An error of pydantic in one line."""
    where, known = find(item["loc"], whole, item["type"] == "extra_forbidden")
    where = where or "the file"
    if item["type"] == "extra_forbidden":
        return f"{where}: is not a parameter; {nearest(where.rpartition('.')[2], known)}"
    if item["type"] == "missing":
        return f"{where}: is missing"
    if item["type"] == "union_tag_not_found":
        return f"{where}: has no kind; there are {', '.join(kinds(item['loc'], whole))}"
    if item["type"] == "union_tag_invalid":
        given = item["ctx"]["tag"]
        return f"{where}.kind: there is no {given}; {nearest(given, kinds(item['loc'], whole))}"
    return f"{where}: {item['msg']}, not {item['input']!r}"


def read_params(path: str | Path = "params.yaml") -> Params:
    """Read and check a parameter file.

    Raises:
        ReidError: the file is missing, is not YAML, or :func:`check_params` refuses it.
    """
    try:
        content = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ReidError(f"{path}: cannot be read ({error.strerror})") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ReidError(f"{path}: is not valid YAML ({_first_lines(error)})") from error
    return check_params(content, path)


def _first_lines(error: Exception) -> str:
    """What ruamel.yaml says, without its advice to allow keys that stand twice."""
    return str(error).partition("\n\nTo suppress")[0].partition("\nTo suppress")[0]


def model_params(params: Params, name: str) -> Model:
    """The section of one model.

    Raises:
        ReidError: there is no such model.
    """
    if name not in params.models:
        raise ReidError(f"models.{name}: is not in the parameter file, which has {', '.join(params.models)}")
    return params.models[name]
