"""Names, labels, parameters and rankings that nobody would write by hand."""

import copy
import json
import random

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import ROOT
from builders.hostile import MINUTES, attempt, mutated, seeds
from builders.scored import table_of, write_split
from builders.split import TinySplit, write_zip
from builders.whole import FULL, MINIMAL
from reid.data.index import build_index
from reid.params import check_params, read_params
from reid.ranking.ranking_file import check_ranking, read_ranking
from reid.raw.filenames import format_name, parse_name

EXAMPLES = settings(
    max_examples=20_000 if MINUTES else 150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
NUMBERS = [0, -1, 1, 10**9, 10**30, -(10**30), 2**63, 0.5, 1e308, float("inf"), float("nan"), "1e400", 10**400]
ODD = [
    None,
    True,
    False,
    "",
    "x" * 5000,
    "\0",
    "$(touch X)",
    "`id`",
    "../..",
    "a\nb",
    "{x}",
    "${y}",
    "~",
    [],
    {},
    [[]],
]


@EXAMPLES
@given(st.one_of(st.text(max_size=80), st.from_regex(r"[0-9]{1,12}(-[0-9A-Za-z_]{0,12}){1,8}\.(png|PNG|jpg)")))
def test_a_name_is_read_or_refused_and_what_is_read_can_be_written(name):
    try:
        thumbnail = parse_name(name)
    except ValueError as error:
        assert str(error)
        return
    assert format_name(thumbnail) == name


NAMES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["../x.png", "/x.png", ".folder/x.png", "x.png ", "C:\\x.png", "valid/query/", "a//b.png", "\0.png"]
    ),
    st.builds(
        lambda a, b: a + b, st.sampled_from(["valid/query/", "./valid/", "valid\\gallery\\"]), st.text(max_size=30)
    ),
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@EXAMPLES
@given(st.lists(NAMES, max_size=4), st.binary(max_size=40))
def test_a_zip_with_odd_members_is_an_index_or_one_clear_error(tmp_path_factory, names, content):
    path = tmp_path_factory.mktemp("zip") / "split.zip"
    members = TinySplit("valid").members()
    try:
        write_zip(path, [*members.items(), *((name.replace("\0", "") or "x", content) for name in names)])
    except (ValueError, UnicodeEncodeError):
        return  # no zip can hold it
    attempt(lambda: build_index(path, "valid"), "split.zip")


LABEL = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=9), inside, max_size=3),
    max_leaves=6,
)


@EXAMPLES
@given(st.sampled_from(["bbox_idx", "action_idx", "person_uid", "clazz", "relative_path", "height"]), LABEL)
def test_odd_labels_are_one_clear_error(tmp_path_factory, field, value):
    split = TinySplit("valid")
    labels = split.make_labels()
    labels["query"]["0"][field] = value
    split.labels = labels
    path = write_zip(tmp_path_factory.mktemp("labels") / "split.zip", split.members())
    taken = attempt(lambda: build_index(path, "valid"), "split.zip")
    assert not taken or str(value) == str(split.make_labels()["query"]["0"][field])


@pytest.mark.parametrize("text", [b"[" * 5000, b"{" * 5000, b"1e400", b"NaN", b'{"query": {}, "query": {}}', b"\xff"])
def test_labels_that_are_no_labels_are_one_clear_error(tmp_path, text):
    members = TinySplit("valid").members()
    members["valid/bbox_info.json"] = text
    path = write_zip(tmp_path / "split.zip", members)
    assert not attempt(lambda: build_index(path, "valid"), "split.zip")


def places(content, place=()):
    """Places of all values of a nested structure."""
    yield place
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from places(value, (*place, key))


@pytest.mark.parametrize("start", [MINIMAL, FULL], ids=["minimal", "full"])
def test_odd_parameters_are_one_clear_error(start):
    whole = yaml.safe_load(start)
    everywhere = [place for place in places(whole) if place]
    for seed in seeds():
        rng, content = random.Random(seed), copy.deepcopy(whole)
        for _ in range(rng.choice([1, 1, 3])):
            *inside, last = rng.choice(everywhere)
            section = content
            for key in inside:
                section = section[key] if isinstance(section, dict | list) and key in _keys(section) else {}
            if isinstance(section, dict | list) and last in _keys(section):
                section[last] = copy.deepcopy(rng.choice([*NUMBERS, *ODD]))
            elif isinstance(section, dict):
                section[rng.choice(["x", "kind", "models", "<<", 3, None])] = 1
        attempt(lambda content=content: check_params(content), "params.yaml")


def _keys(section):
    return section if isinstance(section, dict) else range(len(section))


@pytest.mark.parametrize("name", ["params.yaml", "recipes/vit-l-clip-ensemble.yaml"])
def test_a_changed_parameter_file_is_one_clear_error_or_sound(tmp_path, name):
    content = (ROOT / name).read_bytes()
    for seed in seeds():
        path = tmp_path / "params.yaml"
        path.write_bytes(mutated(content, seed))
        attempt(lambda path=path: read_params(path), "params.yaml")


def test_an_alias_bomb_is_refused_before_anything_is_built(tmp_path):
    bomb = "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 12))
    path = tmp_path / "params.yaml"
    path.write_text(bomb + MINIMAL)
    assert not attempt(lambda: read_params(path), "params.yaml")


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """A small split and a valid ranking of it."""
    table = table_of(write_split(tmp_path_factory.mktemp("ranked")))
    rows = table.select(["role", "bbox_idx", "action_idx"]).to_pylist()
    gallery = {}
    for row in rows:
        if row["role"] == "gallery":
            gallery.setdefault(row["action_idx"], []).append(row["bbox_idx"])
    ranking = {str(r["bbox_idx"]): gallery.get(r["action_idx"], []) for r in rows if r["role"] == "query"}
    return table, ranking


def test_a_changed_ranking_file_is_refused_or_still_a_ranking(ranked, tmp_path):
    table, ranking = ranked
    content, path = json.dumps(ranking).encode(), tmp_path / "ranking.json"
    for seed in seeds():
        path.write_bytes(mutated(content, seed))
        taken = attempt(lambda: check_ranking(read_ranking(path), table, path), "ranking.json")
        if taken:  # then it is one by the letter, read by another program
            read = json.loads(path.read_bytes())
            assert {key: sorted(row) for key, row in read.items()} == {k: sorted(r) for k, r in ranking.items()}


def test_an_odd_entry_of_a_ranking_is_refused(ranked, tmp_path):
    table, ranking = ranked
    path = tmp_path / "ranking.json"
    for seed in seeds():
        rng, changed = random.Random(seed), copy.deepcopy(ranking)
        key = rng.choice(list(changed))
        odd = rng.choice([*NUMBERS[:7], *ODD, 1.0, -0.0, "1", [1], {"a": 1}])
        what = rng.randrange(4)
        if what == 0:
            changed[key] = odd
        elif what == 1 and changed[key]:
            changed[key][rng.randrange(len(changed[key]))] = odd
        elif what == 2:
            changed[rng.choice(["01", " 1", "1.0", "-1", "+1", "1_0", "１", "", "9" * 5000])] = changed.pop(key)
        else:
            changed[key] = [*changed[key], *(changed[key][:1] or [1])]
        path.write_text(json.dumps(changed))
        if json.loads(path.read_text()) != ranking:
            assert not attempt(lambda: check_ranking(read_ranking(path), table, path), "ranking.json")
