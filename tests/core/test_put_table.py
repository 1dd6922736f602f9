"""A table that a program puts into a page that people write."""

import pytest

from reid.core.errors import ReidError
from reid.core.files import put_table

PAGE = "before\n<!-- one -->\nold\n<!-- end -->\nbetween\n<!-- two -->\n<!-- end -->\nafter\n"


def test_a_table_stands_between_its_comments_and_all_else_stays(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    put_table(path, "two", "new \\1\n")
    put_table(path, "one", "newer\n")
    assert path.read_text() == PAGE.replace("old", "newer").replace("two -->\n", "two -->\nnew \\1\n")
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_that_a_link_leads_to_stays_there_and_keeps_its_rights(tmp_path):
    (tmp_path / "real.md").write_text(PAGE)
    (tmp_path / "real.md").chmod(0o640)
    (tmp_path / "page.md").symlink_to("real.md")
    put_table(tmp_path / "page.md", "one", "new\n")
    assert (tmp_path / "page.md").is_symlink() and "new" in (tmp_path / "real.md").read_text()
    assert (tmp_path / "real.md").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("start", ["", "\ufeff", "a line of LF\n"])
def test_ends_of_lines_stay_and_are_the_tables(tmp_path, start):
    path = tmp_path / "page.md"
    page = start + PAGE.replace("\n", "\r\n")
    path.write_bytes(page.encode())
    put_table(path, "one", "| a |\n|---|\n")
    assert path.read_bytes().decode() == page.replace("old\r\n", "| a |\r\n|---|\r\n")


def test_a_page_without_the_place_is_refused_and_stays(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    with pytest.raises(ReidError, match="has no place for the table, <!-- three --> and <!-- end -->"):
        put_table(path, "three", "new\n")
    assert path.read_text() == PAGE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!-- one -->\n", "has no place"),
        (b"<!-- end -->\n<!-- one -->\n", "has no place"),
        (PAGE.encode() + b"\xff", "is not UTF-8 text; it is "),
        (None, "there is no such file"),
    ],
)
def test_what_is_no_page_is_one_error(tmp_path, content, words):
    path = tmp_path / "page.md"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReidError, match=words):
        put_table(path, "one", "new\n")
