"""A section of a parameter file brought to other values by a program; all else in the file keeps its bytes."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import MappingNode, Node

from reid.core.errors import ReidError
from reid.core.files import rewrite
from reid.params.parsing import parse
from reid.params.reading import check_params, read_params

Edit = tuple[int, int, str]  # first character, the one after the last, what stands there instead


class _NotRewritableError(Exception):
    """The section is written in a way that this module does not change."""


def write_section(path: Path | str, name: str, content: dict[str, Any]) -> None:
    """Put other values into a section of a parameter file.

    What is equal keeps its form. Of a key that goes, the comments stay, on lines of their own.

    Args:
        path: the parameter file.
        name: of the section, which stands in the file.
        content: the section as a file holds it: without what is off or as it is by default.

    Raises:
        ReidError: the file cannot be read or written, is not valid, or would not hold the section afterwards (it is
            all in brackets, or what changes is repeated elsewhere); it is left as it was.
    """
    read_params(path)
    text = Path(path).read_bytes().decode("utf-8")  # read_text would change the ends of lines
    try:
        old = parse(text.encode("utf-8"), str(path))
        changed = _rewritten(text, name, old[name], content)
        new = parse(changed.encode("utf-8"), str(path))
        done = check_params(new, path) == check_params({**old, name: content}, path)
    except (_NotRewritableError, ReidError):
        done = False
    if not done:
        raise ReidError(f"{path}: the section {name} cannot be rewritten; put the one printed there by hand")
    rewrite(path, changed.encode("utf-8"))


def _rewritten(text: str, name: str, old: Any, new: dict[str, Any]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    end = "" if text.endswith("\n") else newline
    text += end
    root = YAML().compose(text)
    if root.flow_style:
        raise _NotRewritableError
    section = next(value for key, value in root.value if key.value == name)
    edits = list(enumerate(_edits(text, section, old, new, newline)))
    # from the end on; what goes before what comes at the same place, and of what comes the last first
    for _, (start, stop, instead) in sorted(edits, key=lambda edit: (edit[1][0], edit[1][1], edit[0]), reverse=True):
        text = text[:start] + instead + text[stop:]
    return text.removesuffix(end) if end else text


def _edits(text: str, node: Any, old: Any, new: dict[str, Any], newline: str) -> Iterator[Edit]:
    """What to change in a mapping that holds ``old``, so that it holds ``new``."""
    if not isinstance(node, MappingNode) or (node.flow_style and old.keys() != new.keys()):
        yield node.start_mark.index, node.end_mark.index, _value(new)
        return
    items = {key.value: (key, value) for key, value in node.value}
    if items.keys() != old.keys() or any(not _inside(node, *item) for item in items.values()):
        raise _NotRewritableError  # the file merges or repeats what stands elsewhere
    for key, (_, value) in items.items():
        if key in new and old[key] != new[key]:
            if isinstance(new[key], dict):
                yield from _edits(text, value, old[key], new[key], newline)
            else:
                yield value.start_mark.index, value.end_mark.index, _value(new[key])
        elif key not in new:
            yield from _removal(text, *items[key], newline)
    first = node.value[0][0].start_mark
    place, added = _line_start(text, first.index), ""
    while text[_line_start(text, place - 1) : place].lstrip().startswith("#"):  # it is about the first key
        place = _line_start(text, place - 1)
    for key in new:  # behind the one before it
        if key in items:
            if added:
                yield place, place, added
            place, added = _line_end(text, _end(items[key][1])), ""
        else:
            added += "".join(f"{' ' * first.column}{line}{newline}" for line in _lines(key, new[key]))
    if added:
        yield place, place, added


def _removal(text: str, key: Node, value: Node, newline: str) -> Iterator[Edit]:
    """Take a key and its value away, but for their comments."""
    start, stop = _line_start(text, key.start_mark.index), _line_end(text, _end(value))
    ends = [key.end_mark.index, *_ends(value)]
    comments = ""
    for line in re.finditer(r".*\n", text[start:stop]):
        a, b = start + line.start(), start + line.end()
        rest = text[max([a, *(end for end in ends if a <= end < b)]) : b]  # behind all that is no comment
        if comment := re.search(r"(?<!\S)#.*", rest.rstrip()):
            comments += " " * key.start_mark.column + comment[0] + newline
    yield start, stop, comments


def _inside(node: Node, key: Node, value: Node) -> bool:
    """Whether a key and its value stand where they seem to: an alias has the place of what it repeats."""
    start, stop = node.start_mark.index, node.end_mark.index
    return all(start <= part.start_mark.index and part.end_mark.index <= stop for part in (key, value))


def _ends(node: Any) -> Iterator[int]:
    """Where the keys and values of a node end."""
    if not isinstance(node.value, str) and not node.flow_style:
        for item in node.value:
            for part in item if isinstance(item, tuple) else (item,):
                yield from _ends(part)
    else:
        yield node.end_mark.index


def _end(node: Any) -> int:
    return max(_ends(node))


def _line_start(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def _line_end(text: str, place: int) -> int:
    return text.index("\n", place) + 1


def _lines(key: str, value: Any) -> list[str]:
    """A new key with its value: in brackets if it is a section without sections, else a line for each of them."""
    if not isinstance(value, dict) or not any(isinstance(inner, dict) for inner in value.values()):
        return [f"{key}: {_value(value)}"]
    return [f"{key}:", *(f"  {line}" for inner in value for line in _lines(inner, value[inner]))]


def _value(value: Any) -> str:
    """A value on one line, sections in brackets."""
    yaml = YAML()
    yaml.width = 2**16
    stream = io.StringIO()
    yaml.dump(_flow({"key": value}), stream)
    return stream.getvalue().strip().removeprefix("{key: ").removesuffix("}")


def _flow(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    result = CommentedMap({key: _flow(inner) for key, inner in value.items()})
    result.fa.set_flow_style()
    return result
