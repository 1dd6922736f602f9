"""The gallery from a phone to a desk, light and dark: nothing covers anything, nothing is wider than the screen."""

import pyarrow as pa
import pytest

from builders.gallery import make_index, write_split
from builders.page import make_page
from reid.data.index import read_index

WIDTHS = (360, 390, 600, 768, 1280)


def sizes(page, first):
    """Give a page one width after the other, light and dark in turn; yields the width."""
    for i, width in enumerate(WIDTHS):
        page.emulate_media(color_scheme=("light", "dark")[(i + first) % 2])
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("asked => width === asked", arg=width)  # the page's own: it has drawn its rows anew
        yield width


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    folder = tmp_path_factory.mktemp("widths")
    table = make_index([(3, 7), (5, 40), (6, 24)])
    long = "valid/query/england_epl/2015-2016/2015-08-08 - 19-30 Bournemouth 0 - 1 Aston Villa/0/{}-0-12-43-None.png"
    members = pa.array([long.format(i) for i in range(len(table))])
    return write_split(folder, table.set_column(table.schema.get_field_index("member"), "member", members))


@pytest.fixture(scope="module")
def valid(split, tmp_path_factory):
    return make_page(split, tmp_path_factory.mktemp("widths") / "valid.html")


@pytest.fixture(scope="module")
def two(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("widths")
    before = write_split(folder, read_index(split["index"])[0], seed=1)["distances"]
    return make_page(split, folder / "two.html", before)


def no_wider(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("name", "first"), [("valid", 0), ("two", 1)])
def test_an_opened_card_ends_where_the_next_begins(visit, name, first, request):
    page = visit(request.getfixturevalue(name))
    for width in sizes(page, first):
        page.evaluate("search(''), toggle(shown[0])")
        page.wait_for_function("[...document.querySelectorAll('.row.open .place span')].every(e => e.textContent)")
        card, after = (page.locator(".row").nth(i).bounding_box() for i in (0, 1))
        assert card["y"] + card["height"] + 10 == pytest.approx(after["y"], abs=1), width
        boxes = page.locator(".row.open .box").last.bounding_box()
        assert boxes["y"] + boxes["height"] < card["y"] + card["height"], width
        assert no_wider(page), width


def test_cards_hold_both_rankings_and_tools_fit(visit, two):
    page = visit(two)
    for width in sizes(page, 0):
        page.evaluate("startOver(), $('tools').classList.toggle('open', innerWidth <= 1100)")
        page.wait_for_function(
            "[...document.querySelector('.row').querySelectorAll('.place span')].every(e => e.innerText)"
        )
        card, *inside = boxes_of(page, ".row[aria-posinset='1'], .row[aria-posinset='1'] :is(.box, .about > *)")
        for box in inside:
            assert card["x"] <= box["x"] and box["x"] + box["width"] <= card["x"] + card["width"], width
            assert box["y"] + box["height"] <= card["y"] + card["height"], width
        boxes = [box for box in boxes_of(page, "#tools :is(input, select, button)") if box["width"]]
        for i, one in enumerate(boxes):
            assert one["x"] >= 0 and one["x"] + one["width"] <= width, width
            assert not any(overlap(one, other) for other in boxes[:i]), width


def test_a_click_enlarges_with_file_name_and_labels(visit, valid):
    page = visit(valid)
    for width in sizes(page, 1):
        page.locator(".row .ask .thumb").first.click()
        page.wait_for_selector("#zoom-pair figure")
        small = page.locator(".row .thumb").first.bounding_box()
        zoom = page.locator("#zoom").bounding_box()
        assert zoom["x"] >= 0 and zoom["x"] + zoom["width"] <= width and no_wider(page)
        images = [image.bounding_box() for image in page.locator("#zoom .thumb").all()]
        assert len(images) == 2 and not overlap(*images)
        for image in images:
            assert image["height"] > 2 * small["height"] and image["width"] / image["height"] == pytest.approx(
                0.5, 0.02
            )
            assert zoom["x"] <= image["x"] and image["x"] + image["width"] <= zoom["x"] + zoom["width"]
        for caption in page.locator("#zoom figcaption").all():
            text = caption.inner_text()
            assert "-0-12-43-None.png" in text and "person" in text and "px" in text
            assert caption.evaluate("e => e.scrollWidth <= e.clientWidth")
        page.keyboard.press("Escape")


def boxes_of(page, selector):
    """Where elements stand, all at one moment."""
    return page.eval_on_selector_all(selector, "all => all.map(element => element.getBoundingClientRect().toJSON())")


def overlap(a, b):
    """Whether two boxes of Playwright share a pixel."""
    return all(a[at] < b[at] + b[size] and b[at] < a[at] + a[size] for at, size in (("x", "width"), ("y", "height")))
