"""Changes of a parameter file at dotted places, and the difference of two files in words that can be pasted."""

import copy
import io
from typing import Any

from ruamel.yaml import YAML

from reid.core.errors import ReidError
from reid.params.error_location import find, nearest
from reid.params.schema import Params, params_class, section_class

SECTIONS = [name for name in Params.model_fields if name not in ("models", "external_models")]
Content = dict[str, Any]


def model_name(content: Content) -> str:
    """The only model of a parameter file."""
    return next(iter(content["models"]))


def changed(content: Content, changes: dict[str, Any]) -> Content:
    """A copy of a parameter file with values at dotted places; sections that are missing are made.

    Args:
        content: of a file with one model.
        changes: place to value; None takes away. A place is in the model, unless it begins with a section of the
            file: ``loss.triplet``, ``embed.flip_test``.

    Raises:
        ReidError: a place cannot be one, goes through a value, or is no parameter and so cannot be taken away.
    """
    content = copy.deepcopy(content)
    only = model_name(content)
    model = content["models"][only]
    known = [*section_class("Model").model_fields, *SECTIONS]
    for place, value in changes.items():
        *sections, key = place.split(".")
        first = (sections or [key])[0]
        if first not in known:
            raise ReidError(f"{place}: {first} is no part of a model and no section; {nearest(first, known)}")
        inner = content if first in SECTIONS else model
        if value is None:  # a wrong value is seen when the row is checked, nothing is not
            _check_known(place, [] if first in SECTIONS else ["models", only])
        for name in sections:
            part = inner.get(name)
            if part is None:
                part = {}
                if value is not None:  # else there is nothing to take away
                    inner[name] = part
            if not isinstance(part, dict):
                raise ReidError(f"{place}: {name} is {part!r} here, not a section; change {name} as a whole")
            inner = part
        if value is None:
            inner.pop(key, None)
        else:
            inner[key] = copy.deepcopy(value)
    return content


def _check_known(place: str, above: list[str]) -> None:
    """Check that each name of a place is a parameter.

    Args:
        place: dotted.
        above: where in the file it begins.

    Raises:
        ReidError: one is none.
    """
    names = place.split(".")
    for end, name in enumerate(names, 1):
        _, known = find((*above, *names[:end]), params_class(), unknown=True)
        if known and name not in known:  # none where the names are the user's own
            raise ReidError(f"{place}: {name} is not a parameter; {nearest(name, known)}")


def difference(base: Content, row: Content) -> str:
    """The sections in which a row differs from the base, whole, as YAML to put into ``params.yaml``.

    What the row has no more is told in a comment. Empty where nothing differs.
    """
    name = model_name(base)
    before, after = base["models"][name], row["models"][name]
    gone = [key for key in before if key not in after]
    model = {key: value for key, value in after.items() if before.get(key) != value}
    sections = {key: row[key] for key in SECTIONS if row.get(key) != base.get(key)}
    text = "".join(f"# without models.{name}.{key}\n" for key in gone)
    return text + as_yaml({**({"models": {name: model}} if model else {}), **sections})


def as_yaml(content: Content) -> str:
    """Plain values as the text of a parameter file."""
    if not content:
        return ""
    stream = io.StringIO()
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = None, False
    yaml.width = 110
    yaml.dump(content, stream)
    return stream.getvalue()
