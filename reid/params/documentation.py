"""Write docs/parameters.md and docs/params.schema.json: every parameter, for people and for editors.

With ``--extensions FOLDER`` both are written there instead, with the parameters of ``extensions/`` among them.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import reid
from reid.core.checksums import sums_path
from reid.core.cli import parser, run
from reid.core.files import replacing, write_json
from reid.params.schema import Params, own_params_class, params_class

FOLDER = Path(reid.__file__).resolve().parents[1] / "docs"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
INTRODUCTION = """# Parameters

Made by `python -m reid.params.documentation` from `reid/params/`; with `--extensions FOLDER` also of `extensions/`.

`params.yaml` is the only configuration; [recipes](../recipes) are whole files to copy over it. What *must be given*
has no default. What *may be left out* is off then, or what its meaning says. A section of several kinds names its own,
`pooling: {kind: gem, power: 2.0}`; where the rest has defaults the kind is enough, `pooling: gem`. Sections inside a
model are named from there on: `sampler` is `models.NAME.sampler`. A key that is not on this page is refused.

Editors with a YAML language server check and complete the file as it is written: its first line names
[params.schema.json](params.schema.json).
"""


def schema(whole: type[Params]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a parameter file.

    Args:
        whole: of :func:`reid.params.schema.params_class` or :func:`reid.params.schema.own_params_class`.
    """
    return {"$schema": DRAFT, "title": "Parameters of soccernet-reid", **_tidied(whole.model_json_schema())}


def _tidied(part: Any) -> Any:
    """A part of pydantic's schema without the titles and defaults that say nothing; misspelt names are refused."""
    if isinstance(part, list):
        return [_tidied(item) for item in part]
    if not isinstance(part, dict):
        return part
    result = {key: _tidied(value) for key, value in part.items() if key not in ("properties", "$defs", "default")}
    for key in ("$defs", "properties"):
        if key in part:
            result[key] = {name: _tidied(value) for name, value in part[key].items()}
    if isinstance(result.get("title"), str):
        del result["title"]
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    if "patternProperties" in result:
        result["additionalProperties"] = False
    default = part.get("default")
    if isinstance(default, dict) and len(default) == 1 and "kind" in default:
        default = default["kind"]
    if isinstance(default, str | int | float):
        result["default"] = default
    return result


class _Page:
    """The page of a schema, made section by section."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self.whole, self.definitions = whole, whole["$defs"]

    def text(self) -> str:
        sections = self.whole["properties"]
        lines = [INTRODUCTION, " · ".join(_link(name) for name in sections), ""]
        for name, about in sections.items():
            lines += self._section(name, about, 2)
        return "\n".join(lines).rstrip() + "\n"

    def _section(self, place: str, about: dict[str, Any], level: int) -> Iterator[str]:
        """A section: what it is, its parameters, and the sections inside it.

        Args:
            place: dotted, from the whole file or from a model on.
            about: its schema, where it is named.
            level: of its heading.
        """
        named, kinds = "patternProperties" in about, self._sections(about)
        yield from (f"{'#' * level} `{place}`", "")
        said = [_sentence(about["description"])] if "description" in about and not named else []
        said += [_meaning(kinds[0])] if len(kinds) == 1 else []
        said += ["Each has a name of your own: up to 64 letters, digits, `-` and `_`."] if named else []
        yield from (" ".join(said), "")
        common = _common(kinds)
        before = "" if named else f"{place}."
        if len(kinds) > 1:
            yield from (f"- `{_kind(kind)}`: {_meaning(kind)}" for kind in kinds)
            yield ""
            if common:
                yield from ("All kinds have:", "")
        yield from self._table(before, common, kinds[0])
        yield from self._inside(before, common, level + 1)
        for kind in kinds:
            own = {name: item for name, item in _parameters(kind).items() if name not in common}
            if own:
                yield from (f"{'#' * (level + 1)} `{place}`, kind `{_kind(kind)}`", "")
                yield from self._table(before, own, kind)
                yield from self._inside(before, own, level + 2)

    def _inside(self, before: str, parameters: dict[str, Any], level: int) -> Iterator[str]:
        for name, item in parameters.items():
            if self._sections(item):
                yield from self._section(f"{before}{name}", item, level)

    def _table(self, before: str, parameters: dict[str, Any], section: dict[str, Any]) -> Iterator[str]:
        if not parameters:
            return
        yield from ("| parameter | value | meaning |", "|---|---|---|")
        for name, item in parameters.items():
            inner = self._sections(item)
            key = _link(f"{before}{name}", name) if inner else f"`{name}`"
            given = "must be given" if name in section.get("required", []) else _default(item)
            meaning = _meaning(item) or "".join(_meaning(section) for section in inner[:1])
            yield f"| {key} | {self._value(item)};<br>{given} | {meaning.replace('|', chr(92) + '|')} |"
        yield ""

    def _sections(self, item: dict[str, Any]) -> list[dict[str, Any]]:
        """The sections that a parameter may be: none if it is a value, several if it has kinds."""
        if "$ref" in item:
            return [self.definitions[item["$ref"].rpartition("/")[2]]]
        inner = [*item.get("anyOf", []), *item.get("oneOf", []), *item.get("patternProperties", {}).values()]
        return [section for part in inner for section in self._sections(part)]

    def _value(self, item: dict[str, Any]) -> str:
        """Type and range in words."""
        sections = self._sections(item)
        if len(sections) > 1:
            return f"kind {_names(map(_kind, sections))}"
        if sections:
            return "section"
        return _value(next((part for part in item.get("anyOf", []) if part.get("type") != "null"), item))


def _common(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """Parameters that all kinds of a section have alike."""
    first, *others = [_parameters(kind) for kind in kinds]
    return {name: item for name, item in first.items() if all(other.get(name) == item for other in others)}


def _parameters(section: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in section.get("properties", {}).items() if "const" not in item}


def _meaning(item: dict[str, Any]) -> str:
    """Nothing only where an extension does not say it."""
    return item.get("description", "")


def _kind(section: dict[str, Any]) -> str:
    return section["properties"]["kind"]["const"]


def _value(item: dict[str, Any], several: str = "") -> str:
    """Type and range of a single value; ``several`` is the ending of the plural."""
    if "enum" in item:
        return _names(item["enum"])
    if item["type"] == "array":
        count = f"at most {item['maxItems']:,} " if "maxItems" in item and "enum" not in item["items"] else ""
        count = count.removeprefix("at most ") if item.get("minItems", 0) == item.get("maxItems") else count
        return f"list of {count}{_value(item['items'], 's')}"
    if item["type"] == "object":
        values = [*item.get("patternProperties", {}).values(), item["additionalProperties"]]
        return f"{_value(values[0])} for each name"
    words = {"boolean": "`true` or `false`", "string": "text"}
    numbers = {"integer": f"whole number{several}", "number": f"number{several}"}
    most = [f"of at most {item['maxLength']:,} characters"] if "maxLength" in item else []
    return " ".join([{**words, **numbers}[item["type"]], *_range(item), *most])


def _range(item: dict[str, Any]) -> list[str]:
    """Bounds of a number in words."""
    bounds = (("from", "minimum"), ("above", "exclusiveMinimum"), ("to", "maximum"), ("below", "exclusiveMaximum"))
    return [f"{word} {item[bound]:,}" for word, bound in bounds if bound in item]


def _default(item: dict[str, Any]) -> str:
    default = item.get("default")
    if default is None:
        return "may be left out"
    if isinstance(default, bool):
        return f"default `{str(default).lower()}`"
    return f"default `{default}`" if isinstance(default, str) else f"default {default:g}"


def _names(names: Iterable[Any]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def _link(place: str, name: str | None = None) -> str:
    """A link to the section with this heading, as GitHub makes anchors."""
    return f"[`{name or place}`](#{place.replace('.', '')})"


def page(whole: dict[str, Any]) -> str:
    """The page of a schema of :func:`schema`, in Markdown."""
    return _Page(whole).text()


def write(folder: Path, whole: type[Params]) -> None:
    """Write ``parameters.md`` and ``params.schema.json``.

    Args:
        folder: where.
        whole: as for :func:`schema`.
    """
    described = schema(whole)
    write_json(folder / "params.schema.json", described)
    with replacing(folder / "parameters.md") as partial:
        partial.write_text(page(described), encoding="utf-8")
    for name in ("params.schema.json", "parameters.md"):
        sums_path(folder / name).unlink(missing_ok=True)  # Git keeps them


def main(args: argparse.Namespace) -> None:
    if args.extensions:
        write(args.extensions, params_class())
    else:
        write(FOLDER, own_params_class())


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--extensions", type=Path, help="folder to write to, with the parameters of extensions/")
    run(main, arguments)
