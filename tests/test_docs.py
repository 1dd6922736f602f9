"""The site of the documentation has every page, and pages link to what is there."""

import posixpath
import re
import runpy
import subprocess
import sys
import types

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


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("scripts/*.py"), *ROOT.glob("recipes/*.yaml")],
    ids=lambda path: path.name,
)
def test_commands_make_files_and_take_images_where_git_does_not_add_them(page):
    text = page.read_text(encoding="utf-8")
    places = re.findall(r"--(?:out|onnx|pt2|queries|report|images) ([^\s`]*[./][^\s`]*)", text)
    own = ("results/", "../", "docs/pictures", "{")  # those of the demonstration; a wildcard
    assert [place for place in places if not place.startswith(own)] == []


def test_images_and_what_is_made_of_them_are_never_added_but_those_of_the_documentation():
    ignored = ["lists.png", "report.html", "crops/a/b.jpg", "c/D.JPG", "zips/train.zip", "mine.npy", "mine.parquet"]
    ignored += ["model.onnx", "model.pt2", "results/lists.png"]
    command = ["git", "check-ignore", "--no-index", *ignored, "docs/pictures/new.png", "docs/new.md"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert found == ignored


@pytest.mark.parametrize("name", re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE))
def test_what_the_page_of_the_api_names_is_there(name):
    folder, _, last = name.rpartition(".")
    file = ROOT / f"{name.replace('.', '/')}.py"
    assert file.exists() or f"\ndef {last}(" in (ROOT / f"{folder.replace('.', '/')}.py").read_text()


# ---- the hooks of the site, without MkDocs, which only `make docs` installs


class File:
    """A file of the site: its place there, and its text."""

    def __init__(self, src_uri, content_string):
        self.src_uri, self.content_string = src_uri, content_string

    @classmethod
    def generated(cls, config, src_uri, content):
        return cls(src_uri, content)


class Files(list):
    def documentation_pages(self):
        return [file for file in self if file.src_uri.endswith(".md")]

    def get_file_from_path(self, path):
        return next((file for file in self if file.src_uri == path), None)


@pytest.fixture
def site(monkeypatch):
    """What docs/site.py defines, by name."""
    for name in ("mkdocs", "mkdocs.structure", "mkdocs.structure.files"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["mkdocs.structure.files"].File, sys.modules["mkdocs.structure.files"].Files = File, Files
    return runpy.run_path(str(ROOT / "docs/site.py"))


def moved(site, page, markdown):
    return site["on_page_markdown"](markdown, types.SimpleNamespace(file=File(page, markdown)), None, Files())


@pytest.mark.parametrize(
    "page, link, path",
    [
        ("index.md", "docs/gpus.md", "docs/gpus.md"),
        ("index.md", "./recipes/", "recipes"),
        ("CHANGELOG.md", "CITATION.cff", "CITATION.cff"),
        ("gpus.md", "cluster.md", "docs/cluster.md"),
        ("gpus.md", "../params.yaml", "params.yaml"),
        ("gpus.md", "..", "."),
    ],
)
def test_a_link_points_to_a_place_in_the_project(site, page, link, path):
    assert site["_repository_path"](page, link) == path


@pytest.mark.parametrize(
    "page, before, after",
    [
        ("index.md", "[a](docs/gpus.md)", "[a](gpus.md)"),
        ("index.md", "[a](docs/gpus.md#memory), [b](CHANGELOG.md)", "[a](gpus.md#memory), [b](CHANGELOG.md)"),
        ("index.md", "[a](params.yaml)", "[a](files/params.yaml.txt)"),
        ("index.md", "![a](docs/pictures/a.png)", "![a](pictures/a.png)"),
        ("index.md", "[![a](docs/pictures/a.png)](docs/gpus.md)", "[![a](pictures/a.png)](gpus.md)"),
        ("index.md", "[the `docs`](docs) and [recipes](recipes/)", "the `docs` and recipes"),
        ("gpus.md", "[a](cluster.md)", "[a](cluster.md)"),
        ("gpus.md", "[a](../README.md#start)", "[a](index.md#start)"),
        ("gpus.md", "[a](../recipes/photographs.yaml)", "[a](files/recipes/photographs.yaml.txt)"),
        ("gpus.md", "[recipes](../recipes), [a](pictures/a.png)", "recipes, [a](pictures/a.png)"),
        ("gpus.md", "[a](https://x.org/docs) [b](#memory) [c](mailto:a@x.org)", None),
        ("index.md", "a\n```mermaid\n[a](docs)\n```\nb\n", "a\nb\n"),
    ],
)
def test_links_of_a_page_point_to_the_places_of_the_site(site, page, before, after):
    assert moved(site, page, before) == (before if after is None else after)


def test_what_any_page_links_to_is_in_the_site(site):
    files = Files(File(path.name, path.read_text(encoding="utf-8")) for path in ROOT.glob("docs/*.md"))
    there = {file.src_uri for file in site["on_files"](files, None)}
    assert there > {*site["PAGES"].values(), "files/recipes/photographs.yaml.txt"}
    there |= {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*") if path.is_file()}
    for file in files.documentation_pages():
        for link in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", moved(site, file.src_uri, file.content_string)):
            assert posixpath.normpath(posixpath.join(posixpath.dirname(file.src_uri), link)) in there, file.src_uri
