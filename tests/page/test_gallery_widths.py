"""The gallery from a phone to a desk, light and dark: nothing covers anything, nothing is wider than the screen."""

import pytest

from builders.gallery import make_index, write_split
from builders.page import make_page

WIDTHS = (360, 390, 600, 768, 1280)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("widths")
    return make_page(write_split(folder, make_index([(3, 7), (5, 40), (6, 24)])), folder / "valid.html")


def no_wider(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_opened_card_ends_where_the_next_begins(visit, valid, scheme):
    page = visit(valid, color_scheme=scheme)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate("search(''), toggle(shown[0])")
        page.wait_for_function("[...document.querySelectorAll('.row.open .place span')].every(e => e.textContent)")
        card, after = (page.locator(".row").nth(i).bounding_box() for i in (0, 1))
        assert card["y"] + card["height"] + 10 == pytest.approx(after["y"], abs=1), width
        boxes = page.locator(".row.open .box").last.bounding_box()
        assert boxes["y"] + boxes["height"] < card["y"] + card["height"], width
        assert no_wider(page), width
