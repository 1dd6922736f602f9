"""Hooks of the site (mkdocs.yml): pages that lie outside of docs/, and the files that pages link to."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", **{name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}}
_LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the project's root, and what any page links to outside of docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for file in list(files.documentation_pages()):
        for _, link in _LINK.findall(file.content_string):
            path = _repository_path(file.src_uri, link)
            copy = f"files/{path}.txt"  # browsers show text, and would save YAML
            known = path in PAGES or path.startswith("docs/") or files.get_file_from_path(copy) is not None
            if not known and (ROOT / path).is_file():
                files.append(File.generated(config, copy, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links to where their targets lie in the site; one to a folder becomes its name."""

    def moved(found: re.Match[str]) -> str:
        path = _repository_path(page.file.src_uri, found[2])
        target = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}.txt")
        return found[1] + posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")

    markdown = re.sub(r"```mermaid\n.*?```\n", "", markdown, flags=re.DOTALL)  # its program is fetched from a network
    text = re.sub(r"(?<!!)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)\)", lambda m: _without_folder(m, page), markdown)
    return _LINK.sub(moved, text)


def _repository_path(page: str, link: str) -> str:
    """Where a link of a page points to, from the project's root."""
    folder = "" if page in PAGES.values() else "docs"
    return posixpath.normpath(posixpath.join(folder, link))


def _without_folder(found: re.Match[str], page: Any) -> str:
    return found[1] if (ROOT / _repository_path(page.file.src_uri, found[2])).is_dir() else found[0]
