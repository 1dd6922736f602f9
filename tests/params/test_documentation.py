"""docs/parameters.md and docs/params.schema.json say what reid/params declares, and editors get it right."""

import re

import pytest
from jsonschema import Draft202012Validator

from builders import ROOT
from builders.whole import FULL, MINIMAL, changed, load, places, without
from reid.core.files import read_json
from reid.params import LOSSES, Field, WeightedLoss, check_params
from reid.params.documentation import page, schema, write
from reid.params.schema import own_params_class, params_class

FILES = [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))]
PLACES = dict(places(load(FULL)))
NAMED = ("models", "external_models", "download.sha256", "distances.models")  # the user's own names in them
SECTIONS = [place for place, value in PLACES.items() if isinstance(value, dict) and place not in NAMED]

# missed by a rule of reid/params/consistency.py, of which the schema knows nothing
BY_A_RULE = ("models", "models.one", "download.synthetic", "models.one.loss.triplet")


@pytest.fixture(scope="module")
def whole():
    return schema(own_params_class())


@pytest.fixture(scope="module")
def editor(whole):
    """What an editor does with the committed schema: the errors in a file's content."""
    Draft202012Validator.check_schema(whole)
    validator = Draft202012Validator(read_json(ROOT / "docs/params.schema.json"))
    return lambda content: [error.message for error in validator.iter_errors(content)]


@pytest.fixture
def extension():
    """A loss as a user's extension declares it."""

    class Mine(WeightedLoss):
        strength: float = Field(gt=0, description="of what I do")

    before = LOSSES.snapshot()
    LOSSES.declare("mine")(Mine)
    yield
    LOSSES.restore(before)


def test_committed_files_are_those_of_the_declaration(tmp_path):
    """After a change of reid/params: python -m reid.params.documentation"""
    write(tmp_path, own_params_class())
    for name in ("parameters.md", "params.schema.json"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_extensions_are_in_a_page_of_ones_own_alone(extension, whole):
    assert schema(own_params_class()) == whole
    own = schema(params_class())
    assert "mine" in own["$defs"]["Loss"]["properties"]
    assert "\n#### `loss.mine`\n" in page(own)
    assert "| `strength` | number above 0;<br>must be given | of what I do |" in page(own)
    assert "mine" not in page(whole)


# ---- the schema


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_editor_accepts_the_files_of_the_repository(editor, path):
    text = path.read_text(encoding="utf-8")
    assert editor(load(text)) == []
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text).group(1)
    assert (path.parent / named).resolve() == ROOT / "docs/params.schema.json"


def test_editor_accepts_what_is_accepted(editor):
    for text in (MINIMAL, FULL):
        check_params(load(text))
        assert editor(load(text)) == []


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_editor_refuses_a_misspelt_key(editor, section):
    assert editor(changed(load(FULL), f"{section}.hieght".removeprefix("."), 1))


@pytest.mark.parametrize("place", [place for place in dict(places(load(MINIMAL))) if place not in BY_A_RULE])
def test_editor_refuses_what_is_incomplete(editor, place):
    assert editor(without(load(MINIMAL), place))


@pytest.mark.parametrize(
    "place, value",
    [
        ("models.one.epochs", -1),
        ("models.one.seed", 2**32),
        ("models.one.epochs", True),
        ("models.one.optimizer.learning_rate", 0),
        ("models.one.optimizer.kind", "adamm"),
        ("models.one.sampler", "identity"),
        ("models.two.network.pooling", "gemm"),
        ("models.two.schedule.warmup", 1),
        ("models.two.validation.select", "first"),
        ("models.a b", {}),
        (f"models.{'a' * 65}", {}),
        ("distances.models", {"a b": 1}),
        ("models.one.epochs", 10**30),
        ("models.one.optimizer.learning_rate", 1e300),
        ("models.two.soup", list(range(101))),
        ("download.path", "x" * 5000),
        ("external_models.a/b", {"folder": "there"}),
        ("download.sha256", {"train": "0123"}),
        ("download.sha256", {"val": "0" * 64}),
        ("embed.flip_test", "yes"),
        ("distances.models", {"one": 0}),
        ("train.splits", ["challenge"]),
        ("evaluate.ranks", []),
    ],
)
def test_editor_refuses_values_that_are_refused(editor, place, value):
    content = changed(load(FULL), place, value)
    assert editor(content)
    with pytest.raises(Exception, match=re.escape(place.partition(" ")[0])):
        check_params(content)


@pytest.mark.parametrize("place, kind", [("models.two.network.pooling", "gem"), ("models.one.schedule", "cosine")])
def test_editor_accepts_a_kind_that_stands_alone(editor, place, kind):
    content = changed(load(FULL), place, kind)
    assert check_params(content) and editor(content) == []


# ---- meanings


def test_every_parameter_and_kind_has_a_meaning(whole):
    sections = {"the file": whole, **whole["$defs"]}
    assert len(sections) > 40
    for name, section in sections.items():
        assert section.get("description"), name
        for key, item in section["properties"].items():
            inner = [*item.get("anyOf", []), item]
            referred = [whole["$defs"][part["$ref"].rpartition("/")[2]] for part in inner if "$ref" in part]
            assert item.get("description") or len(referred) == 1 or "const" in item, f"{name}.{key}"


# ---- the page


@pytest.fixture(scope="module")
def text():
    return (ROOT / "docs/parameters.md").read_text(encoding="utf-8")


def rows(text, heading):
    """Rows of the first table below a heading: name to value and meaning."""
    below = text.partition(f"\n{heading}\n")[2]
    table = re.split(r"\n#", below)[0]
    found = re.findall(r"^\| \[?`(\w+)`(?:\]\(\S+\))? \| (.+) \| (.+) \|$", table, re.MULTILINE)
    return {name: (value, meaning) for name, value, meaning in found}


def test_page_has_every_parameter_with_value_and_meaning(text):
    table = [line for line in text.splitlines() if line.startswith("| ") and "parameter | value" not in line]
    for line in table:
        name, value, meaning = line.strip("| ").split(" | ")
        assert re.fullmatch(r"\[?`\w+`(\]\(#\w+\))?", name), line
        assert re.search(r".+;<br>(must be given|may be left out|default \S+)$", value), line
        assert meaning, line
    names = {re.search(r"`(\w+)`", line).group(1) for line in table}
    keys = {place.rpartition(".")[2] for place in PLACES if "." in place and place.rpartition(".")[0] not in NAMED}
    assert keys - {"kind"} <= names
    for section in load(FULL):
        assert f"\n## `{section}`\n" in text


def test_links_of_the_page_lead_to_its_headings(text):
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    headings = {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert len(links) > 30 and set(links) <= headings


@pytest.mark.parametrize(
    "heading, name, value",
    [
        ("## `download`", "source", "`synthetic`, `soccernet`, `local`;<br>must be given"),
        ("## `download`", "sha256", "text for each name;<br>may be left out"),
        ("## `download`", "path", "text of at most 4,096 characters;<br>may be left out"),
        ("## `train`", "splits", "list of `train`, `valid`, `test`;<br>must be given"),
        ("## `distances`", "models", "number from 1e-06 to 1,000,000 for each name;<br>may be left out"),
        ("### `download.synthetic`", "seed", "whole number from 0 to 4,294,967,295;<br>must be given"),
        ("## `models`", "soup", "list of at most 100 whole numbers from 0 to 4,294,967,295;<br>may be left out"),
        ("## `models`", "sampler", "kind `identity`, `actions`, `random`;<br>must be given"),
        ("### `network`", "bnneck", "`true` or `false`;<br>default `false`"),
        ("### `network`", "pooling", "kind `average`, `gem`, `token`;<br>default `average`"),
        ("##### `network.pooling`, kind `gem`", "power", "number from 0.1 to 7;<br>default 3"),
        ("#### `augmentation.flip`", "probability", "number from 0 to 1;<br>must be given"),
        ("### `optimizer`", "layer_decay", "number above 0 to 1;<br>default 1"),
        ("#### `sampler`, kind `actions`", "instances", "whole number from 2 to 1,000;<br>may be left out"),
        ("#### `loss.supcon`", "weight", "number from 1e-06 to 1,000,000;<br>default 1"),
        ("## `distances`", "postprocessing", "section;<br>may be left out"),
        ("#### `distances.postprocessing.reranking`", "lambda", "number from 0 to 1;<br>must be given"),
    ],
)
def test_page_gives_type_range_and_default(text, heading, name, value):
    assert rows(text, heading)[name][0] == value


def test_page_has_the_docstring_of_every_kind(text, whole):
    for name, section in whole["$defs"].items():
        assert section["description"] in text, name
