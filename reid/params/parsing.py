"""The text of a parameter file as plain values: YAML as DVC reads it, within limits, each refusal with its line.

Only sections, lists, texts, numbers, truth values and null: no dates, no other tags. Anchors, aliases and merge keys
(``<<: *first``) are read; how large they make the file is known before anything is built.
"""

import math
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from reid.core import file_type
from reid.core.errors import ReidError

MOST_BYTES = 1_000_000
MOST_VALUES = 50_000  # keys and values, aliases written out: a hundred models have half of that
DEEPEST = 32
LONGEST_TEXT = 4096
LONGEST_KEY = 200

_TAGS = "tag:yaml.org,2002:"
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKS = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
# beginnings of what describe_bytes calls that which may be YAML
_TEXTS = ("text", "of an unknown kind", "JSON", "XML")


class _RefusedError(Exception):
    """What is wrong with the text, in words."""


def parse(content: bytes, name: str) -> Any:
    """What the text of a parameter file holds.

    Args:
        content: the file's bytes: UTF-8, with or without a byte order mark.
        name: of the file, for messages.

    Returns:
        dict, list, str, int, float, bool or None; what an alias repeats is the same object

    Raises:
        ReidError: it is too large, no text, no YAML, holds what no parameter is, or a key twice.
    """
    try:
        yaml = _loader()
        root = _composed(yaml, _text(content))
        return _Builder(yaml.constructor).whole(root)
    except _RefusedError as error:
        raise ReidError(f"{name}: {error}") from error.__cause__


def _text(content: bytes) -> str:
    if len(content) > MOST_BYTES:
        raise _RefusedError(f"has more than {MOST_BYTES:,} bytes, the most that a parameter file can have")
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            raise _RefusedError(f"is {encoding} text; save it as UTF-8")
    kind = file_type.describe_bytes(content[:512])
    if not kind.startswith(_TEXTS):
        raise _RefusedError(f"is {kind}, not a parameter file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _RefusedError(f"line {line}: is not UTF-8 text (byte {content[error.start]:#04x})") from error
    if wrong := _FORBIDDEN.search(text):
        line = text.count("\n", 0, wrong.start()) + 1
        raise _RefusedError(f"line {line}: holds the character U+{ord(wrong[0]):04X}, which YAML does not allow")
    return text


class _Composer(Composer):
    """Nodes within limits, that are checked as the text is read."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False
        self.count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        line = event.start_mark.line + 1
        self.count += 1
        if self.count > MOST_VALUES:
            raise _RefusedError(f"line {line}: more than {MOST_VALUES:,} keys and values, the most that there can be")
        if self.depth >= DEEPEST:
            raise _RefusedError(f"line {line}: more than {DEEPEST} sections or lists inside each other")
        if not isinstance(event, AliasEvent) and event.anchor is not None and event.anchor in self.anchors:
            raise _RefusedError(f"line {line}: the anchor &{shown(event.anchor)} stands twice")
        return super().compose_node(parent, index)


def _loader() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Composer
    return yaml


def _composed(yaml: YAML, text: str) -> Node:
    """The nodes of the one document that a text must be."""
    for number, line in enumerate(text.partition("---")[0].splitlines(), 1):
        # another version would be read here and not by DVC, whose parser in C knows one
        if line.startswith("%YAML") and line.split("#")[0].split()[1:] != ["1.2"]:
            raise _RefusedError(
                f"line {number}: {shown(line.strip())}: must be left out; a parameter file is YAML 1.2"
            )
    try:
        node = yaml.compose(text)
    except _RefusedError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        problem = str(error.problem or error.context)
        if problem == "but found another document":
            raise _RefusedError(f"{where}a second document begins (---); a parameter file is one") from error
        if "'\\t'" in problem:
            problem = "a tab stands where YAML wants spaces"
        raise _RefusedError(f"is not valid YAML: {where}{shown(problem)}") from error
    except (OverflowError, ValueError) as error:
        raise _RefusedError("is not valid YAML: an escape in quotes (\\U...) names no character") from error
    except Exception as error:  # the parser's own
        raise _RefusedError(f"is not valid YAML ({shown(repr(error))})") from error
    if node is None:
        raise _RefusedError("holds no parameter, comments at most")
    return node


class _Builder:
    """Values of nodes; a node that aliases repeat is measured and built once."""

    def __init__(self, constructor: Any) -> None:
        self.measures: dict[int, tuple[int, int] | None] = {}
        self.values: dict[int, Any] = {}
        self.constructor = constructor

    def whole(self, root: Node) -> Any:
        """The value of a whole document, if it is not too large."""
        values, depth = self.measure(root)
        if values > MOST_VALUES:
            raise _RefusedError(
                f"holds {values:,} keys and values once its aliases are written out; {MOST_VALUES:,} is the most"
            )
        if depth > DEEPEST:
            raise _RefusedError(f"has more than {DEEPEST} sections or lists inside each other")
        return self.value(root)

    def measure(self, node: Node) -> tuple[int, int]:
        """How many keys and values a node holds, and how many are inside each other, with aliases written out."""
        key = id(node)
        if key not in self.measures:
            self.measures[key] = None  # being measured
            inside = [self.measure(child) for child in _children(node)]
            values = 1 + sum(values for values, _ in inside)
            # far beyond what is allowed the exact number does not matter, and would grow without bounds
            self.measures[key] = min(values, 10**12), 1 + max((depth for _, depth in inside), default=0)
        measured = self.measures[key]
        if measured is None:
            raise _RefusedError(f"line {_line(node)}: holds itself, by an alias")
        return measured

    def value(self, node: Node) -> Any:
        """The value of a node that was measured."""
        key = id(node)
        if key not in self.values:
            if isinstance(node, ScalarNode):
                self.values[key] = self._scalar(node)
            elif isinstance(node, SequenceNode) and node.tag == _TAGS + "seq":
                self.values[key] = [self.value(item) for item in node.value]
            elif isinstance(node, MappingNode) and node.tag == _TAGS + "map":
                self.values[key] = self._section(node)
            else:
                what = "a section" if isinstance(node, MappingNode) else "a list"
                raise _RefusedError(f"line {_line(node)}: the tag {_tag(node)} is none that {what} has here")
        return self.values[key]

    def _section(self, node: MappingNode) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] | None = None
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, ScalarNode) and key_node.tag == _TAGS + "merge":
                if merged is not None:
                    raise _RefusedError(f"line {_line(key_node)}: << stands twice in a section; write <<: [*a, *b]")
                merged = self._merged(value_node)
                continue
            key = self._key(key_node)
            if key in own:
                raise _RefusedError(f"line {_line(key_node)}: {shown(key)} stands twice, first on line {lines[key]}")
            own[key], lines[key] = self.value(value_node), _line(key_node)
        return {**(merged or {}), **own}

    def _merged(self, node: Node) -> dict[str, Any]:
        """What ``<<`` brings: of several sections the first that has a key."""
        result: dict[str, Any] = {}
        for part in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(part, MappingNode):
                raise _RefusedError(f"line {_line(part)}: << takes a section or a list of sections")
            result = {**self.value(part), **result}
        return result

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            raise _RefusedError(f"line {_line(node)}: a key must be a text, not a section or list")
        key = self.value(node)
        if not isinstance(key, str):
            given = shown(node.value)
            what = f'the key {given} is no text; write "{given}"' if given else "a key is missing before the colon"
            raise _RefusedError(f"line {_line(node)}: {what}")
        if len(key) > LONGEST_KEY:
            raise _RefusedError(f"line {_line(node)}: a key of {len(key):,} characters; {LONGEST_KEY} is the most")
        return key

    def _scalar(self, node: ScalarNode) -> Any:
        line, tag, text = _line(node), str(node.tag).removeprefix(_TAGS), node.value
        if len(text) > LONGEST_TEXT:
            raise _RefusedError(f"line {line}: a text of {len(text):,} characters; {LONGEST_TEXT:,} is the most")
        said = shown(repr(text))
        if tag in _OTHERS:
            raise _RefusedError(f"line {line}: {said} is {_OTHERS[tag]}; put it in quotes if it is a text")
        if tag not in _SCALARS:
            raise _RefusedError(f"line {line}: the tag {_tag(node)} is none that a parameter has")
        try:
            value = getattr(self.constructor, f"construct_yaml_{tag}")(node)
        except (ValueError, KeyError, IndexError, OverflowError) as error:
            raise _RefusedError(f"line {line}: {said} is not {_SCALARS[tag]}") from error
        too_large = (tag == "int" and not -(2**63) <= value < 2**63) or (
            tag == "float" and math.isinf(value) and "inf" not in text.lower()
        )
        if too_large:
            raise _RefusedError(f"line {line}: {said} is too large for a number")
        if tag == "str" and any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
            raise _RefusedError(f"line {line}: {said} holds a character that no text can have")
        return value


_SCALARS = {"null": "null", "bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text"}
_OTHERS = {
    "timestamp": "a date, and no parameter is one",
    "merge": "YAML's mark for merging",
    "value": "a mark of YAML's own",
}


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for item in node.value for part in item]
    return node.value if isinstance(node, SequenceNode) else []


def _line(node: Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _tag(node: Node) -> str:
    tag = str(node.tag)
    return shown(f"!!{tag.removeprefix(_TAGS)}" if tag.startswith(_TAGS) else tag)


def shown(text: str, most: int = 100) -> str:
    """A text as a message shows it: on one line, without characters that steer a terminal, and not too long."""
    text = text if len(text) <= most else f"{text[:most]}..."
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
