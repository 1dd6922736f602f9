"""The first page of a folder of results: scores of the splits, and links to all that can be looked at.

It names what is there and nothing else. Addresses are relative, so that the folder can be copied as a whole.
"""

from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reid.core.errors import ReidError
from reid.core.files import read_json, replacing
from reid.core.forms import fit
from reid.core.splits import RANKED
from reid.reports.scorecard import read_scores

_TEMPLATES = Path(__file__).with_name("templates")
_OF_SPLIT = {  # file of a split: what it is called
    "browse/{}.html": "rankings",
    "compare/{}.html": "two runs",
    "figures/{}.svg": "scores",
    "figures/{}-worst.png": "worst queries",
    "submission/{}.json": "ranking to submit",
    "submission/{}.provenance.json": "provenance",
}
_GROUPS = {  # heading: patterns of files
    "Data": ("description/*.png", "description/*.svg", "description/*.json"),
    "Training": ("figures/*-training.svg", "cards/*.md"),
    "Comparisons": ("compare/*.html", "studies/*/index.html"),
    "Workflow": ("report.html",),  # of `snakemake --report`
}


class Link(NamedTuple):
    """An address relative to the page, and what it leads to."""

    href: str
    text: str


class Split(NamedTuple):
    """What is known of a split: scores by name, in words; commit and time of its submission; links."""

    name: str
    trained_on: bool
    scores: list[tuple[str, str]]
    origin: str | None
    links: list[Link]


def _scores(path: Path) -> tuple[bool, list[tuple[str, str]]]:
    """Whether a split was trained on, and its main scores in words."""
    if not path.is_file():
        return False, []
    _, trained_on, scores = read_scores(path)
    told = []
    for name in (name for name in ("mAP", "rank-1") if name in scores["chance"]):
        interval = scores["interval"].get(name)
        more = "" if interval is None else "{:.3f} to {:.3f}, ".format(*interval)
        told.append((name, f"{scores[name]:.3f} ({more}chance {scores['chance'][name]:.3f})"))
    return trained_on, told


def _origin(path: Path) -> str | None:
    """Commit and time of a submission, from its provenance; not the time of this page, which stays the same."""
    if not path.is_file():
        return None
    content: Any = read_json(path, maker="scripts/provenance.py")
    try:
        fit(content, {"code": {"commit": (str, None)}, "time": str})
    except ValueError as error:
        raise ReidError(
            f"{path}: is no provenance of a submission ({error}); make it with scripts/provenance.py"
        ) from error
    code = content["code"]
    commit = "no commit" if code["commit"] is None else f"commit {code['commit'][:12]}"
    return f"{commit}{'' if code.get('clean') else ' with changes'}, {content['time']}"


def _split(folder: Path, name: str) -> Split | None:
    places = {place.format(name): text for place, text in _OF_SPLIT.items()}
    links = [Link(quote(place), text) for place, text in places.items() if (folder / place).is_file()]
    trained_on, scores = _scores(folder / "metrics" / f"{name}.json")
    origin = _origin(folder / "submission" / f"{name}.provenance.json")
    return Split(name, trained_on, scores, origin, links) if links or scores else None


def _links(folder: Path, patterns: tuple[str, ...]) -> list[Link]:
    paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    named = [(path.relative_to(folder).as_posix(), path) for path in paths if not path.name.startswith(".")]
    return [Link(quote(place), path.parent.name if path.name == "index.html" else path.name) for place, path in named]


def write_overview(path: Path | str, folder: Path | str) -> None:
    """Write the first page of a folder of results; the same files give the same bytes.

    Args:
        path: the HTML file to make, in that folder.
        folder: of the results.

    Raises:
        ReidError: there is nothing to look at, or a file of scores or a provenance is damaged.
    """
    folder = Path(folder)
    splits = [split for name in RANKED if (split := _split(folder, name))]
    groups = {heading: links for heading, patterns in _GROUPS.items() if (links := _links(folder, patterns))}
    if not splits and not groups:
        raise ReidError(f"{folder}: holds nothing to look at; make it with `snakemake --cores 8 submission`")
    pages = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = pages.get_template("overview.html").render(splits=splits, groups=groups)
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8")
