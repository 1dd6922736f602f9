"""Gallery pages for tests, and what stands in them."""

import json
import re

from reid.data.index import read_index
from reid.page.content import COLUMNS
from reid.page.gallery import write_page
from reid.page.parts import part_paths
from reid.page.rankings import rank_actions
from reid.ranking.distances import read_distances


def make_page(paths, page, **options):
    """Write a page from the files of a split (``builders.gallery.write_split``); returns its path."""
    table, about = read_index(paths["index"], COLUMNS)
    rankings = rank_actions(table, read_distances(paths["distances"]), paths["distances"])
    write_page(page, about["split"], table, rankings, paths["thumbnails"], **options)
    return page


def data_of(page):
    """The content of the page itself."""
    element = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    return json.loads(element[1])


def parts_of(page):
    """Content of all parts: action's number in the page to its content; no action stands in two."""
    content = {}
    for number, path in enumerate(part_paths(page)):
        call = re.fullmatch(r"part\((\d+),(.*)\);\n", path.read_text(encoding="ascii"))
        assert int(call[1]) == number
        actions = json.loads(call[2])
        assert not content.keys() & actions.keys()
        content |= actions
    return {int(key): value for key, value in content.items()}
