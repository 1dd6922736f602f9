"""The gallery page of a split: every query with its ranked gallery, for the eye and not for a program.

A page that opens from disk may not fetch() anything, so all content is script. The page itself holds a few columns
per query, which is all that sorting, filtering and searching need. The rankings and images lie beside it in the files
of :mod:`reid.page.parts`, each loaded when one of its actions comes into view. An action lies wholly inside one part.

The images of an action are one sprite sheet, inside its part and not beside it: to show one row a browser then decodes
the thumbnails of one action, not those of a whole part.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reid.core.files import replacing
from reid.core.parallel import ordered_map
from reid.data.thumbnails import open_store
from reid.page import parts
from reid.page.content import Content
from reid.page.header import About, Score, as_content, facts
from reid.page.rankings import Rankings
from reid.page.sprites import sprite, tile_size

_TEMPLATES = Path(__file__).with_name("templates")
_SCRIPTS = ("base", "parts", "choice", "address", "list", "row", "action", "zoom", "events")  # in this order


class _Part(NamedTuple):
    """A part to write: its file and number, the store with its number of rows, the content of its actions."""

    path: Path
    number: int
    store_path: Path | str
    rows: int
    actions: dict[int, dict[str, Any]]


def _json(content: Any) -> str:
    """JSON in ASCII that may stand inside a script element: a name cannot end it."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _write_part(part: _Part) -> None:
    store = open_store(part.store_path, part.rows)  # for each part anew: what is mapped of the store goes with it
    height, width = tile_size(*store.shape[1:3])
    content = {}
    for key, action in part.actions.items():
        sheet, columns = sprite(store[action.pop("rows")], height, width)
        content[key] = {**action, "columns": columns, "sprite": base64.b64encode(sheet).decode()}
    with replacing(part.path) as partial:
        partial.write_text(f"part({part.number},{_json(content)});\n", encoding="ascii")


def write_page(
    path: Path | str,
    about: About,
    scores: list[Score],
    table: pa.Table,
    rankings: Rankings,
    store_path: Path | str,
    before: Rankings | None = None,
    workers: int = 1,
) -> None:
    """Write the page of a split and its parts. The same input gives the same bytes.

    Args:
        path: the HTML file to make; the parts are ``reid.page.parts.part_paths`` of it.
        about: of what the page is; with ``trained_on`` it says that its scores are no valid result.
        scores: of ``reid.page.header``, for the top of the page.
        table: the index of the split (``reid.page.content.COLUMNS``).
        rankings: of the same split.
        store_path: its thumbnails; read part by part, so that memory does not grow with their number.
        before: of an earlier run over the same split; the page then compares the two.
        workers: number of processes.

    Raises:
        ReidError: the thumbnails are not those of the index, or a file cannot be written.
    """
    tile = tile_size(*open_store(store_path, len(table)).shape[1:3])
    content, labelled = Content(table, rankings, before), rankings.ap is not None

    def tasks() -> Iterator[_Part]:
        for number, file in enumerate(parts.part_paths(path)):
            yield _Part(file, number, store_path, len(table), content.of_part(number))

    for _ in ordered_map(_write_part, tasks(), workers):
        pass

    data = {
        **as_content(about),
        "labels": labelled,
        "folder": Path(path).stem,
        "parts": parts.NAMES,
        "tile": tile,
        **content.of_page(),
    }
    pages = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    html = pages.get_template("browse.html").render(
        about=about,
        facts=facts(about, scores),
        labels=labelled,
        data=Markup(_json(data)),
        style=Markup(_source("browse.css")),
        script=Markup("\n".join(_source(f"scripts/{name}.js") for name in _SCRIPTS)),
    )
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8")


def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
