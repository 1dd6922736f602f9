"""Where in a parameter file an error of pydantic is, as the file spells it, and which keys may stand there."""

import difflib
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from reid.params.parsing import shown


def _inside(annotation: Any) -> Iterator[Any]:
    """Sections and dictionaries that a value of this type may be."""
    if (isinstance(annotation, type) and issubclass(annotation, BaseModel)) or get_origin(annotation) is dict:
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _inside(part)


def keys(section: type[BaseModel]) -> dict[str, Any]:
    """Keys of a section, as a file spells them, with their type."""
    return {field.alias or name: field.annotation for name, field in section.model_fields.items()}


def find(location: tuple[Any, ...], whole: type[BaseModel], unknown: bool) -> tuple[str, list[str]]:
    """Follow an error's location from the whole file inwards.

    Args:
        location: of pydantic, which puts the kind of a section between the section and its keys.
        whole: the class of the file.
        unknown: whether the last part is a key that is not known.

    Returns:
        str, list of str: dotted place; the keys that the section has in which the error is
    """
    here: list[Any] = [whole]
    names: list[str] = []
    for number, part in enumerate(location):
        sections = [kind for kind in here if get_origin(kind) is not dict]
        dictionary = next((kind for kind in here if get_origin(kind) is dict), None)
        of_kind = [kind for kind in sections if part in get_args(_kind(kind))]
        if len(sections) > 1 and of_kind:  # pydantic's own, the kind of a section
            here = of_kind
            continue
        found = [annotation for kind in sections if (annotation := keys(kind).get(part)) is not None]
        last = number == len(location) - 1
        if isinstance(part, int):
            names[-1:] = [f"{names[-1]}[{part}]" if names else f"[{part}]"]
        elif last and unknown:
            names.append(shown(str(part)))
        elif found:
            names.append(part)
            here = [kind for annotation in found for kind in _inside(annotation)]
        else:  # a name of the user's own
            names.append(shown(str(part)))
            if dictionary is not None:
                here = list(_inside(get_args(dictionary)[1]))
    known = [key for kind in here if get_origin(kind) is not dict for key in keys(kind)]
    return ".".join(names), list(dict.fromkeys(known))


def _kind(section: type[BaseModel]) -> Any:
    field = section.model_fields.get("kind")
    return field.annotation if field else None


def kinds(location: tuple[Any, ...], whole: type[BaseModel]) -> list[str]:
    """The kinds that the section at an error's location may have."""
    here: Any = whole
    for part in location:
        inside = [here] if get_origin(here) is dict else list(_inside(here))
        if inside and get_origin(inside[0]) is dict:
            here = get_args(inside[0])[1]
        else:
            here = next((keys(kind)[part] for kind in inside if part in keys(kind)), here)
    return [name for kind in _inside(here) if get_origin(kind) is not dict for name in get_args(_kind(kind))]


def nearest(name: str, known: list[str]) -> str:
    """The end of a message about an unknown key: the nearest known one, or all that there are."""
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
