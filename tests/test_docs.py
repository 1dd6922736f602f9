"""The site of the documentation has every page, and pages link to what is there."""

import re

import pytest
import yaml

from builders import ROOT

PAGES = [*ROOT.glob("docs/*.md"), *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))]


def test_every_page_stands_in_the_sites_table_of_contents_once():
    def pages(part):
        if isinstance(part, str):
            return [part]
        return [page for child in (part.values() if isinstance(part, dict) else part) for page in pages(child)]

    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(listed) == sorted([*(path.name for path in PAGES), "index.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_are_there(page):
    for link in re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            found = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            assert heading in found, link


@pytest.mark.parametrize("name", re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE))
def test_what_the_page_of_the_api_names_is_there(name):
    folder, _, last = name.rpartition(".")
    file = ROOT / f"{name.replace('.', '/')}.py"
    assert file.exists() or f"\ndef {last}(" in (ROOT / f"{folder.replace('.', '/')}.py").read_text()
