"""The gallery page in a browser (headless Chromium), opened from disk."""

import json
import re

import numpy as np
import pytest

from builders.contrast import contrast
from builders.gallery import make_index, write_split
from builders.page import data_of, make_page, parts_of
from reid.page.parts import part_paths

TEXTS = (
    "h1 span",
    "#summary",
    "label",
    ".ap",
    ".quiet",
    ".late",
    ".place span",
    ".mark.match",
    ".mark.no-match",
    "#facts li",
)
SIZES = [(3, 7), (1, 1), (5, 40), (2, 2), (4, 9), (6, 24)]


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid")
    return make_page(write_split(folder, make_index(SIZES)), folder / "results/valid.html")


@pytest.fixture(scope="module")
def challenge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("challenge")
    table = make_index(SIZES, labels=False)
    return make_page(write_split(folder, table, "challenge"), folder / "results/challenge.html")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Two runs over 12,000 queries and 35,000 gallery boxes: the page of one run has less of everything."""
    folder = tmp_path_factory.mktemp("large")
    queries = np.random.default_rng(0).multinomial(12_000 - 1800, np.full(1800, 1 / 1800)) + 1
    boxes = queries + np.random.default_rng(1).multinomial(35_000 - 12_000, np.full(1800, 1 / 1800))
    table = make_index(list(zip(queries.tolist(), boxes.tolist(), strict=True)))
    before = write_split(folder / "before", table, seed=1)["distances"]
    return make_page(write_split(folder, table), folder / "valid.html", before, workers=2)


def shown(page):
    """bbox_idx of the rows in the page, from top to bottom."""
    return page.eval_on_selector_all(".row", "rows => rows.map(row => Number(row.dataset.bbox))")


def current(page):
    return int(page.get_attribute(".row.current", "data-bbox"))


def settled(page):
    """Wait until the rows in view have their images."""
    page.wait_for_function(
        "() => { const [first, last] = inView(); for (let i = first; i <= last; i++)"
        " if (!rows.get(i)?.element.querySelector('.thumb').style.backgroundImage) return false; return true; }"
    )


def in_order(data, key, descending=False):
    order = sorted(range(len(data["queries"]["bbox"])), key=lambda q: (-key(q) if descending else key(q), q))
    return [data["queries"]["bbox"][q] for q in order]


def test_a_row_says_what_the_ranking_says(visit, valid):
    page = visit(valid)
    settled(page)
    data, parts = data_of(valid), parts_of(valid)
    q = data["queries"]["bbox"].index(shown(page)[0])
    action, place = data["queries"]["action"][q], data["queries"]["place"][q]
    content, size = parts[action], len(data["actions"]["gallery"][action])
    order = content["order"][place * size : (place + 1) * size]
    row, queries = page.locator(".row").first, len(content["bbox"]) - size
    assert row.locator(".ap").inner_text().startswith(f"{data['queries']['ap'][q]:.3f}")
    first = data["queries"]["firstMatchRank"][q]
    assert f"first match: rank {first} of {size}" in row.inner_text()
    row.locator(".all").click()
    boxes = page.locator(".row.open .box")
    assert boxes.count() == size
    for i, box in enumerate(order):
        match = content["person"][place] == content["person"][queries + box]
        label = boxes.nth(i).get_attribute("aria-label")
        word = "match" if match else "no match"
        assert label.startswith(f"rank {i + 1}: {word}, gallery {content['bbox'][queries + box]}, distance ")
        assert boxes.nth(i).locator(".mark").inner_text() == ("✓" if match else "✕")
        style = boxes.nth(i).locator(".thumb").evaluate("thumb => getComputedStyle(thumb, '::after').borderTopStyle")
        assert style == ("solid" if match else "dashed")
    page.keyboard.press("a")
    assert page.locator(".row.open").count() == 0


def test_the_first_match_is_shown_when_it_is_far_down(visit, valid):
    page = visit(valid)
    data = data_of(valid)
    first = dict(zip(data["queries"]["bbox"], data["queries"]["firstMatchRank"], strict=True))
    late = max(first, key=first.get)
    assert first[late] > 13
    page.fill("#search", str(late))
    settled(page)
    label = page.locator(".row .box").last.get_attribute("aria-label")
    assert label.startswith(f"rank {first[late]}: match,")
    assert page.locator(".row .gap").count() == 1


def test_sorts(visit, valid):
    page, data = visit(valid, height=5000), data_of(valid)
    queries = data["queries"]
    size = [len(data["actions"]["gallery"][action]) for action in queries["action"]]
    for value, key, descending in (
        ("ap", lambda q: queries["ap"][q], False),
        ("-ap", lambda q: queries["ap"][q], True),
        ("-firstMatchRank", lambda q: queries["firstMatchRank"][q], True),
        ("bbox", lambda q: queries["bbox"][q], False),
        ("action", lambda q: queries["action"][q], False),
        ("size", lambda q: size[q], False),
        ("-size", lambda q: size[q], True),
    ):
        page.select_option("#sort", value)
        assert shown(page) == in_order(data, key, descending), value


def test_filters(visit, valid):
    page, data = visit(valid, height=5000), data_of(valid)
    queries = data["queries"]
    league = [data["games"][data["actions"]["game"][action]][0] for action in queries["action"]]

    def fits(test):
        return sorted(queries["bbox"][q] for q in range(len(queries["bbox"])) if test(q))

    page.select_option("#rank1", "no-match")
    assert sorted(shown(page)) == fits(lambda q: queries["firstMatchRank"][q] > 1) != []
    page.select_option("#rank1", "match")
    assert sorted(shown(page)) == fits(lambda q: queries["firstMatchRank"][q] == 1) != []
    assert f"{len(shown(page))} of {len(queries['bbox'])} queries" in page.inner_text("#summary")
    assert "rank-1 1.000" in page.inner_text("#summary")
    page.click("#again")
    assert len(shown(page)) == len(queries["bbox"])
    page.select_option("#class", "Main_referee")
    assert sorted(shown(page)) == fits(lambda q: data["classes"][queries["class"][q]] == "Main_referee") != []
    page.select_option("#class", "")
    page.select_option("#league", "spain_laliga")
    assert sorted(shown(page)) == fits(lambda q: league[q] == "spain_laliga") != []
    page.fill("#lowest", "200")
    page.fill("#highest", "400")
    wanted = fits(lambda q: league[q] == "spain_laliga" and 200 <= queries["height"][q] <= 400)
    assert sorted(shown(page)) == wanted != []


def test_searches(visit, valid):
    page, data = visit(valid, height=5000, fragment="#7"), data_of(valid)
    queries, actions = data["queries"], data["actions"]
    assert shown(page) == [7]  # a link to a query
    of_action = [[b for b, a in zip(queries["bbox"], queries["action"], strict=True) if a == n] for n in range(6)]
    box = int(np.cumsum(actions["gallery"][4])[3])
    for text, wanted in (
        ("11", [11]),
        ("query 11", [11]),
        ("bbox_idx 11", [11]),
        ("action 2", of_action[2]),
        ("a2", of_action[2]),
        (f"gallery {box}", of_action[4]),
        ("alavés", sorted(of_action[1] + of_action[3] + of_action[5])),
    ):
        page.fill("#search", text)
        assert sorted(shown(page)) == wanted, text
    page.fill("#search", str(box))  # no query has this number
    assert shown(page) == [] and "No query fits" in page.inner_text("main")
    page.click(f"text=Queries that meet gallery {box}")
    assert sorted(shown(page)) == of_action[4]
    page.fill("#search", "nobody")
    page.click("text=Show all queries")
    assert len(shown(page)) == len(queries["bbox"])


def test_moves_by_keyboard(visit, valid):
    page, data = visit(valid), data_of(valid)
    order = in_order(data, lambda q: data["queries"]["ap"][q])
    assert current(page) == order[0]
    for key, position in (("j", 1), ("ArrowDown", 2), ("k", 1), ("End", len(order) - 1), ("ArrowUp", len(order) - 2)):
        page.keyboard.press(key)
        assert current(page) == order[position], key
        assert page.evaluate("document.activeElement.classList.contains('current')")
        box = page.locator(".row.current").bounding_box()
        tools = page.locator("#tools").bounding_box()
        assert tools["y"] + tools["height"] <= box["y"] and box["y"] + box["height"] <= 860
    page.keyboard.press("Home")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("jo?/")
    assert page.input_value("#search") == "jo?/"
    page.keyboard.press("Escape")
    assert page.input_value("#search") == "" and len(shown(page))
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert current(page) == order[1]
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    page.keyboard.press("o")
    assert page.locator("#view").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#view").is_hidden() and current(page) == order[1]


def test_a_whole_action_is_a_heat_map(visit, valid):
    page, data, parts = visit(valid), data_of(valid), parts_of(valid)
    page.fill("#search", "action 4")
    page.keyboard.press("Enter")  # to the first row
    page.keyboard.press("Enter")
    page.wait_for_selector("#matrix td")
    content, size = parts[4], len(data["actions"]["gallery"][4])
    queries = len(content["bbox"]) - size
    cells = page.eval_on_selector_all(
        "#matrix td",
        "cells => cells.map(c => [c.dataset.query, c.dataset.box, c.textContent,"
        " c.style.getPropertyValue('--nearness'), c.classList.contains('match'),"
        " getComputedStyle(c, '::before').content].map(String))",
    )
    assert len(cells) == queries * size
    low, high = min(content["distance"]), max(content["distance"])
    for query, box, rank, nearness, marked, tick in cells:
        query, box = int(query), int(box)
        assert content["order"][query * size + int(rank) - 1] == box
        wanted = (high - content["distance"][query * size + box]) / (high - low)
        assert float(nearness) == pytest.approx(wanted, abs=0.001)
        match = content["person"][query] == content["person"][queries + box]
        assert (marked == "true") is match and ("✓" in tick) is match
    assert page.locator("#matrix thead .thumb").count() == size
    assert page.locator("#matrix tbody .thumb").count() == queries
    assert "Rank 1 of 9" in page.inner_text("#pair")
    before = page.inner_text("#pair")
    page.keyboard.press("ArrowDown" if page.evaluate("view.query") == 0 else "ArrowUp")
    assert page.inner_text("#pair") != before
    page.keyboard.press("n")
    assert page.inner_text("#view-title") == "Action 5"
    page.click("#view-before")
    assert page.inner_text("#view-title") == "Action 4"
    page.click("#view-close")
    page.locator(".row .box").nth(2).click()
    page.keyboard.press("o")
    assert "Rank 3 of 9" in page.inner_text("#pair")


def test_the_challenge_has_no_marks(visit, challenge):
    page = visit(challenge)
    settled(page)
    assert page.locator(".mark:visible, .ap:has-text('AP'), #class").count() == 0
    page.keyboard.press("o")
    page.wait_for_selector("#matrix td")
    assert page.locator("#matrix .match").count() == 0 and "match" not in page.inner_text("#view")


def test_names_are_text_and_not_markup(visit, tmp_path):
    table = make_index([(2, 3)])
    evil = "</script><img src=x onerror=alert(1)>"
    for name in ("clazz", "championship", "game"):
        table = table.set_column(table.schema.get_field_index(name), name, [[evil] * len(table)])
    page = visit(make_page(write_split(tmp_path, table), tmp_path / "a.html"))
    assert evil in page.inner_text(".row") and page.locator("img").count() == 0
    page.keyboard.press("o")
    assert evil in page.inner_text("#view-about") and page.locator("img").count() == 0


def test_two_runs_of_12000_queries_appear_within_two_seconds_and_scroll(visit, large):
    page, data = visit(large), data_of(large)
    marks = page.evaluate("performance.getEntriesByType('mark').map(mark => [mark.name, mark.startTime])")
    assert {name for name, _ in marks} == {"first rows", "first images"}
    assert max(time for _, time in marks) < 2000  # milliseconds from the beginning of the navigation
    assert len(data["queries"]["bbox"]) == 12_000 and "12,000 queries" in page.inner_text("#summary")
    settled(page)
    in_view = page.evaluate("(([first, last]) => last - first + 1)(inView())")
    assert page.evaluate("parts.size") <= in_view < 8
    page.select_option("#sort", "bbox")
    settled(page)
    before = page.evaluate("parts.size")
    for _ in range(30):  # flies over most, and ends at the last row
        page.mouse.wheel(0, 100_000)
        assert page.locator(".row").count() <= in_view + 6
    page.keyboard.press("End")
    settled(page)
    assert shown(page)[-1] == 11_999 and current(page) == 11_999
    assert page.evaluate("parts.size") <= before + 8
    for _ in range(10):  # slow enough to see
        page.mouse.wheel(0, -300)
        settled(page)
    assert page.evaluate("parts.size") <= 24


def test_fits_a_phone(visit, valid):
    page = visit(valid, 360, 740, has_touch=True, is_mobile=True)

    def no_wider():
        return page.evaluate("document.documentElement.scrollWidth") <= 360 and page.evaluate("innerWidth") == 360

    settled(page)
    assert no_wider()
    assert page.locator("#sort").is_hidden()
    page.tap("#filters-open")
    assert page.locator("#sort").is_visible() and no_wider()
    page.tap("#filters-open")
    page.locator(".all").first.tap()
    assert no_wider()
    page.locator(".whole").first.tap()
    page.wait_for_selector("#matrix td")
    assert no_wider() and page.locator("#view").bounding_box()["width"] <= 360


def test_text_can_be_read_light_and_dark(visit, valid):
    page = visit(valid)
    settled(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("() => document.getAnimations().length === 0")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, re.findall(r"\d+", colour)))
        assert light > 600 if scheme == "light" else light < 120
        for selector in TEXTS:
            assert contrast(page, selector) >= 4.5, (scheme, selector)
    unnamed = page.eval_on_selector_all(
        "button, input, select",
        "all => all.filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map(e => e.id)",
    )
    assert unnamed == []


def test_a_missing_part_is_named(browser, valid, tmp_path):
    page = browser.new_page()
    (tmp_path / "alone.html").write_text(valid.read_text())
    page.goto((tmp_path / "alone.html").as_uri())
    page.wait_for_selector("#problem")
    assert re.search(r"valid/\d\d\.js cannot be read", page.inner_text("#problem"))
    assert json.loads(page.inner_text("#data"))["split"] == "valid" and len(part_paths(valid)) == 64
    page.close()
