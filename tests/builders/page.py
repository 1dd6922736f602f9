"""Gallery pages for tests, and what stands in them."""

import json
import re

from reid.data.index import read_index
from reid.page.content import COLUMNS
from reid.page.gallery import write_page
from reid.page.header import About, scores_of
from reid.page.parts import part_paths
from reid.page.rankings import rank_actions
from reid.ranking.distances import read_distances


def make_page(paths, page, before=None, **options):
    """Write a page from the files of a split (``builders.gallery.write_split``); returns its path.

    Args:
        paths: of the split.
        page: the file to make.
        before: a distance file of an earlier run, to compare with.
        **options: of ``write_page``.
    """
    table, about = read_index(paths["index"], COLUMNS)
    rankings = rank_actions(table, read_distances(paths["distances"]), paths["distances"])
    earlier = before and rank_actions(table, read_distances(before), before)
    known = About(about["split"], zip_sha256=about["sha256"], models={"resnet18": 1.0})
    known = known._replace(runs=("first", "second")) if before else known
    scores = scores_of(rankings, 100, 1)
    write_page(page, known, scores, table, rankings, paths["thumbnails"], before=earlier, **options)
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
