"""The address of a gallery page: it holds what is shown, and shows it again."""

from urllib.parse import unquote

import pytest

from builders.gallery import make_index, write_split
from builders.page import data_of, make_page

SIZES = [(3, 7), (5, 40), (4, 9), (6, 24)]
STATE = """() => ({
  shown: shown.map(q => queries.bbox[q]), current, opened, fields: fields.map(([, field]) => field.value),
  zoom: $('zoom').open && [zoom.action, zoom.query, zoom.box],
  view: $('view').open && [view.action, view.query, view.box],
})"""


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("address")
    return make_page(write_split(folder, make_index(SIZES)), folder / "valid.html")


def told(page):
    """The address, when it has settled."""
    page.wait_for_timeout(250)
    return page.evaluate("location.hash")


def test_a_copied_address_shows_the_same(visit, valid):
    page, other = visit(valid), visit(valid)
    assert told(page) == ""

    def opened():
        fragment = told(page)
        assert fragment
        other.goto(valid.as_uri() + fragment)  # a change of the address alone
        other.wait_for_function("wanted => decodeURIComponent(location.hash) === wanted", arg=unquote(fragment))
        other.wait_for_function("(zoom.action === null || zoom.drawn) && (view.action === null || view.drawn)")
        assert other.evaluate(STATE) == page.evaluate(STATE), fragment

    page.select_option("#sort", "-size")
    page.select_option("#league", "spain_laliga")
    page.select_option("#jersey", "7")
    page.fill("#lowest", "50")
    page.fill("#search", "alaves")
    opened()
    page.click("#again")
    page.keyboard.press("Escape")
    page.evaluate("moveTo(4)")
    opened()
    page.keyboard.press("a")
    opened()
    page.locator(".row.current .box").nth(2).click()
    page.keyboard.press("ArrowRight")
    assert "Rank 4 of" in page.inner_text("#zoom-title")
    opened()
    fresh = visit(valid, fragment=told(page))
    fresh.wait_for_function("zoom.drawn")
    assert fresh.evaluate(STATE) == page.evaluate(STATE)
    page.keyboard.press("o")
    page.wait_for_selector("#matrix td")
    opened()
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.click("#again")
    assert told(page) == ""


def same(page, other):
    """Whether both pages show the same, once nothing is under way."""
    for one in (page, other):
        one.wait_for_function("(zoom.action === null || zoom.drawn) && (view.action === null || view.drawn)")
    return other.evaluate(STATE) == page.evaluate(STATE)


def test_a_copied_address_opens_the_query_that_is_open_and_not_the_current_one(visit, valid):
    page = visit(valid)
    page.evaluate("moveTo(3)")
    page.keyboard.press("a")
    for steps, key in ((1, "j"), (3, "k"), (1, "k")):  # the last leads to the first query
        for _ in range(steps):
            page.keyboard.press(key)
        assert page.evaluate("opened === shown[3] && current !== 3")
        other = visit(valid, fragment=told(page))
        assert same(page, other)
        assert other.evaluate("document.activeElement === rows.get(current).element")
    older = visit(valid, fragment=f"#query={page.evaluate('queries.bbox[shown[2]]')}&all=1")
    assert older.evaluate("opened === shown[2] && current === 2")


@pytest.mark.parametrize("opens", ["openZoom", "openView"])
def test_a_copied_address_shows_the_pair_also_where_its_part_is_slow(visit, valid, opens):
    page = visit(valid)
    page.evaluate("() => { const now = part; part = (...all) => setTimeout(() => now(...all), 800); parts.clear(); }")
    page.evaluate(f"{opens}(1, 2)")
    early = told(page)
    assert page.evaluate("!zoom.drawn && !view.drawn")
    assert same(page, visit(valid, fragment=early))
    assert same(page, visit(valid, fragment=told(page)))


def test_an_address_that_does_not_fit_does_no_harm(visit, valid):
    page, count = visit(valid), len(data_of(valid)["queries"]["bbox"])
    for fragment in (
        "#sort=nothing&class=nobody&query=99999&all=1",
        "#action=99&at=5,5",
        "#zoom=1&at=77,-3",
        "#zoom=1&at=77",
        "#opened=99999&query=99999",
        "#sort=%",
    ):
        page.evaluate("hash => { location.hash = ''; history.replaceState(null, '', hash); recall(); }", fragment)
        assert page.evaluate("shown.length") == count, fragment
        assert page.input_value("#sort") == "ap"


def test_searches_by_class_game_and_jersey(visit, valid):
    page, data = visit(valid), data_of(valid)
    queries = data["queries"]

    def fits(test):
        return [bbox for q, bbox in enumerate(queries["bbox"]) if test(q)]

    def clazz(q):
        return data["classes"][queries["class"][q]]

    def game(q):
        return data["games"][data["actions"]["game"][queries["action"][q]]]

    def jersey(q):
        return data["jerseys"][queries["jersey"][q]]

    for text, test in (
        ("jersey 7", lambda q: jersey(q) == "7"),
        ("id A", lambda q: jersey(q) == "A"),
        ("Goalkeeper", lambda q: "Goalkeeper" in clazz(q)),
        ("team left aston villa", lambda q: "team_left" in clazz(q) and "Aston Villa" in game(q)[1]),
        ("atletico jersey 7 player", lambda q: jersey(q) == "7" and "Atlético" in game(q)[1] and "Player" in clazz(q)),
        ("spain laliga", lambda q: game(q)[0] == "spain_laliga"),
    ):
        page.fill("#search", text)
        assert sorted(page.evaluate("shown.map(q => queries.bbox[q])")) == fits(test) != [], text
    page.fill("#search", "")
    page.select_option("#game", game(0)[1])
    assert sorted(page.evaluate("shown.map(q => queries.bbox[q])")) == fits(lambda q: game(q) == game(0))
    page.select_option("#jersey", "A")
    wanted = fits(lambda q: game(q) == game(0) and jersey(q) == "A")
    assert sorted(page.evaluate("shown.map(q => queries.bbox[q])")) == wanted != []
